"""Rate counters of one process."""

from __future__ import annotations

import time
from collections.abc import Callable

from hub.core.ports import Rate


class MemoryCounters:
    """GCRA: one number a key, the time at which its bucket will be full again. Exact, because nothing waits inside.

    At most `max_keys` keys that still matter are kept; with more, a key that is not known yet is told to wait, because
    forgetting one that is in use would give its caller a new burst.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = 100_000) -> None:
        self._clock, self._max_keys = clock, max_keys
        self._full_at: dict[tuple[str, ...], float] = {}
        self._swept = 0.0

    async def take(self, key: tuple[str, ...], rate: Rate) -> float:
        return self.take_now(key, rate)

    def take_now(self, key: tuple[str, ...], rate: Rate) -> float:
        now = self._clock()
        if rate.per_minute <= 0 or rate.burst < 1:
            return 60.0  # nothing is ever allowed; a caller who comes back in a minute costs little
        interval = 60.0 / rate.per_minute
        full_at = self._full_at.get(key)
        if full_at is None:
            if len(self._full_at) >= self._max_keys and not self._sweep(now):
                return interval
            full_at = now
        full_at = max(full_at, now) + interval
        wait = full_at - now - interval * rate.burst
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at
        return 0.0

    def _sweep(self, now: float) -> bool:
        """Drop the keys whose bucket is full, at most once a second: they count the same as keys never seen."""
        if self._swept and now - self._swept < 1.0:
            return False
        self._swept = now
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        return len(self._full_at) < self._max_keys

    def __len__(self) -> int:
        return len(self._full_at)
