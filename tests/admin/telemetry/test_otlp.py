"""Figures and spans as OpenTelemetry's exporters send them, and where they may not be sent."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily

from hub.admin.metrics import Metrics
from hub.admin.telemetry.context import Parent
from hub.admin.telemetry.figures import figures
from hub.admin.telemetry.otlp import MetricSender, Source, SpanSender, metric_exporter, span_exporter
from hub.admin.telemetry.spans import Span
from hub.core.call import Done, One
from tests.core.chain import PAY, a_call

SPAN = Span("x", "internal", Parent(1, 2), None, 10, 20, {"a": "b"}, error=True)


class Receiver:
    """A test double of a collector: remembers what was posted, and answers as it is told."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.status, self.location = status, location
        self.got: list[tuple[str, str | None, bytes]] = []
        self.url = ""


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, self.headers.get("x-api-key"), gzip.decompress(body)))
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_spans_arrive_with_their_headers_and_their_source() -> None:
    with listening(Receiver()) as receiver:
        sender = SpanSender(span_exporter(receiver.url, {"X-Api-Key": "k"}), Source("my hub", "9"))
        assert sender.send([(SPAN,)])
        sender.release()
    ((path, key, body),) = receiver.got
    assert (path, key) == ("/v1/traces", "k")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert (named["service.name"], named["service.version"]) == ("my hub", "9")
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano, span.status.code) == ("x", 10, 20, 2)


def test_the_figures_are_those_of_the_scrape() -> None:
    metrics = Metrics(lambda: (), lambda: (("hr", "hr__pay", True),))
    call = a_call(target=One(PAY))
    for seconds in (0.003, 0.02, 400.0):
        metrics.answered(call, Done({}), seconds)
    metrics.connected("http", 1)
    with listening(Receiver()) as receiver:
        source = Source("hub", "9")
        sender = MetricSender(metric_exporter(receiver.url, {}), source)
        assert sender.send([(source.started_ns + 5, tuple(metrics.registry.collect()))])
        sender.release()
    (resource,) = ExportMetricsServiceRequest.FromString(receiver.got[0][2]).resource_metrics
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (requests,) = found["mcp_requests"].sum.data_points
    assert (requests.as_double, requests.time_unix_nano - requests.start_time_unix_nano) == (3.0, 5)
    assert {pair.key: pair.value.string_value for pair in requests.attributes}["tool_name"] == "hr__pay"
    assert found["mcp_requests"].sum.is_monotonic
    (times,) = found["mcp_request_duration_seconds"].histogram.data_points
    assert (times.count, times.sum, sum(times.bucket_counts)) == (3, pytest.approx(400.023), 3)
    assert (times.bucket_counts[0], times.bucket_counts[-1]) == (1, 1)
    assert len(times.bucket_counts) == len(times.explicit_bounds) + 1
    assert not times.HasField("min")
    (available,) = found["mcp_tool_availability"].gauge.data_points
    assert available.as_double == 1.0
    assert {point.as_double for point in found["mcp_active_connections"].gauge.data_points} == {0.0, 1.0}


def test_a_family_without_samples_is_left_out() -> None:
    registry = CollectorRegistry()
    Counter("mcp_a", "a", ("x",), registry=registry)
    Gauge("mcp_b", "b", registry=registry)
    assert [figure.name for figure in figures(registry.collect(), 0, 1)] == ["mcp_b"]


def test_series_of_one_histogram_stay_apart() -> None:
    family = HistogramMetricFamily("t", "t", labels=("s",))
    family.add_metric(("a",), [("1.0", 1), ("+Inf", 4)], 9.0)
    family.add_metric(("b",), [("1.0", 2), ("+Inf", 2)], 1.0)
    (figure,) = figures([family], 0, 1)
    found = [(point.attributes, point.bucket_counts, point.sum) for point in figure.data.data_points]  # type: ignore[union-attr]
    assert found == [({"s": "a"}, [1, 3], 9.0), ({"s": "b"}, [2, 0], 1.0)]


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_collector_that_refuses_did_not_get_it(status: int) -> None:
    with listening(Receiver(status)) as receiver:
        source = Source("hub", "9")
        spans = SpanSender(span_exporter(receiver.url, {}), source)
        reports = MetricSender(metric_exporter(receiver.url, {}), source)
        registry = CollectorRegistry()
        Gauge("mcp_b", "b", registry=registry)
        assert not spans.send([(SPAN,)])
        assert not reports.send([(0, tuple(registry.collect()))])
        spans.release()
        reports.release()


def test_a_redirect_is_not_followed_and_the_environments_proxy_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Receiver()) as elsewhere, listening(Receiver(307, f"{elsewhere.url}/v1/traces")) as receiver:
        monkeypatch.setenv("HTTP_PROXY", elsewhere.url)
        monkeypatch.setenv("http_proxy", elsewhere.url)
        sender = SpanSender(span_exporter(receiver.url, {"x-api-key": "secret"}), Source("hub", "9"))
        assert not sender.send([(SPAN,)])
        sender.release()
    assert [path for path, _, _ in receiver.got] == ["/v1/traces"]
    assert elsewhere.got == []
