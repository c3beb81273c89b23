"""One-time codes by the clock (RFC 6238): six digits, 30 s, as all authenticator apps make them. Each is good once."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from time import time
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES: Final = 20  # RFC 4226 section 4, R6
DIGITS: Final = 6
STEP_S: Final = 30
_DRIFT: Final = (-1, 0, 1)  # steps by which clocks may differ (RFC 6238 section 5.2)


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def written(secret: bytes) -> str:
    """As people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, name: str, issuer: str) -> str:
    """`otpauth://...`, as apps read it from a picture."""
    return _totp(secret).get_provisioning_uri(name, issuer)


class OneTimeCodes:
    """Which code of whom was used last. Kept in memory: a restart within the 90 s of one code forgets that one."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._last: dict[str, int] = {}  # step, by user id

    def use(self, user: str, secret: bytes, code: str) -> bool:
        """Whether this is a code of now that was not used yet; it is then."""
        given = code.replace(" ", "")
        if len(given) != DIGITS or not given.isascii() or not given.isdigit():
            return False
        now, found = int(self._clock()) // STEP_S, None
        for step in (now + drift for drift in _DRIFT):  # all of them, so that time does not tell which
            made = _totp(secret).generate(step * STEP_S)
            if hmac.compare_digest(made, given.encode()) and step > self._last.get(user, -1):
                found = step
        if found is None:
            return False
        self._last[user] = found
        return True

    def forget(self, user: str) -> None:
        self._last.pop(user, None)


def _totp(secret: bytes) -> TOTP:
    # SHA-1 as an HMAC is sound, and the only one that all apps know
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303
