"""Passwords: which are good enough, and their argon2id hashes, made and compared in threads of their own.

A hash costs 19 MiB and some 40 ms (OWASP's second choice of parameters), so two are computed at once and a few wait.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

import anyio
from anyio.to_thread import run_sync
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SHORTEST: Final = 12  # characters
LONGEST: Final = 256
AT_ONCE: Final = 2
WAITING: Final = 32  # beyond those at work

_MEMORY_KIB, _PASSES, _LANES, _HASH_BYTES, _SALT_BYTES = 19 * 1024, 2, 1, 32, 16
_LETTERS: Final = re.compile(r"[\W\d_]+")
_FEWEST: Final = 5  # different characters
_COUNTING: Final = "0123456789" * (LONGEST // 10 + 2)
_WORDS: Final = frozenset(  # of the commonest passwords, without the digits and signs that people put around them
    {
        *("password", "passwort", "passw", "pass", "pwd", "motdepasse", "contrasena", "secret", "letmein", "welcome"),
        *("willkommen", "admin", "administrator", "root", "user", "test", "guest", "master", "login", "changeme"),
        *("default", "qwerty", "qwertz", "azerty", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm"),
        *("qwertyasdfgh", "qazwsxedc", "qweasdzxc", "abc", "abcdef", "abcdefgh", "abcdefghijkl", "iloveyou", "monkey"),
        *("dragon", "football", "baseball", "sunshine", "princess", "superman", "batman", "starwars", "trustno"),
        *("correcthorsebatterystaple", "mcphub", "mcp", "hub", "summer", "winter", "spring", "autumn", "sommer"),
    }
)


class Busy(ValueError):
    """Too many passwords are being compared: come back in a second."""


def fit(password: str, name: str) -> str:
    """The password as it is hashed: in one of the ways that Unicode can write it. Raises ValueError, without it."""
    text = normal(password)
    if text is None or len(text) < SHORTEST or len(password) > LONGEST:
        raise ValueError(f"a password has between {SHORTEST} and {LONGEST} characters")
    folded = text.casefold()
    if len(set(folded)) < _FEWEST or folded in _COUNTING or folded[::-1] in _COUNTING:
        raise ValueError("this password is too simple: use several words, or let a password manager make one")
    own = name.casefold().partition("@")[0]
    if len(own) >= 3 and own in folded and len(_LETTERS.sub("", folded.replace(own, ""))) < 4:
        raise ValueError("this password is little more than the user's name: take another one")
    letters = _LETTERS.sub("", folded)
    if any(letters == word * times for word in _WORDS for times in (1, 2, 3)):
        raise ValueError("this password is one of the commonest: take another one")
    return text


def normal(password: str) -> str | None:
    """None: no password can be this."""
    if len(password) > LONGEST:
        return None
    try:
        password.encode()
    except UnicodeEncodeError:
        return None
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """One event loop uses it."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._most, self._at_once = at_once + waiting, at_once
        self._limit: anyio.CapacityLimiter | None = None
        self._here = 0
        self._nobodys: str | None = None

    async def hashed(self, password: str) -> str:
        """In PHC format. Raises Busy."""
        return await self._run(_hashed, password.encode())

    async def matches(self, password: str, phc: str | None) -> bool:
        """False at the same price where there is no hash, so that time tells nothing of who exists. Raises Busy."""
        if self._nobodys is None:
            await self.warm()
        text = normal(password)
        matched = await self._run(_matches, b"" if text is None else text.encode(), phc or self._nobodys or "")
        return matched and phc is not None and text is not None

    async def warm(self) -> None:
        """Make ready for names that nobody has: the first of them must not cost more than the second."""
        if self._nobodys is None:
            self._nobodys = await self.hashed(os.urandom(32).hex())

    async def _run(self, work: Callable[[Unpack[Ts]], T], *given: *Ts) -> T:
        if self._here >= self._most:
            raise Busy("too many passwords are being compared: try again in a second")
        if self._limit is None:
            self._limit = anyio.CapacityLimiter(self._at_once)
        self._here += 1
        try:
            return await run_sync(work, *given, limiter=self._limit)
        finally:
            self._here -= 1


def _hashed(password: bytes) -> str:
    made = Argon2id(
        salt=os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )
    return made.derive_phc_encoded(password)


def _matches(password: bytes, phc: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, phc)
    except InvalidKey:
        return False
    return True
