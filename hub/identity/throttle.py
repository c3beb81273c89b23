"""How often a login may fail: per address, and per account where many addresses try.

A login takes its unit before the password is compared, so that many at once count as many, and gets it back when it
succeeds. An account under attack from everywhere stays open to addresses that have not just failed at it: an attacker
can slow himself down, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

PER_MINUTE: Final = 10
MOST_KEYS: Final = 20_000  # more failures than can be computed while one of them counts

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    per_minute: float
    burst: int


LOGINS: Final = Rate(PER_MINUTE, PER_MINUTE)
CODES: Final = Rate(1, 5)  # of one-time codes: who gets so far has the password already


class Buckets:
    """GCRA: one number a key, the time at which its bucket will be full again."""

    def __init__(self, clock: Callable[[], float], most: int = MOST_KEYS) -> None:
        self._clock, self._most = clock, most
        self._full_at: dict[Key, float] = {}

    def wait(self, key: Key, rate: Rate) -> float:
        """Seconds until a unit is there; 0.0: now."""
        now, interval = self._clock(), 60.0 / rate.per_minute
        full_at = max(self._full_at.get(key, now), now)
        return max(0.0, full_at + interval - now - interval * rate.burst)

    def is_full(self, key: Key) -> bool:
        return self._full_at.get(key, 0.0) <= self._clock()

    def take(self, key: Key, rate: Rate) -> None:
        now = self._clock()
        if key not in self._full_at and len(self._full_at) >= self._most:
            self._make_room(now)
        self._full_at[key] = max(self._full_at.get(key, now), now) + 60.0 / rate.per_minute

    def give_back(self, key: Key, rate: Rate) -> None:
        if key in self._full_at:
            self._full_at[key] -= 60.0 / rate.per_minute

    def __len__(self) -> int:
        return len(self._full_at)

    def _make_room(self, now: float) -> None:
        """Full ones count as those never seen; with none of them, the half that is nearest to it goes."""
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= self._most:
            kept = sorted(self._full_at.items(), key=lambda pair: pair[1])[self._most // 2 :]
            self._full_at = dict(kept)


class Attempts:
    """Attempts to log in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._buckets = Buckets(clock)

    def begin(self, account: str, address: str) -> float:
        """0.0: go on, and one unit is taken until `succeeded`. Else so many seconds are to wait."""
        here, account_, pair = _keys(account, address)
        wait = max(self._buckets.wait(here, LOGINS), self._buckets.wait(pair, LOGINS))
        if wait:
            return wait
        attacked = self._buckets.wait(account_, LOGINS)
        if attacked and not self._buckets.is_full(pair):
            return attacked
        for key in (here, account_, pair):
            self._buckets.take(key, LOGINS)
        return 0.0

    def succeeded(self, account: str, address: str) -> None:
        """It was no failure after all."""
        for key in _keys(account, address):
            self._buckets.give_back(key, LOGINS)

    def begin_code(self, user: str) -> float:
        """As `begin`, for a one-time code."""
        key = ("code", user)
        wait = self._buckets.wait(key, CODES)
        if not wait:
            self._buckets.take(key, CODES)
        return wait

    def code_was_right(self, user: str) -> None:
        self._buckets.give_back(("code", user), CODES)

    def __len__(self) -> int:
        return len(self._buckets)


def _keys(account: str, address: str) -> tuple[Key, Key, Key]:
    place = network(address)
    return ("address", place), ("account", account), ("pair", account, place)


def network(address: str) -> str:
    """Whom an address stands for: one of IPv6 for its /64, which is what one customer has at least."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), 64), strict=False))
