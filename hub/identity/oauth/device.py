"""Programs without a browser that wait for a person to let them in (RFC 8628): their codes, kept in memory only.

The short code is typed by a person and could be guessed, so wrong ones are counted by network; the long one is the
program's secret, and only its SHA-256 is kept. A restart of the hub ends what waits: the program begins again.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from hub.core.call import Json
from hub.identity.oauth.asked import Wish
from hub.identity.oauth.families import digest
from hub.identity.throttle import Buckets, Rate, network

LASTS_S: Final = 600.0
FETCH_S: Final = 60.0  # at least, from the yes on: the program asks only now and then
TOLD_S: Final = 600.0  # for so long is a code that has ended still told from one that never was
INTERVAL_S: Final = 5  # between two questions of the program; and by how much more when it does not wait (§3.5)
LONGEST_S: Final = 60
EARLY_S: Final = 1.0  # timers and networks are not exact
MOST: Final = 4_000
OPENED: Final = 10  # times that one code may be typed: who sends his own to many people gets no further
BEGUN: Final = Rate(20, 20)
GUESSES: Final = Rate(10, 10)
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # §6.1: no vowels, so no words, and nothing that reads as a digit
LENGTH: Final = 8

State = Literal["waiting", "deciding", "allowed", "denied", "used"]
Told = Literal["pending", "slow_down", "allowed", "denied", "expired", "reused"]


@dataclass(slots=True, eq=False)
class Asked:
    """One request of one program, from its first question to its tokens."""

    wish: Wish  # without a redirect and a challenge
    user_code: str = field(repr=False)
    device_sha256: str
    network: str
    at: float
    ends: float
    state: State = "waiting"
    grant: str | None = None  # id; once it is allowed
    interval_s: int = INTERVAL_S
    asked_at: float | None = None  # the last time by the program
    opened: int = 0

    @property
    def written(self) -> str:
        """The code as people read it."""
        return f"{self.user_code[: LENGTH // 2]}-{self.user_code[LENGTH // 2 :]}"


@dataclass(frozen=True, slots=True)
class NotFound:
    """No request waits under the code that was typed; or, with a time, it was not even looked for."""

    wait_s: float = 0.0


class Devices:
    """All requests of programs without a browser. Nothing in here waits."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._by_device: dict[str, Asked] = {}  # by SHA-256, as below; the oldest first
        self._by_user: dict[str, Asked] = {}
        self._rates = Buckets(clock)

    def __len__(self) -> int:
        return len(self._by_device)

    def hold_up(self, address: str) -> float:
        """0.0: one more may begin there, and is counted. Else so many seconds are to wait."""
        key = ("begin", network(address))
        if (wait_s := self._rates.wait(key, BEGUN)) > 0:
            return wait_s
        self._rates.take(key, BEGUN)
        return 0.0

    def begin(self, wish: Wish, address: str) -> tuple[Asked, str]:
        """A new request, and the code that the program asks with."""
        self._sweep()
        if len(self._by_device) >= self._most:
            self._make_room()
        now, device_code, user_code = self._clock(), secrets.token_urlsafe(32), self._new_code()
        asked = Asked(wish, user_code, digest(device_code), network(address), now, now + LASTS_S)
        self._by_device[asked.device_sha256] = self._by_user[digest(user_code)] = asked
        return asked, device_code

    def typed(self, text: str, address: str) -> Asked | NotFound:
        """What waits under the code that somebody typed, however it is written."""
        key = ("guess", network(address))
        if (wait_s := self._rates.wait(key, GUESSES)) > 0:
            return NotFound(wait_s)
        asked = self._by_user.get(digest(plain(text)))
        if asked is None or not self.is_open(asked):
            self._rates.take(key, GUESSES)
            return NotFound()
        asked.opened += 1
        if asked.opened > OPENED:
            asked.state = "denied"
            return NotFound()
        return asked

    def is_open(self, asked: Asked) -> bool:
        """Whether a person may still answer it."""
        return asked.state == "waiting" and self._clock() < asked.ends

    def decide(self, asked: Asked, state: State, grant: str | None = None) -> None:
        asked.state, asked.grant = state, grant
        if state == "allowed":
            asked.ends = self.fetched_by(asked)

    def fetched_by(self, asked: Asked) -> float:
        """When the tokens of one that is allowed now must have been fetched."""
        return max(asked.ends, self._clock() + FETCH_S)

    def of(self, device_code: str, client: str) -> Asked | None:
        """The request that this program asks about. Another program's is none."""
        asked = self._by_device.get(digest(device_code))
        return asked if asked is not None and asked.wish.client.id == client else None

    def poll(self, asked: Asked) -> Told:
        """What the program is told. "allowed" comes once: from then on the code is used."""
        now = self._clock()
        if asked.state == "used":
            return "reused"
        if asked.state == "denied":
            return "denied"
        if now >= asked.ends:
            return "expired"
        if asked.state == "allowed":
            asked.state = "used"
            return "allowed"
        early = asked.asked_at is not None and now - asked.asked_at < asked.interval_s - EARLY_S
        asked.asked_at = now
        if early:
            asked.interval_s = min(asked.interval_s + INTERVAL_S, LONGEST_S)
        return "slow_down" if early else "pending"

    def _new_code(self) -> str:
        while True:
            code = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
            if digest(code) not in self._by_user:
                return code

    def _sweep(self) -> None:
        now = self._clock()
        while self._by_device:
            oldest = next(iter(self._by_device.values()))
            if now < oldest.ends + TOLD_S:
                return
            self._remove(oldest)

    def _make_room(self) -> None:
        """At the cost of the network that has the most: one that floods drops its own, not other people's."""
        (largest, _), *_ = Counter(asked.network for asked in self._by_device.values()).most_common(1)
        self._remove(next(asked for asked in self._by_device.values() if asked.network == largest))

    def _remove(self, asked: Asked) -> None:
        asked.state = "denied"  # for a page that still shows it
        del self._by_device[asked.device_sha256], self._by_user[digest(asked.user_code)]


def begun(issuer: str, asked: Asked, device_code: str) -> Json:
    """What the program is told first (RFC 8628 §3.2)."""
    at = f"{issuer}/oauth/device"
    return {
        "device_code": device_code,
        "user_code": asked.written,
        "verification_uri": at,
        "verification_uri_complete": f"{at}?user_code={asked.written}",
        "expires_in": int(LASTS_S),
        "interval": INTERVAL_S,
    }


def plain(text: str) -> str:
    """A code without what people put between and around its letters (§6.1)."""
    return "".join(char for char in text[:64].upper() if char in LETTERS)
