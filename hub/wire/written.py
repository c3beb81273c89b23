"""The definitions of one page as JSON text, written once for everybody who is shown the same ones.

Pure, but for what it remembers. It answers nothing: whoever asks has been judged, and holds the very items already.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hub.core.call import Call, Item, Kind
from hub.wire import bridge
from hub.wire.jsonrpc import Malformed, dumps

KEPT_BYTES: Final = 8 * 1024 * 1024  # of text and places: the lists of 20 roles over a thousand tools

Written = msgspec.Raw | list[Any]  # plain where it cannot be written: then the answer as a whole says so
_Key = tuple[str, str, str, Kind, tuple[Item, ...]]


class Pen:
    """Writes pages, and remembers at most `limit` bytes of them; the oldest go first."""

    __slots__ = ("_kept", "_last", "_limit", "held")

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._kept: dict[_Key, msgspec.Raw] = {}
        self._last: dict[tuple[str, str, str, Kind], tuple[tuple[Item, ...], msgspec.Raw]] = {}  # of what is kept
        self.held, self._limit = 0, limit  # bytes

    def write(self, call: Call, kind: Kind, items: tuple[Item, ...]) -> Written:
        """The definitions as this call's client may read them, in the order of the items."""
        client = call.client
        form = (call.who.tenant, client.era, client.revision, kind)
        last = self._last.get(form)
        if last is not None and last[0] is items:  # to hash a thousand items touches each of them, 3 to 15 us
            return last[1]
        # Items are equal when they are the same: what a server lists anew, or an endpoint names otherwise, is another.
        key = (*form, items)
        known = self._kept.get(key)
        if known is not None:
            self._last[form] = items, known
            return known
        plain = [bridge.definition(client, kind, item.shown) for item in items]
        try:
            raw = msgspec.Raw(dumps(plain))
        except Malformed:
            return plain
        if self._keep(key, raw):
            self._last[form] = items, raw
        return raw

    def _keep(self, key: _Key, raw: msgspec.Raw) -> bool:
        size = _size(key, raw)
        if size > self._limit:
            return False
        while self.held + size > self._limit:
            oldest = next(iter(self._kept))
            self.held -= _size(oldest, self._kept.pop(oldest))
            self._last.clear()
        self._kept[key] = raw
        self.held += size
        return True


def _size(key: _Key, raw: msgspec.Raw) -> int:
    return len(memoryview(raw)) + 8 * len(key[-1]) + 256
