"""Lists cut into pages, and the cursors between them. Pure but for the key it is given.

A cursor is the name its page ended with, sealed to the caller, the endpoint and the kind of list: nobody can use
another's, none can be made up, and one survives changes of the catalogue and restarts of the hub.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from hub.core.call import Call, Item
from hub.wire.decode import Refusal
from hub.wire.denials import CODES

_MAC: Final = 16
_CAP: Final = 64 * 1024  # of a cursor; longer than any name that a list may hold


class Pages:
    def __init__(self, key: bytes) -> None:
        """`key`: 32 secret bytes, the same for every replica and after every restart."""
        self._key = key

    def cut(self, call: Call, items: tuple[Item, ...], page_size: int) -> tuple[tuple[Item, ...], str | None] | Refusal:
        """The page that the call asks for, and the cursor of the next one. `items` keep their order between calls."""
        cursor = call.params.get("cursor")
        if cursor is None:
            start = 0
        else:
            after = self._open(call, cursor)
            if after is None:
                row = CODES["gone"]
                return Refusal(row.rpc, f"{row.what} {row.next}", None, row.status)
            start = _resume(items, after)
        end = start + page_size
        if start == 0 and end >= len(items):
            return items, None
        return items[start:end], self._seal(call, items[end - 1].name) if end < len(items) else None

    def _seal(self, call: Call, name: str) -> str:
        text = name.encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(self._mac(call, text) + text).decode().rstrip("=")

    def _open(self, call: Call, cursor: str) -> str | None:
        if not cursor or len(cursor) > _CAP:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        text = raw[_MAC:]
        if not hmac.compare_digest(raw[:_MAC], self._mac(call, text)):
            return None
        return text.decode("utf-8", "surrogatepass")

    def _mac(self, call: Call, text: bytes) -> bytes:
        who = call.who
        parts = [p.encode("utf-8", "surrogatepass") for p in (who.tenant, who.credential, call.endpoint, call.method)]
        framed = b"".join(len(p).to_bytes(4, "big") + p for p in [*parts, text])  # lengths: no two tuples read the same
        return hmac.digest(self._key, b"mcp-hub cursor 1" + framed, hashlib.sha256)[:_MAC]


def _resume(items: tuple[Item, ...], after: str) -> int:
    """Behind the item of that name, or where it stood before it went."""
    for index, item in enumerate(items):
        if item.name == after:
            return index + 1
    return next((index for index, item in enumerate(items) if item.name > after), len(items))
