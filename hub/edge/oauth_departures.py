"""Sending browsers to the issuers of downstreams, and what is said where one cannot be reached or does not let in.

Both ends of a login belong to one browser and, where somebody is logged in to the hub with it, to that user: whose
access ends on the way gets nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from typing import Final, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from hub.edge import oauth_words as words
from hub.edge.browser import Browsers, Visit
from hub.edge.connect_ports import Connect
from hub.edge.logins import network_of
from hub.edge.oauth_forms import address_of
from hub.edge.oauth_login import sentence, span, standing
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import TWICE_S, WAIT_S
from hub.edge.oauth_ports import Desk
from hub.identity.oauth.asked import Login
from hub.identity.outbound.errors import Exhausted, OutboundFailed, Refused, Unavailable, Unregistered
from hub.identity.outbound.pending import Lost
from hub.identity.outbound.refresher import Unusable
from hub.identity.throttle import Buckets, Rate

T = TypeVar("T")

BEGUN: Final = Rate(20, 20)  # logins of one network
MOST: Final = 2_000  # remembered at a time
UNNAMED: Final = "the server"
_AGAIN: Final = frozenset({"unavailable", "unfit", "denied", "refused"})  # where the same link may be tried again
NEW_LINK: Final = "Go back to your app and call the tool again for a new link."
_ADMIN: Final = "tell the hub's administrator: its log says what"

_WORDS: Final = {  # status, title, what happened, what to do
    "unavailable": (
        502,
        "No login at {0} now",
        "What logs people in for {0} could not be reached, or cannot answer now.",
        f"Try again in a few minutes. If it stays so, {_ADMIN} failed.",
    ),
    "unfit": (
        502,
        "That login could not be used",
        "What was answered for {0} is not good for this login, and nothing was taken of it.",
        f"Try again. If it stays so, {_ADMIN} was wrong.",
    ),
    "denied": (
        403,
        "You are not connected",
        "The login at {0} was cancelled there, or you said no to the hub.",
        "If that was a mistake, try again.",
    ),
    "refused": (
        502,
        "You were not logged in",
        "The login at {0} was refused there.",
        f"Try again. If it stays so, {_ADMIN} it was refused with.",
    ),
    "unregistered": (
        409,
        "This hub is not known there",
        "Whoever logs people in for {0} lets in only apps that were registered, and this hub is none of them.",
        "Ask the hub's administrator to register an app there, and to enter it for this server.",
    ),
    "exhausted": (
        403,
        "Another login would not help",
        "You have logged in at {0}, which still asks for more rights than the login gives.",
        "Ask whoever looks after that server which rights you have there, then try again later.",
    ),
}


@dataclass(frozen=True, slots=True)
class Hall:
    """Everything that the pages of logins at downstreams may use."""

    connect: Connect
    browsers: Browsers
    issuer: str  # the hub's own address
    clock: Callable[[], float]
    desk: Desk | None = None  # None: nobody logs in to this hub

    def login(self, visit: Visit) -> Login | None:
        return None if self.desk is None else standing(self.desk, visit)


class Once(Generic[T]):
    """What came of something, for whoever asks again within a while. Bounded: the oldest is forgotten first."""

    def __init__(self, clock: Callable[[], float], keep_s: float, most: int = MOST) -> None:
        self._clock, self._keep_s, self._most = clock, keep_s, most
        self._found: dict[str, tuple[float, T]] = {}
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def busy(self, key: str) -> asyncio.Lock:
        """Of two who come at once, the second waits for what comes of the first."""
        return self._busy.setdefault(key, asyncio.Lock())

    def get(self, key: str) -> T | None:
        at, found = self._found.get(key, (0.0, None))
        return found if self._clock() - at < self._keep_s else None

    def put(self, key: str, found: T) -> None:
        self.drop(key)
        while len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[key] = self._clock(), found

    def drop(self, key: str) -> None:
        self._found.pop(key, None)


@dataclass(frozen=True, slots=True)
class Away:
    """A login that a browser was sent away for."""

    server: str
    token: str = field(repr=False)


class Departures:
    """The way to the issuer."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._begun = Buckets(hall.clock)
        self._gone: Once[str] = Once(hall.clock, TWICE_S)
        self._away: Once[Away] = Once(hall.clock, WAIT_S)  # by `answer_key`

    async def leave(self, request: Request, visit: Visit, away: Away, *, is_form: bool) -> Response:
        """On to the issuer. `is_form`: what led here may have been a form.

        Chromium holds a form's whole chain of redirects to form-action, which is the hub alone: a page goes on then.
        """
        browser = browser_of(visit, self._hall.login(visit))
        key = _key(browser, away.token)
        async with self._gone.busy(key):  # of two clicks, the second one goes where the first one went
            location = self._gone.get(key)
            if location is None:
                if wait_s := self._wait(address_of(request)):
                    return _busy(wait_s)
                try:
                    location = _checked(await self._hall.connect.begin(away.token, browser))
                except Lost as exc:
                    return over(sentence(str(exc)))
                except OutboundFailed as exc:
                    return self.failed(visit, exc, away)
                self._gone.put(key, location)
                self._away.put(answer_key(parse_qsl(urlsplit(location).query), browser), away)
        if not is_form:
            return to(location, visit)
        shown = {"location": location, "server": words.plain(away.server), "place": words.host_of(location)}
        return page("connecting", visit, **shown)

    def back(self, key: str, browser: str) -> Away | None:
        """What this answer is to, as far as is remembered: who goes there again begins anew."""
        away = self._away.get(key)
        if away is not None:
            self._gone.drop(_key(browser, away.token))
        return away

    def failed(self, visit: Visit, exc: OutboundFailed, away: Away | None) -> Response:
        kind = _kind(exc)
        status, *texts = _WORDS[kind]
        server = UNNAMED if away is None else words.plain(away.server)
        title, told, next = (text.format(server) for text in texts)
        if isinstance(exc.__cause__, Unusable):  # it was good, and could not be kept: in words of the hub's own
            told = sentence(str(exc.__cause__))
        is_over = away is None or kind not in _AGAIN or self._hall.connect.pending(away.token) is None
        again = "" if away is None or is_over else f"/oauth/connect?c={away.token}"
        return refused(visit, status, title, told, next, again=again, has_page=self._hall.login(visit) is not None)

    def _wait(self, address: str) -> float:
        """Seconds to wait: each login that is begun may have others asked several times."""
        key = ("connect", network_of(address))
        if wait_s := self._begun.wait(key, BEGUN):
            return wait_s
        self._begun.take(key, BEGUN)
        return 0.0


