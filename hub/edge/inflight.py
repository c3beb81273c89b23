"""The requests of one client that have no answer yet, by id: bounded, unique, and each can be cancelled."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final

from hub.wire.jsonrpc import Id

IN_FLIGHT: Final = 256


class Flight:
    """One request. What its task does under `with` ends, without a word, when it is cancelled.

    The work is told once, where it waits: what it still does to leave things in order is not cut short.
    """

    __slots__ = ("_loop", "_task", "_told", "cancel_called")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None  # while it is at work
        self._told = self.cancel_called = False

    def cancel(self) -> None:
        """Idempotent; before the work has begun, it reaches it at its first wait."""
        self.cancel_called = True
        self._tell()

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._loop)
        if self.cancel_called:
            self._loop.call_soon(self._tell)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> bool:
        task, self._task = self._task, None
        if not self._told or task is None:
            return False
        others = task.uncancel()  # who else wants the end of this task
        return others == 0 and isinstance(exc, asyncio.CancelledError)

    def _tell(self) -> None:
        if self._task is not None and not self._told:
            self._told = True
            self._task.cancel()


class InFlight:
    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self._limit = limit
        self._flights: dict[Id, Flight] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Event | None = None  # somebody waits for it

    def __len__(self) -> int:
        return len(self._flights)

    def fault(self, id: Id) -> str | None:
        """Why a request with this id cannot be begun, in words for the client."""
        if id in self._flights:
            return "a request with this id is still in flight; use another id"
        if len(self._flights) >= self._limit:
            return f"{self._limit} requests are in flight; wait for answers before sending more"
        return None

    def begin(self, id: Id) -> Flight:
        """What to answer this request in. `end` must follow."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # remembered: asking is a system call
        flight = self._flights[id] = Flight(self._loop)
        return flight

    def end(self, id: Id) -> None:
        self._flights.pop(id, None)
        if self._idle is not None and not self._flights:
            self._idle.set()

    def cancel(self, id: object) -> None:
        """Cancel the request with this id; whatever names none is ignored, as the protocol wants it."""
        if isinstance(id, str | int) and not isinstance(id, bool) and (flight := self._flights.get(id)) is not None:
            flight.cancel()

    def cancel_all(self) -> None:
        for flight in list(self._flights.values()):
            flight.cancel()

    async def settled(self, timeout_s: float) -> bool:
        """Whether every request is answered before `timeout_s` is over; returns as soon as they are."""
        if self._flights:
            if self._idle is None:
                self._idle = asyncio.Event()
            self._idle.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        return not self._flights
