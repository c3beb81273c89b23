"""Keyed hashes of arguments and results: the log can prove what was sent without holding it. Pure.

Keyed, because a plain hash of a short value (an id, an e-mail address) is found again by trying.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from hub.audit.chain import canonical

BIG_BYTES: Final = 256 * 1024  # from here on, hashed piece by piece, so that no single step holds the interpreter long
_DEPTH: Final = 4  # containers that are taken apart; what lies below is encoded at once
_BLOCK: Final = 64


class Digest:
    """HMAC-SHA256 over canonical JSON, with the two halves of the key mixed in once."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the key of the audit log's hashes needs at least 32 bytes")
        padded = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._key = key
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def of(self, value: Any, size_bytes: int = 0) -> str:
        """Hex. `size_bytes` is about how large the value is; it changes the cost, not the hash."""
        if size_bytes >= BIG_BYTES:
            big = hmac.new(self._key, digestmod=sha256)
            for piece in pieces(value, _DEPTH):
                big.update(piece)
            return big.hexdigest()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(canonical(value))
        outer.update(inner.digest())
        return outer.hexdigest()


def pieces(value: Any, depth: int) -> Iterator[bytes]:
    """`canonical(value)` in pieces; the same bytes for whatever came from JSON."""
    if depth and isinstance(value, Mapping):
        before = b"{"
        for name in sorted(value, key=str):
            yield before + canonical(str(name)) + b":"
            yield from pieces(value[name], depth - 1)
            before = b","
        yield b"}" if value else b"{}"
    elif depth and isinstance(value, list | tuple):
        before = b"["
        for member in value:
            yield before
            yield from pieces(member, depth - 1)
            before = b","
        yield b"]" if value else b"[]"
    else:
        yield canonical(value)
