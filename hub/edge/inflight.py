"""The requests of one client that have no answer yet, by id: bounded, unique, and each can be cancelled."""

from __future__ import annotations

import asyncio
from typing import Final

import anyio

from hub.wire.jsonrpc import Id

IN_FLIGHT: Final = 256


class InFlight:
    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self._limit = limit
        self._scopes: dict[Id, anyio.CancelScope] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._scopes)

    def fault(self, id: Id) -> str | None:
        """Why a request with this id cannot be begun, in words for the client."""
        if id in self._scopes:
            return "a request with this id is still in flight; use another id"
        if len(self._scopes) >= self._limit:
            return f"{self._limit} requests are in flight; wait for answers before sending more"
        return None

    def begin(self, id: Id) -> anyio.CancelScope:
        """The scope to answer this request in. `end` must follow."""
        self._idle.clear()
        scope = self._scopes[id] = anyio.CancelScope()
        return scope

    def end(self, id: Id) -> None:
        self._scopes.pop(id, None)
        if not self._scopes:
            self._idle.set()

    def cancel(self, id: object) -> None:
        """Cancel the request with this id; whatever names none is ignored, as the protocol wants it."""
        if isinstance(id, str | int) and not isinstance(id, bool) and (scope := self._scopes.get(id)) is not None:
            scope.cancel()

    def cancel_all(self) -> None:
        for scope in list(self._scopes.values()):
            scope.cancel()

    async def settled(self, timeout_s: float) -> bool:
        """Whether every request is answered before `timeout_s` is over; returns as soon as they are."""
        with anyio.move_on_after(timeout_s):
            await self._idle.wait()
        return not self._scopes
