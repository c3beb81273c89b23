"""Prometheus metrics: what the hub counts and how it is rendered.

Labels come from the catalogue and from fixed words, never from what a caller typed: everything else is `unknown`. The
number of time series is bounded, whatever servers rename.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hub.admin.recent import Recent
from hub.admin.tallies import Tallies
from hub.audit.record import outcome_word
from hub.core.call import Call, Denied, Item, One, Outcome
from hub.core.pipeline import Record
from hub.core.ports import Auditor
from hub.downstream.health import Health

UNKNOWN: Final = "unknown"
MAX_SERIES: Final = 20_000  # of one metric: servers that rename their tools for ever must not fill the memory
TRANSPORTS: Final = frozenset(("http", "sse", "stdio"))
METHODS: Final = frozenset(
    (
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "subscriptions/listen",
    )
)

Availability = Callable[[], Iterable[tuple[str, str, bool]]]  # (server id, public tool name, can be called now)


class Metrics:
    """All metrics of one hub, in a registry of their own."""

    def __init__(self, health: Callable[[], Iterable[Health]], availability: Availability) -> None:
        """Both are asked at each scrape, never in between."""
        # a second series for each counter, of no use to anybody here
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.recent = Recent()
        self._tallies = Tallies()
        self.registry.register(self._tallies)
        self._connections = Gauge(
            "mcp_active_connections", "Open client connections and sessions.", ("transport",), registry=self.registry
        )
        self._refused = Counter(
            "mcp_hub_refused", "Requests the hub refused, by code.", ("code",), registry=self.registry
        )
        self.registry.register(_Downstreams(health, availability))
        self.registry.register(_Tasks())
        self._refused_children: dict[str, Counter] = {}
        for transport in sorted(TRANSPORTS):
            self._connections.labels(transport)

    def answered(self, call: Call, outcome: Outcome, seconds: float) -> None:
        """One call of the pipeline is over."""
        server, tool = _labels(call)
        status = outcome_word(call, outcome).partition(":")[0]  # as the log names it; the code has its own metric
        requests, key = self._tallies.requests, (server, tool, status)
        if key not in requests and len(requests) >= MAX_SERIES:
            key = (server, UNKNOWN, status)
        requests[key] = requests.get(key, 0) + 1
        self._tallies.took(server, seconds)
        self.recent.answered(server, status, seconds)
        if isinstance(outcome, Denied):
            self.refused(outcome.code)

    def connected(self, transport: str, change: int) -> None:
        """A client connection opened (+1) or closed (-1)."""
        self._connections.labels(transport if transport in TRANSPORTS else UNKNOWN).inc(change)

    def refused(self, code: str) -> None:
        """One request refused, at the edge or by the pipeline."""
        counter = self._refused_children.get(code)
        if counter is None:
            bounded = code if len(self._refused_children) < 100 else UNKNOWN
            counter = self._refused_children[code] = self._refused.labels(bounded)
        counter.inc()

    def render(self) -> tuple[bytes, str]:
        """The scrape, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class MeteredAuditor:
    """An auditor whose every finished call is counted too."""

    def __init__(self, inner: Auditor, metrics: Metrics, clock: Callable[[], float] = monotonic) -> None:
        self._inner, self._metrics, self._clock = inner, metrics, clock

    async def intent(self, record: Record) -> None:
        await self._inner.intent(record)

    async def finish(self, record: Record, outcome: Outcome) -> None:
        """Counted also when the log does not take the entry: the call was dealt with."""
        try:
            await self._inner.finish(record, outcome)
        finally:
            self._metrics.answered(record.call, outcome, self._clock() - record.started)


class _Downstreams(Collector):
    """What is true at the moment of the scrape, read from the pool and the catalogue."""

    def __init__(self, health: Callable[[], Iterable[Health]], availability: Availability) -> None:
        self._health, self._availability = health, availability

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        tools = GaugeMetricFamily(
            "mcp_tool_availability", "1 when the tool can be called now.", labels=("server_name", "tool_name")
        )
        for server, tool, available in self._availability():
            tools.add_metric((server, tool), 1.0 if available else 0.0)
        yield tools
        states = GaugeMetricFamily("mcp_hub_server_state", "1 for the state in force.", labels=("server_name", "state"))
        restarts = GaugeMetricFamily(
            "mcp_hub_server_restarts", "Links lost since the hub started.", labels=("server_name",)
        )
        noise = GaugeMetricFamily(
            "mcp_hub_server_noise", "Messages that belonged to nothing.", labels=("server_name", "kind")
        )
        for health in self._health():
            states.add_metric((health.server, health.state), 1.0)
            restarts.add_metric((health.server,), float(health.restarts))
            for kind, count in (health.noise or {}).items():
                noise.add_metric((health.server, kind), float(count))
        yield from (states, restarts, noise)


class _Tasks(Collector):
    """What runs in the event loop at the moment of the scrape: a number that only grows is a leak."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            running = len(asyncio.all_tasks())
        except RuntimeError:  # scraped from where there is no loop
            return
        yield GaugeMetricFamily("mcp_hub_tasks", "Tasks of the event loop.", value=float(running))


def _labels(call: Call) -> tuple[str, str]:
    """Tools and prompts by their catalogue name; the rest by method, because a uri may be a caller's own words."""
    target = call.target
    if isinstance(target, One):
        item: Item = target.item
        if item.kind == "tool" or item.kind == "prompt":
            return item.server, item.name
        return item.server, call.method if call.method in METHODS else UNKNOWN
    return UNKNOWN, call.method if call.method in METHODS and call.method != "tools/call" else UNKNOWN
