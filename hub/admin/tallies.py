"""Counts of calls and of their times, as one task adds them up and a scrape reads them.

The library's own counters take a lock and look through all buckets for each observation: 5 us of a call's CPU.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BOUNDS: Final = (*map(floatToGoString, BUCKETS), "+Inf")


class _Times:
    """How many calls took how long."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts, self.total_s = [0] * len(_BOUNDS), 0.0


class Tallies(Collector):
    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}  # by server, tool and status
        self._times: dict[str, _Times] = {}  # by server

    def took(self, server: str, seconds: float) -> None:
        times = self._times.get(server)
        if times is None:
            times = self._times[server] = _Times()
        times.counts[bisect_left(BUCKETS, seconds)] += 1
        times.total_s += seconds

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "mcp_requests", "Requests answered, by outcome.", labels=("server_name", "tool_name", "status")
        )
        for labels, count in list(self.requests.items()):
            requests.add_metric(labels, count)
        yield requests
        seconds = HistogramMetricFamily(
            "mcp_request_duration_seconds",
            "Time from the decoded request to its answer, the log included.",
            labels=("server_name",),
        )
        for server, times in list(self._times.items()):
            seconds.add_metric((server,), _buckets(times.counts), times.total_s)
        yield seconds


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Each bound with how many stayed within it."""
    within, found = 0, []
    for bound, count in zip(_BOUNDS, counts, strict=True):
        within += count
        found.append((bound, float(within)))
    return found
