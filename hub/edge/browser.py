"""Browsers and the people logged in with them: cookies, login sessions, and proof that a form is ours.

A browser is known by one cookie of 256 random bits, of which only the SHA-256 is kept. Before a login nothing at all is
kept of it, so that nobody fills the memory by asking. Knows no page.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from typing import Final

from hub.identity.oauth.asked import Login

ABSOLUTE_S: Final = 12 * 3600.0
IDLE_S: Final = 3600.0
MOST: Final = 10_000  # sessions at a time; the longest unused ends first

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Visit:
    """One browser, as one request found it."""

    key: str  # SHA-256 of its cookie: what a wish is bound to
    csrf: str = field(repr=False)  # stands in every form; worth nothing with another cookie
    login: Login | None = None
    cookie: str | None = field(default=None, repr=False)  # to be set, when the browser has to learn it


@dataclass(slots=True)
class _Session:
    login: Login
    began_at: float
    used_at: float


class Browsers:
    def __init__(self, *, secure: bool, clock: Callable[[], float] = time, most: int = MOST) -> None:
        """`secure`: the hub is reached by https, and the cookie is good for this host and https only.

        Without it (plain http on loopback) a browser would drop a cookie that calls itself secure.
        """
        self._secure, self._clock, self._most = secure, clock, most
        self.cookie_name: Final = "__Host-mcp-hub" if secure else "mcp-hub"
        self._mac = secrets.token_bytes(32)
        self._sessions: dict[str, _Session] = {}  # by key; the longest unused first

    def visit(self, cookies: Mapping[str, str]) -> Visit:
        """Who sends these cookies. A browser without a usable one is a new one."""
        value = cookies.get(self.cookie_name, "")
        if _VALUE.fullmatch(value) is None:
            return self._new(None)
        key = _key(value)
        return Visit(key, self._csrf(key), self._live(key))

    def log_in(self, visit: Visit, login: Login) -> Visit:
        """The browser under a new cookie: one that somebody else planted before the login is worth nothing after."""
        self._sessions.pop(visit.key, None)
        if len(self._sessions) >= self._most:
            self._make_room()
        found = self._new(login)
        now = self._clock()
        self._sessions[found.key] = _Session(login, now, now)
        return found

    def log_out(self, visit: Visit) -> Visit:
        self._sessions.pop(visit.key, None)
        return self._new(None)

    def holds(self, visit: Visit) -> bool:
        """Whether the login that was found is not over since."""
        return visit.login is not None and visit.key in self._sessions

    def end_user(self, user: str) -> None:
        """Every session of the user with this id is over at once."""
        self._sessions = {key: found for key, found in self._sessions.items() if found.login.user.id != user}

    def is_ours(self, visit: Visit, csrf: str) -> bool:
        """Whether a form with this token was shown to this browser."""
        return hmac.compare_digest(visit.csrf.encode(), csrf.encode())

    def _new(self, login: Login | None) -> Visit:
        value = secrets.token_urlsafe(32)
        key = _key(value)
        secure = "; Secure" if self._secure else ""
        # Lax: the browser comes here by a link from the client's site, and must be known then
        cookie = f"{self.cookie_name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
        return Visit(key, self._csrf(key), login, cookie)

    def _csrf(self, key: str) -> str:
        return hmac.new(self._mac, key.encode(), sha256).hexdigest()

    def _live(self, key: str) -> Login | None:
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock()
        del self._sessions[key]
        if self._is_over(session, now):
            return None
        session.used_at = now
        self._sessions[key] = session  # now the last one used
        return session.login

    def _make_room(self) -> None:
        now = self._clock()
        self._sessions = {key: found for key, found in self._sessions.items() if not self._is_over(found, now)}
        while len(self._sessions) >= self._most:
            del self._sessions[next(iter(self._sessions))]

    @staticmethod
    def _is_over(session: _Session, now: float) -> bool:
        # a clock that was set back ends nothing early, and prolongs nothing beyond what is left of it
        return now - session.began_at >= ABSOLUTE_S or now - session.used_at >= IDLE_S


def _key(value: str) -> str:
    return sha256(value.encode()).hexdigest()
