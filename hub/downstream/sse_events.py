"""Server-sent events, parsed as the bytes arrive (WHATWG HTML, section 9.2.6). Pure.

It owns framing alone: what an event's data means, and whether it is UTF-8 at all, is for the reader to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RETRY_CAP_MS: Final = 60_000


class TooLong(ValueError):
    """One event, or one line, is longer than allowed."""


@dataclass(frozen=True, slots=True)
class Event:
    data: bytes
    name: str = "message"


class EventParser:
    """Feed it chunks cut anywhere; it answers with the events that became whole. Memory stays below `cap_bytes`."""

    __slots__ = ("_after_cr", "_cap", "_data", "_held", "_id", "_name", "_partial", "_started", "last_id", "retry_ms")

    def __init__(self, cap_bytes: int) -> None:
        self._cap = cap_bytes
        self._partial = bytearray()  # of the line that has not ended
        self._data: list[bytes] = []
        self._held = 0  # bytes in _data
        self._name = self._id = ""
        self._after_cr = self._started = False
        self.last_id = ""
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises TooLong; the parser is of no use afterwards."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events: list[Event] = []
        for line in lines:
            if self._partial:
                line = bytes(self._partial) + line
                self._partial.clear()
            self._line(line, events)
        self._partial += rest
        if self._held + len(self._partial) > self._cap:
            raise TooLong(f"an event is longer than {self._cap} bytes")
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self.last_id = self._id
            if self._data:
                events.append(Event(b"\n".join(self._data), self._name or "message"))
            self._data, self._held, self._name = [], 0, ""
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._held += len(value) + 1
            if self._held > self._cap + 1:
                raise TooLong(f"an event is longer than {self._cap} bytes")
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif field == b"retry" and value.isdigit():
            self.retry_ms = min(int(value[:9]), RETRY_CAP_MS)
