"""What was answered lately, server by server: counts and times of the last minute, totals since the start.

Bounded whatever happens: sixty slots and one ring of times for each server, and servers beyond a bound are not told
apart. Counting is a few steps of plain arithmetic, for it stands in the road of every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any, Final

WINDOW_S: Final = 60
TIMES: Final = 512  # the newest of the window; percentiles need no more
MAX_SERVERS: Final = 500
UNKNOWN: Final = "unknown"  # lists, and calls that reached no server


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one server. Times are None where the last minute had no call."""

    calls: int  # since the start
    denied: int
    errors: int
    recent_calls: int  # in the last minute
    recent_denied: int
    recent_errors: int
    p50_ms: float | None
    p95_ms: float | None

    def shown(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "denied": self.denied,
            "errors": self.errors,
            "last_minute": {
                "calls": self.recent_calls,
                "denied": self.recent_denied,
                "errors": self.recent_errors,
                "p50_ms": self.p50_ms,
                "p95_ms": self.p95_ms,
            },
        }


NONE: Final = Traffic(0, 0, 0, 0, 0, 0, None, None)


class _Counts:
    __slots__ = ("slots", "stamps", "times", "totals")

    def __init__(self) -> None:
        self.totals = [0, 0, 0]
        self.slots = [[0, 0, 0] for _ in range(WINDOW_S)]
        self.stamps = [-1] * WINDOW_S  # the second that each slot counts
        self.times: deque[tuple[float, float]] = deque(maxlen=TIMES)  # (when, how long)


class Recent:
    """One event loop uses it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._servers: dict[str, _Counts] = {}

    def answered(self, server: str, status: str, seconds: float) -> None:
        """One call is over; `status` as the log names it: done, error, denied and so on."""
        now = self._clock()
        counts = self._servers.get(server)
        if counts is None:
            counts = self._servers.setdefault(server if len(self._servers) < MAX_SERVERS else UNKNOWN, _Counts())
        second = int(now)
        place = second % WINDOW_S
        if counts.stamps[place] != second:
            counts.stamps[place], counts.slots[place] = second, [0, 0, 0]
        slot, totals = counts.slots[place], counts.totals
        slot[0] += 1
        totals[0] += 1
        if status == "denied":
            slot[1] += 1
            totals[1] += 1
        elif status in ("error", "unknown"):
            slot[2] += 1
            totals[2] += 1
        counts.times.append((now, seconds))

    def of(self, server: str) -> Traffic:
        counts = self._servers.get(server)
        return NONE if counts is None else self._traffic((counts,))

    def total(self) -> Traffic:
        return self._traffic(tuple(self._servers.values()))

    def _traffic(self, every: tuple[_Counts, ...]) -> Traffic:
        now = self._clock()
        since = int(now) - WINDOW_S
        totals, recent = [0, 0, 0], [0, 0, 0]
        for counts in every:
            for column in range(3):
                totals[column] += counts.totals[column]
                recent[column] += sum(
                    slot[column] for slot, stamp in zip(counts.slots, counts.stamps, strict=True) if stamp > since
                )
        times = sorted(took for counts in every for when, took in counts.times if int(when) > since)
        (calls, denied, errors), (last, last_denied, last_errors) = totals, recent
        p50, p95 = _percentile(times, 0.5), _percentile(times, 0.95)
        return Traffic(calls, denied, errors, last, last_denied, last_errors, p50, p95)


def _percentile(times: list[float], share: float) -> float | None:
    """The nearest rank, in milliseconds."""
    if not times:
        return None
    return round(times[ceil(share * len(times)) - 1] * 1000, 3)
