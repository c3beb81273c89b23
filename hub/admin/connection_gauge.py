"""Accounts that the hub speaks with at servers, and how many of them need a login, at the moment of a scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class ConnectionGauge(Collector):
    def __init__(self, states: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """`states` gives server and state ("connected", "needs_login") of each connection; asked at each scrape."""
        self._states = states

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "mcp_hub_connections", "Accounts the hub speaks with at servers.", labels=("server_name", "state")
        )
        for labels, count in sorted(Counter(self._states()).items()):
            gauge.add_metric(labels, float(count))
        yield gauge
