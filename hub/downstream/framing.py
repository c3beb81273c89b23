"""Lines out of a child's output, one at a time, in bounded memory. Pure: no pipe, no wait.

Unlike a plain splitter it lets its caller stop between lines, and remembers how an overlong line began and ended:
an answer that is too large can then still be told to the request it belongs to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_EDGE: Final = 512
_LEADING_ID = re.compile(rb'\A\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*"?(\d{1,15})"?\s*,')
_TRAILING_ID = re.compile(rb',\s*"id"\s*:\s*"?(\d{1,15})"?\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line that passed the cap; all but its edges was thrown away as it came."""

    head: bytes
    tail: bytes

    @property
    def id(self) -> int | None:
        """The id of the response it seems to be: a hint, for the sender chose these bytes."""
        found = _LEADING_ID.search(self.head) or _TRAILING_ID.search(self.tail)
        return int(found[1]) if found else None


class Lines:
    """Holds at most one line of the cap and what was fed last."""

    __slots__ = ("_buffer", "_cap", "_head", "_scanned", "_tail")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._buffer = bytearray()
        self._scanned = 0
        self._head: bytes | None = None  # set while an overlong line is skipped
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk

    def take(self) -> bytes | Overlong | None:
        """The next whole line that is not blank, without its line end; None when more must come first."""
        while (end := self._buffer.find(b"\n", self._scanned)) >= 0:
            if self._head is not None or end > self._cap:
                return self._cut_overlong(end)
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            self._scanned = 0
            if line:
                return line
        self._scanned = len(self._buffer)
        if self._scanned > self._cap or self._head is not None:
            self._skip(self._scanned)
        return None

    def _skip(self, size: int) -> None:
        if self._head is None:
            self._head = bytes(self._buffer[: min(size, _EDGE)])
        self._tail = (self._tail + bytes(self._buffer[max(0, size - _EDGE) : size]))[-_EDGE:]
        del self._buffer[:size]
        self._scanned = 0

    def _cut_overlong(self, end: int) -> Overlong:
        self._skip(end)
        del self._buffer[:1]
        overlong = Overlong(self._head or b"", self._tail)
        self._head, self._tail = None, b""
        return overlong
