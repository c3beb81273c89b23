"""Newline-delimited messages out of a byte stream, with a cap on the length of one. Pure: no socket, no wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final


class TooLong:
    """Stands in for a line that passed the cap; its bytes were thrown away as they came."""


TOO_LONG: Final = TooLong()


class LineSplitter:
    """Cuts what it is fed into lines. Never holds more than one line of the cap and one chunk."""

    __slots__ = ("_cap", "_parts", "_size", "_skipping")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """The lines that this chunk completes, without their line ends; blank ones are left out."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._keep(piece)
            line = self._take()
            if isinstance(line, TooLong) or line.strip():
                yield line
        self._keep(rest)

    def end(self) -> bytes | TooLong | None:
        """What was left without a line end when the stream ended; None when there was nothing."""
        line = self._take()
        return line if isinstance(line, TooLong) or line.strip() else None

    def _keep(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        self._size += len(piece)
        if self._size > self._cap:
            self._skipping = True
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _take(self) -> bytes | TooLong:
        line: bytes | TooLong = TOO_LONG if self._skipping else b"".join(self._parts).rstrip(b"\r")
        self._parts.clear()
        self._size, self._skipping = 0, False
        return line
