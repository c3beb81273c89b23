"""What the hub counts, under which labels, and that no caller can make it count without bound."""

from __future__ import annotations

import asyncio
from time import process_time

import pytest

from hub.admin import metrics as module
from hub.admin.metrics import MeteredAuditor, Metrics
from hub.core.call import (
    Asked,
    Call,
    Client,
    Denied,
    Done,
    Effect,
    Item,
    Kind,
    Listed,
    Listing,
    One,
    Outcome,
    Principal,
    Target,
    Unresolved,
)
from hub.core.pipeline import Record
from tests.admin.fakes import health

WHO = Principal("local", "local:client", "local:client", frozenset({"mcp"}))


def call(target: Target, method: str = "tools/call") -> Call:
    return Call("c1", WHO, "", method, {}, Client("modern", "2026-07-28"), 0.0, target=target)


def item(kind: Kind = "tool", name: str = "time__now") -> Item:
    return Item(kind, "time", name, name, {}, {}, "x")


def metrics() -> Metrics:
    return Metrics(lambda: (), lambda: ())


def value(found: Metrics, name: str, **labels: str) -> float | None:
    return found.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Done({"content": []}), "done"),
        (Done({"isError": True}), "error"),
        (Asked({}, None), "asked"),
        (Denied("downstream_error", "x"), "error"),
        (Denied("cancelled", "x"), "cancelled"),
        (Denied("policy", "x", effect=Effect.NONE), "denied"),
        (Denied("downstream_late", "x", effect=Effect.UNKNOWN), "unknown"),
    ],
)
def test_a_call_is_counted_by_item_and_outcome(outcome: Outcome, status: str) -> None:
    found = metrics()
    for _ in range(2):
        found.answered(call(One(item())), outcome, 0.02)
    labels = {"server_name": "time", "tool_name": "time__now", "status": status}
    assert value(found, "mcp_requests_total", **labels) == 2
    assert value(found, "mcp_request_duration_seconds_count", server_name="time") == 2
    assert value(found, "mcp_request_duration_seconds_bucket", server_name="time", le="0.025") == 2
    assert value(found, "mcp_request_duration_seconds_bucket", server_name="time", le="0.01") == 0


@pytest.mark.parametrize(
    ("target", "method", "server", "tool"),
    [
        (One(item("prompt", "time__ask")), "prompts/get", "time", "time__ask"),
        (One(item("resource", "time+file:///made/up/by/caller")), "resources/read", "time", "resources/read"),
        (One(item("template", "time+x")), "made/up", "time", "unknown"),
        (Listing("tool"), "tools/list", "unknown", "tools/list"),
        (Unresolved(), "tools/call", "unknown", "unknown"),
        (Unresolved(), "made/up", "unknown", "unknown"),
    ],
)
def test_labels_come_from_the_catalogue_and_never_from_the_caller(
    target: Target, method: str, server: str, tool: str
) -> None:
    found = metrics()
    outcome = Listed(()) if isinstance(target, Listing) else Denied("unknown_item", "x")
    found.answered(call(target, method), outcome, 1.0)
    status = "done" if isinstance(target, Listing) else "denied"
    assert value(found, "mcp_requests_total", server_name=server, tool_name=tool, status=status) == 1
    assert b"made/up" not in found.render()[0]


def test_a_server_that_renames_its_tools_for_ever_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERIES", 2)
    found = metrics()
    for number in range(5):
        found.answered(call(One(item(name=f"time__t{number}"))), Done({}), 0.1)
    assert value(found, "mcp_requests_total", server_name="time", tool_name="time__t1", status="done") == 1
    assert value(found, "mcp_requests_total", server_name="time", tool_name="time__t2", status="done") is None
    assert value(found, "mcp_requests_total", server_name="time", tool_name="unknown", status="done") == 3


def test_refusals_are_counted_by_code_within_bounds() -> None:
    found = metrics()
    found.refused("unauthenticated")
    found.answered(call(One(item())), Denied("policy", "x"), 0.1)
    for number in range(200):
        found.refused(f"code{number}")
    assert value(found, "mcp_hub_refused_total", code="unauthenticated") == 1
    assert value(found, "mcp_hub_refused_total", code="policy") == 1
    assert value(found, "mcp_hub_refused_total", code="code199") is None
    assert value(found, "mcp_hub_refused_total", code="unknown") == 102


def test_connections_are_counted_by_transport() -> None:
    found = metrics()
    assert value(found, "mcp_active_connections", transport="stdio") == 0
    found.connected("http", 1)
    found.connected("http", 1)
    found.connected("http", -1)
    found.connected("carrier pigeon", 1)
    assert value(found, "mcp_active_connections", transport="http") == 1
    assert value(found, "mcp_active_connections", transport="unknown") == 1


def test_availability_and_health_are_read_at_the_scrape() -> None:
    states = [health("time"), health("wiki", "needs_login", restarts=2, noise={"garbage": 3})]
    tools = [("time", "time__now", True)]
    found = Metrics(lambda: states, lambda: tools)
    assert value(found, "mcp_tool_availability", server_name="time", tool_name="time__now") == 1
    tools[:] = [("time", "time__now", False)]
    assert value(found, "mcp_tool_availability", server_name="time", tool_name="time__now") == 0
    assert value(found, "mcp_hub_server_state", server_name="wiki", state="needs_login") == 1
    assert value(found, "mcp_hub_server_restarts", server_name="wiki") == 2
    assert value(found, "mcp_hub_server_noise", server_name="wiki", kind="garbage") == 3
    body, kind = found.render()
    assert b"mcp_tool_availability{" in body
    assert kind.startswith("text/plain")


class Inner:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.seen = failure, list[str]()

    async def intent(self, record: Record) -> None:
        self.seen.append(f"intent {record.call.id}")

    async def finish(self, record: Record, outcome: Outcome) -> None:
        self.seen.append(f"finish {record.call.id}")
        if self.failure is not None:
            raise self.failure


async def test_tasks_are_told_where_there_is_a_loop_and_follow_what_runs() -> None:
    found = metrics()
    before = value(found, "mcp_hub_tasks")
    assert before is not None
    more = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    assert value(found, "mcp_hub_tasks") == before + 3
    for task in more:
        task.cancel()
    await asyncio.wait(more)
    assert value(found, "mcp_hub_tasks") == before
    assert await asyncio.to_thread(value, found, "mcp_hub_tasks") is None


async def test_an_audited_call_is_counted_with_its_time() -> None:
    inner, found = Inner(), metrics()
    auditor = MeteredAuditor(inner, found, clock=lambda: 12.5)
    record = Record(call(One(item())), started=10.0)
    await auditor.intent(record)
    await auditor.finish(record, Done({}))
    assert inner.seen == ["intent c1", "finish c1"]
    assert value(found, "mcp_request_duration_seconds_sum", server_name="time") == 2.5


async def test_a_log_that_fails_fails_the_call_which_is_counted_all_the_same() -> None:
    found = metrics()
    auditor = MeteredAuditor(Inner(OSError("disk full")), found)
    with pytest.raises(OSError, match="disk full"):
        await auditor.finish(Record(call(One(item()))), Done({}))
    assert value(found, "mcp_request_duration_seconds_count", server_name="time") == 1


def test_counting_a_call_costs_microseconds() -> None:
    """A generous bound: what it guards against is a look-up of label children at every call."""
    found, one, outcome = metrics(), call(One(item())), Done({"content": []})
    found.answered(one, outcome, 0.01)
    began = process_time()
    for _ in range(2000):
        found.answered(one, outcome, 0.01)
    assert (process_time() - began) / 2000 < 50e-6
