"""Newline-delimited messages on one pair of asyncio streams. Knows nothing of what a line says."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from hub.wire.lines import LineSplitter, TooLong

_CHUNK: Final = 256 * 1024


class LineStream:
    """Lines in, lines out. One reader and one writer at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cap: int) -> None:
        """`cap`: bytes of one line; of a longer one nothing is kept."""
        self._reader, self._writer = reader, writer
        self._splitter = LineSplitter(cap)
        self._ready: deque[bytes | TooLong] = deque()

    async def read(self) -> bytes | TooLong | None:
        """The next line; None at the end. A cancelled wait loses nothing."""
        while not self._ready:
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                return self._splitter.end()
            self._ready.extend(self._splitter.feed(chunk))
        return self._ready.popleft()

    async def write(self, line: bytes) -> None:
        """Write one line and wait until there is room for the next."""
        self._writer.write(line + b"\n")
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Close without waiting for what is still to be written."""
        self._writer.transport.abort()