def browser_of(visit: Visit, login: Login | None) -> str:
    """What both ends of a login are bound to."""
    return visit.key if login is None else f"{visit.key}:{login.user.id}"


def answer_key(query: list[tuple[str, str]], browser: str) -> str:
    """Which login of this browser an answer, or what it answers, is about."""
    return _key(browser, dict(query).get("state", ""))


def refused(
    visit: Visit,
    status: int,
    title: str,
    told: str,
    next: str,
    *,
    w: str = "",
    again: str = "",
    has_page: bool = False,
) -> Response:
    """`w`: whoever is logged in may log out for what waits under it. `again`: where to try again."""
    shown = {"title": title, "words": told, "next": next, "w": w, "again": again, "has_page": has_page}
    return page("connect_failed", visit, status, **shown)


def over(told: str = "It has been used, it has expired, or the hub was started again.") -> Response:
    return error(404, "This link is over", told, NEW_LINK)


def _kind(exc: OutboundFailed) -> str:
    if isinstance(exc, Refused):
        return "denied" if exc.error == "access_denied" else "refused"
    kinds = ((Unavailable, "unavailable"), (Unregistered, "unregistered"), (Exhausted, "exhausted"))
    return next((word for kind, word in kinds if isinstance(exc, kind)), "unfit")


def _checked(location: str) -> str:
    """An address that a browser asks for, and nothing that it would run."""
    if urlsplit(location).scheme not in ("http", "https"):
        raise ValueError("the login leads to no address that a browser could be sent to")
    return location


def _key(*parts: str) -> str:
    return sha256("\n".join(parts).encode(errors="replace")).hexdigest()


def _busy(wait_s: float) -> Response:
    seconds = max(1, ceil(wait_s))
    response = error(
        429,
        "Too many logins were begun",
        "More were begun from your network than can all be yours.",
        f"Wait {span(seconds)}, then try again.",
    )
    response.headers["retry-after"] = str(seconds)
    return response
