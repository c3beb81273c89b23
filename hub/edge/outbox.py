"""What waits to be written to one client: in order, bounded in number and bytes. Knows nothing of the wire."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import anyio

OUTBOX_BYTES: Final = 64 * 1024 * 1024
STALL_S: Final = 30.0  # a client that makes no room for so long does not read


class Outbox:
    """Many writers, one reader. Notifications are dropped when it is full; answers wait, then cut the client."""

    def __init__(self, messages: int, size_bytes: int = OUTBOX_BYTES, stall_s: float = STALL_S) -> None:
        self._messages, self._bytes, self._stall_s = messages, size_bytes, stall_s
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()

    def offer(self, data: bytes) -> bool:
        """Queue one message now, or say False."""
        if self._closed or self._full():
            return False
        self._append(data)
        return True

    async def put(self, data: bytes) -> None:
        """Queue one message, waiting for room. A client that makes none within the time is cut off."""
        with anyio.move_on_after(self._stall_s):
            while self._full() and not self._closed:
                self._emptied.clear()
                await self._emptied.wait()
        if self._full():
            self.cut()
        elif not self._closed:
            self._append(data)

    async def take(self) -> bytes | None:
        """The oldest message; None once closed and drained. A cancelled wait loses nothing."""
        while not self._queue:
            if self._closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        data = self._queue.popleft()
        self._size -= len(data)
        self._emptied.set()
        return data

    def finish(self) -> None:
        """Nothing more is taken in; what is queued is still given out."""
        self._closed = True
        self._filled.set()
        self._emptied.set()

    def cut(self) -> None:
        """Nothing more is taken in or given out."""
        self._queue.clear()
        self._size = 0
        self.finish()

    def _full(self) -> bool:
        return len(self._queue) >= self._messages or self._size >= self._bytes

    def _append(self, data: bytes) -> None:
        self._queue.append(data)
        self._size += len(data)
        self._filled.set()
