"""The JSON-RPC messages of one event stream, with a brake for a server that floods.

It owns decoding and the stream's caps. Which message answers what is not its business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from hub.downstream.h1 import Connection
from hub.downstream.sse_events import Event, EventParser, TooLong
from hub.wire.jsonrpc import Malformed, loads

FLOOD: Final = 2000  # events of one stream in one second, before the hub stops reading until that second is over


@dataclass(frozen=True, slots=True)
class Frame:
    message: Any
    size_bytes: int


class Frames:
    """One stream. What is no JSON is counted and skipped."""

    def __init__(
        self,
        event_cap: int,
        stream_cap: int | None,
        noise: Callable[[str], None],
        other: Callable[[Event], None] | None = None,
    ) -> None:
        """`other` is given the events that are no messages; without it they are skipped."""
        self._parser = EventParser(event_cap)
        self._left, self._noise, self._other = stream_cap, noise, other
        self._second, self._seen = 0.0, 0

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    @property
    def retry_ms(self) -> int | None:
        return self._parser.retry_ms

    def feed(self, data: bytes, connection: Connection | None) -> list[Frame]:
        """Raises TooLong for one event or a whole stream above its cap."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise TooLong("the stream is longer than its cap")
        events = self._parser.feed(data)
        self._brake(len(events), connection)
        frames = []
        for event in events:
            if event.name != "message":
                if self._other is not None:
                    self._other(event)
                continue
            if not event.data:
                continue  # it only marks a place to resume at
            try:
                frames.append(Frame(loads(event.data), len(event.data)))
            except Malformed:
                self._noise("garbage")
        return frames

    def _brake(self, events: int, connection: Connection | None) -> None:
        now = monotonic()
        if now - self._second >= 1.0:
            self._second, self._seen = now, 0
        self._seen += events
        if self._seen > FLOOD and connection is not None:
            connection.pause_for(self._second + 1.0 - now)
