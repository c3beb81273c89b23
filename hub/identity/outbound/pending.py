"""Logins that were offered, in memory: each opened by a token that only its address holds, for ten minutes, once.

Who may open which is for whoever shows the page. The browser that begins one is the only one that may end it, so that
nobody puts his own account at a server under somebody else's name.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic
from typing import Final

from hub.core.errors import HubError
from hub.identity.outbound.logins import Login

GOOD_S: Final = 600.0
MOST: Final = 10_000
MOST_OF_ACCOUNT: Final = 20
MOST_BEGUN: Final = 20  # of one offer: each asks the server and its issuer
_USER: Final = re.compile(r"u[0-9a-f]{16}")  # UserRow.id


class Lost(HubError):
    """This login is not to be had any more, or not from here; says why, in words for who sits at the browser."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What the page of an offer says, and whom it may let in."""

    server: str
    account: str
    whose: str  # in words
    is_user: bool  # the account is a user's of the hub, whose own browser session the page asks for


@dataclass(slots=True, eq=False)
class Waiting:
    """One offer, and what has become of it."""

    id: str
    token: str = field(repr=False)
    server: str
    account: str
    whose: str
    label: str
    until: float  # by the steady clock
    is_asked_for: bool = False  # somebody wants this login, whatever a server said last
    browser: bytes | None = field(default=None, repr=False)  # SHA-256 of the key of the one that began it
    login: Login | None = field(default=None, repr=False)  # under way; one answer takes it out
    begun: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # well, or never
    is_done: bool = False
    is_dropped: bool = False

    @property
    def said(self) -> Pending:
        return Pending(self.server, self.account, self.whose, is_user(self.account))

    def begun_by(self, browser: str) -> None:
        """The page of a user has seen that it is that very user; of others, the first browser is the one.

        Raises Lost.
        """
        key = sha256(browser.encode()).digest()
        if self.browser is not None and self.browser != key and not is_user(self.account):
            raise Lost("this login was begun in another browser: go on there, or ask for a new one")
        if self.begun >= MOST_BEGUN:
            raise Lost("this login was begun too often: ask for a new one")
        self.browser, self.begun = key, self.begun + 1

    def answered(self, browser: str, state: str) -> Login:
        """The login that this answer is to, which no other one is any more. Raises Lost."""
        login, key = self.login, sha256(browser.encode()).digest()
        if self.browser is None or not hmac.compare_digest(self.browser, key):
            raise Lost("the answer came to another browser than the login was begun in: begin it again in this one")
        if login is None or not hmac.compare_digest(login.begun.state.encode(), state.encode(errors="replace")):
            raise Lost("the answer is to no login that is under way: it was answered already, or begun again since")
        self.login = None
        return login


class Offered:
    """All of them. One event loop uses it."""

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._all: OrderedDict[str, Waiting] = OrderedDict()  # by id, the oldest first
        self._tokens: dict[bytes, str] = {}  # ids by SHA-256 of the token
        self._accounts: dict[str, list[str]] = {}

    def open(self, account: str, whose: str, server: str, label: str, *, is_anew: bool = False) -> Waiting:
        """The one there is for this account, server and label, or a new one.

        `is_anew`: somebody asks at this moment, so that one which a browser has begun already is not it.
        """
        self._sweep()
        for id in reversed(self._accounts.get(account, ())):
            found = self._all[id]
            is_same = (found.server, found.label) == (server, label) and not found.is_done
            if is_same and not (is_anew and found.browser is not None):
                found.is_asked_for = found.is_asked_for or is_anew
                return found
        id, token, until = secrets.token_urlsafe(16), secrets.token_urlsafe(32), self._clock() + GOOD_S
        made = Waiting(id, token, server, account, whose, label, until, is_asked_for=is_anew)
        mine = self._accounts.setdefault(account, [])
        if len(mine) >= MOST_OF_ACCOUNT:
            self._drop(mine[0])
        if len(self._all) >= self._most:
            self._drop(next(iter(self._all)))
        self._all[made.id] = made
        self._tokens[_digest(made.token)] = made.id
        self._accounts.setdefault(account, []).append(made.id)
        return made

    def by_token(self, token: str) -> Waiting | None:
        """None: unknown, ended or too late."""
        id = self._tokens.get(_digest(token))
        found = None if id is None else self.by_id(id)
        return None if found is None or found.is_done else found

    def by_id(self, id: str) -> Waiting | None:
        """Also one that has come to its good end, for as long as it would have been open."""
        found = self._all.get(id)
        return None if found is None or self._clock() >= found.until else found

    def forget(self, account: str) -> None:
        for id in list(self._accounts.get(account, ())):
            self._drop(id)

    def __len__(self) -> int:
        return len(self._all)

    def _sweep(self) -> None:
        now = self._clock()
        while self._all and next(iter(self._all.values())).until <= now:
            self._drop(next(iter(self._all)))

    def _drop(self, id: str) -> None:
        found = self._all.pop(id)
        del self._tokens[_digest(found.token)]
        mine = self._accounts[found.account]
        mine.remove(id)
        if not mine:
            del self._accounts[found.account]
        found.login, found.is_dropped = None, True
        found.ended.set()


def is_user(account: str) -> bool:
    return _USER.fullmatch(account) is not None


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="replace")).digest()
