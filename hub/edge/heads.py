"""Heads of requests that one connection has sent before: the same bytes say the same, and are parsed once.

A client repeats its head with every request; only the length of the body differs. What is remembered is what the parser
said, and what the app found out from it alone. Nothing of a body is kept, and all of it goes with the connection.
"""

from __future__ import annotations

from typing import Any, Final

from hub.edge.request import Scope
from hub.wire.repeated import body_at, cut

KEPT: Final = 8  # of one connection, some 4 KiB each
_FRAMING: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Head:
    """One head, without the number of its Content-Length."""

    __slots__ = ("judged", "said", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope  # without a body; copied where an app wants one
        self.judged: Any = None  # the app's own: what holds for every request with this head
        self.said: Any = None  # an edge's own: what the last body with this head said of its client


class Heads:
    """One connection's. It answers only for bytes that the parser saw whole, from their first to their last."""

    __slots__ = ("_kept", "_last")

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], Head] = {}
        self._last: tuple[bytes, bytes] | None = None  # of the request before: mostly of the next as well

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, when it is one whole request whose head was judged before."""
        last = self._last
        if last is None:
            return None
        begin = body_at(data, *last)
        if not begin:
            found = cut(data)
            if found is None or found not in self._kept:
                return None
            last = self._last = found
            begin = body_at(data, *last)
        head = self._kept[last]
        return None if head.judged is None else (head, data[begin:])

    def learn(self, data: bytes, scope: Scope) -> Head | None:
        """Remember the head of `data`, which the parser took for one whole request with this scope."""
        if scope["method"] != "POST" or scope["http_version"] != "1.1" or not _is_plain(scope["headers"]):
            return None
        found = cut(data)
        if found is None:
            return None
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        head = self._kept[found] = Head({**scope})  # of its own, before the body is put into the request's
        self._last = found
        return head


def _is_plain(lines: list[tuple[bytes, bytes]]) -> bool:
    """Framed by one Content-Length, and asking for nothing that concerns the connection."""
    names = [name for name, _ in lines]
    return (
        names.count(b"content-length") == 1
        and _FRAMING.isdisjoint(names)
        and all(value.strip().lower() == b"keep-alive" for name, value in lines if name == b"connection")
    )
