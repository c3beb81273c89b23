"""Spans and figures to a collector, over OTLP/HTTP, by OpenTelemetry's own exporters.

Imports the OpenTelemetry SDK, which only a hub with telemetry has to have. Everything here is called by the sending
thread, but for the constructor.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Final
from uuid import uuid4

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client import Metric

from hub.admin.telemetry.context import Parent
from hub.admin.telemetry.figures import figures
from hub.admin.telemetry.spans import Span

SEND_S: Final = 5.0  # for one batch, retries included
_KINDS: Final = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}

Collected = tuple[int, tuple[Metric, ...]]  # when (ns of the wall clock), what


class Source:
    """Who the data is about."""

    def __init__(self, service_name: str, version: str) -> None:
        """Reads no environment variable: the configuration alone says what this hub is called."""
        self.resource = Resource(
            {"service.name": service_name, "service.version": version, "service.instance.id": uuid4().hex}
        )
        self.scope = InstrumentationScope("mcp-hub", version)
        self.started_ns = time_ns()


class SpanSender:
    def __init__(self, exporter: SpanExporter, source: Source) -> None:
        self._exporter, self._source = exporter, source

    def send(self, batch: Sequence[tuple[Span, ...]]) -> bool:
        """Whether the collector took the spans of these calls."""
        spans = [readable(span, self._source) for call in batch for span in call]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def release(self) -> None:
        self._exporter.shutdown()


class MetricSender:
    def __init__(self, exporter: MetricExporter, source: Source) -> None:
        self._exporter, self._source = exporter, source

    def send(self, batch: Sequence[Collected]) -> bool:
        """Whether the collector took every one of these reports."""
        results = [self._exporter.export(self._data(*collected)) for collected in batch]
        return all(result is MetricExportResult.SUCCESS for result in results)

    def release(self) -> None:
        self._exporter.shutdown()

    def _data(self, at_ns: int, families: tuple[Metric, ...]) -> MetricsData:
        source = self._source
        scope = ScopeMetrics(source.scope, figures(families, source.started_ns, at_ns), "")
        return MetricsData([ResourceMetrics(source.resource, [scope], "")])


def span_exporter(endpoint: str, headers: Mapping[str, str]) -> SpanExporter:
    _quiet()
    return OTLPSpanExporter(
        f"{endpoint}/v1/traces",
        headers=dict(headers),
        timeout=SEND_S,
        compression=Compression.Gzip,
        session=_session(),
    )


def metric_exporter(endpoint: str, headers: Mapping[str, str]) -> MetricExporter:
    _quiet()
    return OTLPMetricExporter(
        f"{endpoint}/v1/metrics",
        headers=dict(headers),
        timeout=SEND_S,
        compression=Compression.Gzip,
        session=_session(),
    )


def readable(span: Span, source: Source) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=_context(span.own, remote=False),
        parent=None if span.parent is None else _context(span.parent, remote=span.remote),
        resource=source.resource,
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        instrumentation_scope=source.scope,
        status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )


def _context(of: Parent, *, remote: bool) -> SpanContext:
    return SpanContext(of.trace_id, of.span_id, remote, TraceFlags(of.flags))


def _session() -> requests.Session:
    """Sends where it was told to and nowhere else: the headers may hold a secret."""
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc that the hub's environment happens to name
    session.max_redirects = 0
    return session


def _quiet() -> None:
    """The exporters tell of each batch that fails; the hub says it once, in its own words, and counts."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
