"""Telemetry of a running hub: opened before its first call, flushed after its last. Nothing of it without its section.

The OpenTelemetry SDK is imported only here, and only when it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from time import time_ns
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from hub import VERSION
from hub.admin.telemetry.shipping import Shipper
from hub.admin.telemetry.spans import Span
from hub.admin.telemetry.tracing import TracedAuditor, Tracing
from hub.config_telemetry import Telemetry
from hub.core.errors import HubError
from hub.core.ports import Auditor

if TYPE_CHECKING:
    from hub.admin.telemetry.otlp import Collected

log = logging.getLogger(__name__)

QUEUED_CALLS: Final = 2048  # about ten spans each
QUEUED_REPORTS: Final = 4
_BATCH: Final = 128
_EVERY_S: Final = 1.0


class Telemetries:
    """What the parts use of it. Where calls leave no spans `tracing` is None: one check is then its whole cost."""

    def __init__(
        self,
        calls: Shipper[tuple[Span, ...]] | None = None,
        reports: Shipper[Collected] | None = None,
        *,
        sample: float = 0.0,
        interval_s: float = 60.0,
    ) -> None:
        self.tracing = Tracing(sample, calls.put) if calls is not None else None
        self._calls, self._reports, self._interval_s = calls, reports, interval_s
        self._task: asyncio.Task[None] | None = None
        self._collect: Callable[[], None] = lambda: None

    def around(self, auditor: Auditor) -> Auditor:
        return auditor if self.tracing is None else TracedAuditor(auditor, self.tracing)

    def report(self, registry: CollectorRegistry) -> None:
        """Send what the registry holds, now and then and at the end. Once; without telemetry nothing."""
        if self is OFF:
            return
        registry.register(_Dropped(self._calls, self._reports))
        if (reports := self._reports) is None:
            return

        def collect() -> None:
            reports.put((time_ns(), tuple(registry.collect())))

        self._collect = collect
        self._task = asyncio.create_task(self._reporting(), name="telemetry")

    async def aclose(self) -> None:
        """Within 2 s, whatever the collector does. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            self._collect()
        open = [shipper for shipper in (self._calls, self._reports) if shipper is not None]
        await asyncio.gather(*(shipper.aclose() for shipper in open))

    async def _reporting(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                self._collect()
            except Exception:  # the task's outermost loop: the next report may be had again
                log.exception("the metrics could not be collected")


OFF: Final = Telemetries()


async def opened(settings: Telemetry | None, stack: AsyncExitStack) -> Telemetries:
    """Raises HubError, in words, when what it needs is not installed."""
    if settings is None:
        return OFF
    try:
        from hub.admin.telemetry import otlp
    except ImportError as exc:
        raise HubError(
            "telemetry is configured, and the packages it needs are not installed; "
            "run: pip install 'mcp-hub[otel]', or remove the section telemetry"
        ) from exc
    source, calls, reports = otlp.Source(settings.service_name, VERSION), None, None
    if settings.traces:
        spans = otlp.SpanSender(otlp.span_exporter(settings.endpoint, settings.headers), source)
        calls = Shipper("traces", spans.send, spans.release, limit=QUEUED_CALLS, batch=_BATCH, every_s=_EVERY_S)
    if settings.metrics:
        sender = otlp.MetricSender(otlp.metric_exporter(settings.endpoint, settings.headers), source)
        reports = Shipper("metrics", sender.send, sender.release, limit=QUEUED_REPORTS, batch=1, every_s=_EVERY_S)
    made = Telemetries(calls, reports, sample=settings.sample, interval_s=settings.interval_s)
    stack.push_async_callback(made.aclose)
    return made


class _Dropped(Collector):
    """What never reached the collector."""

    def __init__(self, *shippers: Shipper[tuple[Span, ...]] | Shipper[Collected] | None) -> None:
        self._shippers = tuple(shipper for shipper in shippers if shipper is not None)

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        dropped = CounterMetricFamily(
            "mcp_hub_telemetry_dropped", "Traces and reports that did not reach the collector.", labels=("signal",)
        )
        for shipper in self._shippers:
            dropped.add_metric((shipper.what,), float(shipper.dropped))
        yield dropped
