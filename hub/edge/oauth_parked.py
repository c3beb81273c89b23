"""What waits for a person to log in: requests of clients, each answered once, and pages of the hub's own.

Each is bound to the browser that brought it. Where a login leads is said by whoever parks, and by no request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Final

from hub.identity.oauth.asked import Wish
from hub.identity.oauth.device import Asked
from hub.identity.oauth.sso import Begun

CONSENT: Final = "/oauth/consent"
WAIT_S: Final = 600.0  # for the person
MOST: Final = 4_000
HALF_S: Final = 180.0  # between the password and the one-time code
TWICE_S: Final = 10.0  # a form that is sent again within this is a double click


@dataclass(frozen=True, slots=True)
class Half:
    """A password that was right as far as it goes, and waits for its one-time code."""

    name: str
    password: str = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class Connecting:
    """A login at a downstream that waits for its user."""

    token: str = field(repr=False)
    server: str


@dataclass(slots=True, eq=False)
class Parked:
    id: str
    wish: Wish | None  # None: nobody asks but the person, for a page
    browser: str  # Visit.key; follows the browser to its new cookie
    network: str  # where it came from
    at: float
    then: str = CONSENT  # the page of ours that comes after the login
    device: Asked | None = None  # whose wish it is, if it is one of a program without a browser
    is_fresh: bool = False  # somebody logged in for this very wish
    half: Half | None = None
    sso: Begun | None = field(default=None, repr=False)  # the login at the provider that this browser is on its way to
    shown_to: str | None = None  # id of the user whose consent page it is
    connecting: Connecting | None = None
    location: str | None = field(default=None, repr=False)  # the answer; holds the code
    answered_at: float = 0.0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def again(self, now: float) -> str | None:
        """The answer once more, for a double click; later it is not given again, since its code was used."""
        return self.location if self.location is not None and now - self.answered_at < TWICE_S else None


class Waiting:
    def __init__(self, clock: Callable[[], float] = time, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._parked: dict[str, Parked] = {}  # the oldest first

    def park(
        self, wish: Wish | None, browser: str, network: str, then: str = CONSENT, device: Asked | None = None
    ) -> Parked:
        self._sweep()
        if len(self._parked) >= self._most:
            self._make_room()
        found = Parked(secrets.token_urlsafe(16), wish, browser, network, self._clock(), then, device)
        self._parked[found.id] = found
        return found

    def find(self, id: str, browser: str) -> Parked | None:
        """None: there is none, it waited too long, or it is another browser's."""
        found = self._parked.get(id)
        if found is None or found.browser != browser:
            return None
        if self._clock() - found.at >= WAIT_S:
            del self._parked[id]
            return None
        return found

    def move(self, before: str, after: str) -> None:
        """The browser has a new cookie. Consent pages that it was shown were for whoever was logged in before."""
        for found in self._parked.values():
            if found.browser == before:
                found.browser, found.shown_to, found.half, found.is_fresh = after, None, None, False

    def _sweep(self) -> None:
        now = self._clock()
        while self._parked:
            oldest = next(iter(self._parked.values()))
            if now - oldest.at < WAIT_S:
                return
            del self._parked[oldest.id]

    def _make_room(self) -> None:
        """At the cost of the network that has the most: one that floods drops its own, not other people's."""
        (largest, _), *_ = Counter(found.network for found in self._parked.values()).most_common(1)
        del self._parked[next(found.id for found in self._parked.values() if found.network == largest)]
