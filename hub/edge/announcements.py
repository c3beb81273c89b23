"""Notifications that belong to no request and wait for a stream to carry them: of each kind at most one."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.core.call import Json
from hub.wire import jsonrpc


class Announcements:
    """Bounded by what can be said: a list has changed, or one subscribed resource has."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, method: str, params: Json) -> None:
        self._waiting[(method, str(params.get("uri", "")))] = jsonrpc.notification(method, params)
        self._changed.set()

    async def next(self) -> dict[str, Any] | None:
        """The oldest message; None once closed. A cancelled wait loses nothing."""
        while not self._closed:
            if self._waiting:
                return self._waiting.pop(next(iter(self._waiting)))
            self._changed.clear()
            await self._changed.wait()
        return None

    def close(self) -> None:
        self._closed = True
        self._changed.set()
