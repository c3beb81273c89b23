"""Tokens that an issuer from outside signed (RFC 7519, RFC 9068).

A token is taken apart here, within its sizes and by one reading only; its signature is checked by joserfc with a key
that the issuer published. Nothing a token says leads anywhere: `jku`, `x5u`, `jwk` and `x5c` are not looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from hub.core.call import Json
from hub.identity.bearers import MAX_TOKEN
from hub.identity.issuers import Claimants, Issuer
from hub.identity.jwks import Jwks, Key, strict
from hub.identity.verified import Verified

MAX_HEADER: Final = 8192  # characters; some issuers send their certificates along
MAX_SIGNATURE: Final = 1400  # of 8,192 bits
# Extensions that change what is signed or how it is read (RFC 7515 §4.1.11, RFC 7797, RFC 7516): the hub knows none.
_EXTENSIONS: Final = ("crit", "b64", "zip", "enc")


@dataclass(frozen=True, slots=True)
class Framed:
    """A token in its parts; nothing about it is verified."""

    header: Json
    claims: Json
    signed: bytes
    signature: bytes


def framed(token: str) -> Framed | None:
    """None: no JWS in compact form with one reading."""
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    parts = token.encode().split(b".", 3)
    if len(parts) != 3 or len(parts[0]) > MAX_HEADER or len(parts[2]) > MAX_SIGNATURE:
        return None
    try:
        header, payload, signature = (_bytes(part) for part in parts)
        said, claims = strict(header), strict(payload)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(claims, dict):
        return None
    return Framed(said, claims, parts[0] + b"." + parts[1], signature)


def signed_by(issuer: str) -> Callable[[str], bool]:
    """Whether a token says that it is from this issuer: enough to choose who verifies it."""

    def claims(token: str) -> bool:
        parts = framed(token)
        return parts is not None and parts.claims.get("iss") == issuer

    return claims


class Outside:
    """`hub.identity.verified.Verifier` of one issuer's signed tokens."""

    def __init__(self, issuer: Issuer, keys: Jwks, claimants: Claimants, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._issuer, self._keys, self._claimants, self._clock = issuer, keys, claimants, clock

    async def verify(self, token: str) -> Verified | None:
        """Raises `Unanswered` when the issuer's keys are not known: that says nothing about the token."""
        parts = framed(token)
        if parts is None:
            return None
        algorithm, kid = parts.header.get("alg"), parts.header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._issuer.algorithms or not self._is_fit(parts.header):
            return None
        if kid is not None and (not isinstance(kid, str) or len(kid) > 255):
            return None
        # the claims first: a token that is of no use anyway makes nobody fetch keys
        if self._claimants.read(parts.claims, self._clock(), signed=True) is None:
            return None
        key = await self._keys.key(kid, algorithm)
        if key is None or not is_signed(parts, algorithm, key):
            return None
        return self._claimants.read(parts.claims, self._clock(), signed=True)

    def _is_fit(self, header: Json) -> bool:
        if any(name in header for name in _EXTENSIONS):
            return False
        typ = header.get("typ", "jwt")
        return isinstance(typ, str) and typ.lower().removeprefix("application/") in self._issuer.typ


def is_signed(parts: Framed, algorithm: str, key: Key) -> bool:
    """In the event loop: the slowest key that is taken costs less than handing over to a thread would."""
    if algorithm not in key.algorithms:
        return False
    try:
        model = JWSRegistry.algorithms[algorithm]
        model.check_key(key.public)
        return model.verify(parts.signed, parts.signature, key.public) is True
    except (JoseError, ValueError):
        return False


def _bytes(part: bytes) -> bytes:
    """Base64url without padding, in the one spelling it has (RFC 7515 §2). Raises ValueError."""
    if not part:
        raise ValueError("a part is empty")
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), b"-_", validate=True)
    except binascii.Error as exc:
        raise ValueError("a part is no base64url") from exc
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise ValueError("a part is spelled another way")
    return data
