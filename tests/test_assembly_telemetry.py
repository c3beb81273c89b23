"""Telemetry in a hub that runs: off costs one check, away costs nothing, and the last figures still go out."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from time import monotonic

import anyio
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, Gauge

from hub.assembly_telemetry import OFF, opened
from hub.config_telemetry import Telemetry
from hub.core.errors import HubError
from tests.admin.telemetry.test_otlp import Receiver, listening
from tests.core.chain import Log, a_call


async def test_without_its_section_nothing_is_added_and_nothing_loaded() -> None:
    async with AsyncExitStack() as stack:
        telemetry = await opened(None, stack)
    auditor, registry = Log(), CollectorRegistry()
    telemetry.report(registry)
    assert (telemetry, telemetry.tracing, telemetry.around(auditor)) == (OFF, None, auditor)
    assert list(registry.collect()) == []
    script = "import sys, hub.assembly; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


async def test_missing_packages_are_told_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hub.admin.telemetry.otlp", raising=False)
    monkeypatch.delattr("hub.admin.telemetry.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    async with AsyncExitStack() as stack:
        with pytest.raises(HubError, match=r"pip install 'mcp-hub\[otel\]'"):
            await opened(Telemetry("http://127.0.0.1:1"), stack)


async def test_the_figures_go_out_now_and_then_and_at_the_end() -> None:
    registry = CollectorRegistry()
    value = Gauge("mcp_b", "b", registry=registry)
    with listening(Receiver()) as receiver:
        async with AsyncExitStack() as stack:
            telemetry = await opened(Telemetry(receiver.url, traces=False, interval_s=0.01), stack)
            assert telemetry.tracing is None
            telemetry.report(registry)
            with anyio.fail_after(5):
                while not receiver.got:
                    await anyio.sleep(0.01)
            value.set(42)
    last = ExportMetricsServiceRequest.FromString(receiver.got[-1][2])
    found = {metric.name: metric for metric in last.resource_metrics[0].scope_metrics[0].metrics}
    assert found["mcp_b"].gauge.data_points[0].as_double == 42
    assert [path for path, _, _ in receiver.got] == ["/v1/metrics"] * len(receiver.got)


async def test_a_fault_while_collecting_does_not_end_the_reports(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(CollectorRegistry):
        left = 2

        def collect(self):  # type: ignore[no-untyped-def]
            if Faulty.left > 0:
                Faulty.left -= 1
                raise RuntimeError("not now")
            return super().collect()

    with listening(Receiver()) as receiver:
        async with AsyncExitStack() as stack:
            telemetry = await opened(Telemetry(receiver.url, traces=False, interval_s=0.01), stack)
            telemetry.report(Faulty())
            with anyio.fail_after(5):
                while not receiver.got:
                    await anyio.sleep(0.01)
    assert caplog.text.count("the metrics could not be collected") == 2


async def test_traces_alone_are_no_reports() -> None:
    registry = CollectorRegistry()
    with listening(Receiver()) as receiver:
        async with AsyncExitStack() as stack:
            telemetry = await opened(Telemetry(receiver.url, metrics=False), stack)
            telemetry.report(registry)
            assert registry.get_sample_value("mcp_hub_telemetry_dropped_total", {"signal": "traces"}) == 0
            assert registry.get_sample_value("mcp_hub_telemetry_dropped_total", {"signal": "metrics"}) is None
    assert receiver.got == []


async def test_a_collector_that_hangs_holds_up_no_call_and_the_stop_for_two_seconds() -> None:
    registry = CollectorRegistry()
    with socket.socket() as hole:  # takes connections, answers nothing
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)
        async with AsyncExitStack() as stack:
            url = f"http://127.0.0.1:{hole.getsockname()[1]}"
            telemetry = await opened(Telemetry(url, sample=1.0), stack)
            telemetry.report(registry)
            assert telemetry.tracing is not None
            began = monotonic()
            for _ in range(3000):
                telemetry.tracing.put(())
            assert monotonic() - began < 1.0
            assert telemetry.tracing.entered(a_call()).trace["traceparent"].startswith("00-")
            dropped = registry.get_sample_value("mcp_hub_telemetry_dropped_total", {"signal": "traces"})
            assert dropped is not None
            assert dropped >= 3000 - 2048 - 128
            await anyio.sleep(0)
            began = monotonic()
        assert monotonic() - began < 4.0
