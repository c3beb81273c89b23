"""`requestState` as a client sees it: the hub's seal (AES-256-GCM) around what the server wants to have back.

A question of the hub's own (a login) is sealed alike and told apart inside: no server's state can look like one.

Everything a seal is bound to is its associated data, so that one shown by another caller, for another item, with other
arguments or at another endpoint opens as little as one that was altered. Pure but for the keys, the clock and nonces.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.call import Call, Item

TTL_S: Final = 600.0
SKEW_S: Final = 60.0  # a clock that was set back
KEY_BYTES: Final = 32

_LABEL: Final = b"mcp-hub requestState 1"
_KID, _NONCE, _TAG = 4, 12, 16
_CAP: Final = 128 * 1024  # of a sealed state; longer than any that the hub makes
_STATE, _LOGIN = b"\1", b"\2"  # what a seal holds; without either, nothing
_canonical: Final = msgspec.json.Encoder(order="sorted").encode

Fault = Literal["unreadable", "unknown key", "altered, or of another call or caller", "expired", "of the future"]


@dataclass(frozen=True, slots=True)
class Opened:
    server: str  # which asked, and gets the answer; or the one to log in to
    state: str | None  # its own, exact; None: it gave none
    mark: bytes  # of this one seal
    expires: float  # seconds since the epoch
    login: str | None = None  # the id of the login that was offered: then the hub asked, and no server


class Seals:
    """`keys` gives 32-byte keys, the newest first: that one seals, all of them open."""

    def __init__(self, keys: Callable[[], tuple[bytes, ...]], clock: Callable[[], float] = time.time) -> None:
        self._keys, self._clock = keys, clock

    def seal(self, bound: bytes, server: str, state: str | None) -> str:
        """A string that only `open` under the same binding understands, for `TTL_S`."""
        return self._seal(bound, server, b"" if state is None else _STATE + state.encode("utf-8", "surrogatepass"))

    def seal_login(self, bound: bytes, server: str, login: str) -> str:
        """As `seal`, for a question of the hub's own."""
        return self._seal(bound, server, _LOGIN + login.encode())

    def _seal(self, bound: bytes, server: str, inner: bytes) -> str:
        key = self._keys()[0]
        name = server.encode()
        expires = int((self._clock() + TTL_S) * 1000)
        plain = expires.to_bytes(8, "big") + bytes((len(name),)) + name + inner
        head = _kid(key) + os.urandom(_NONCE)
        return base64.urlsafe_b64encode(head + _sealed(key, head, plain, bound)).decode().rstrip("=")

    def open(self, bound: bytes, sealed: str) -> Opened | Fault:
        raw = _raw(sealed)
        if raw is None:
            return "unreadable"
        head, rest = raw[: _KID + _NONCE], raw[_KID + _NONCE :]
        key = next((key for key in self._keys() if _kid(key) == head[:_KID]), None)
        if key is None:
            return "unknown key"
        try:
            plain = AESGCM(key).decrypt(head[_KID:], rest, _bound(head, bound))
        except InvalidTag:
            return "altered, or of another call or caller"
        expires, now, size = int.from_bytes(plain[:8], "big") / 1000, self._clock(), plain[8]
        if expires <= now:
            return "expired"
        if expires > now + TTL_S + SKEW_S:
            return "of the future"
        inner = plain[9 + size :]
        held, server = inner[1:].decode("utf-8", "surrogatepass"), plain[9 : 9 + size].decode()
        if inner[:1] == _LOGIN:
            return Opened(server, None, head, expires, held)
        return Opened(server, held if inner else None, head, expires)


def binding(call: Call, item: Item) -> bytes:
    """What a question belongs to: who called what, where, and with which arguments."""
    who = call.who
    words = (who.tenant, who.credential, call.endpoint, call.method, item.kind, item.name)
    parts = [word.encode("utf-8", "surrogatepass") for word in words]
    parts.append(sha256(_canonical(call.arguments)).digest())
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _sealed(key: bytes, head: bytes, plain: bytes, bound: bytes) -> bytes:
    return AESGCM(key).encrypt(head[_KID:], plain, _bound(head, bound))


def _bound(head: bytes, bound: bytes) -> bytes:
    return _LABEL + head[:_KID] + bound


def _kid(key: bytes) -> bytes:
    """Names a key without telling anything about it."""
    return sha256(_LABEL + b" key" + key).digest()[:_KID]


def _raw(sealed: str) -> bytes | None:
    """The bytes of the one way to write them."""
    if len(sealed) > _CAP:
        return None
    try:
        raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=") == sealed
    return raw if canonical and len(raw) > _KID + _NONCE + _TAG else None
