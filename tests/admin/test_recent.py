"""The last minute and the time since the start, server by server, whatever comes."""

from __future__ import annotations

from time import process_time

import pytest

from hub.admin import recent as module
from hub.admin.metrics import Metrics
from hub.admin.recent import Recent, Traffic
from hub.core.call import Call, Client, Denied, Done, Item, One, Principal, Unresolved


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_counts_and_times_are_told_apart_by_server() -> None:
    recent = Recent(Clock())
    for number in range(100):
        recent.answered("time", "done", (number + 1) / 1000)
    recent.answered("wiki", "denied", 0.5)
    recent.answered("wiki", "error", 0.5)
    recent.answered("wiki", "unknown", 0.5)
    recent.answered("wiki", "cancelled", 0.5)
    assert recent.of("time") == Traffic(100, 0, 0, 100, 0, 0, 50.0, 95.0)
    assert recent.of("wiki") == Traffic(4, 1, 2, 4, 1, 2, 500.0, 500.0)
    assert recent.of("nobody") == Traffic(0, 0, 0, 0, 0, 0, None, None)
    total = recent.total()
    assert (total.calls, total.denied, total.errors, total.p95_ms) == (104, 1, 2, 99.0)


def test_what_is_older_than_a_minute_counts_in_the_totals_alone() -> None:
    clock = Clock()
    recent = Recent(clock)
    recent.answered("time", "denied", 9.0)
    clock.now += 59.5
    recent.answered("time", "done", 0.001)
    assert recent.of("time") == Traffic(2, 1, 0, 2, 1, 0, 1.0, 9000.0)
    clock.now += 1
    assert recent.of("time") == Traffic(2, 1, 0, 1, 0, 0, 1.0, 1.0)
    clock.now += 3600
    assert recent.of("time") == Traffic(2, 1, 0, 0, 0, 0, None, None)
    recent.answered("time", "done", 0.002)
    assert recent.of("time") == Traffic(3, 1, 0, 1, 0, 0, 2.0, 2.0)


def test_more_calls_than_are_kept_are_counted_all_the_same() -> None:
    recent = Recent(Clock())
    for _ in range(module.TIMES * 3):
        recent.answered("time", "done", 0.001)
    assert recent.of("time").recent_calls == module.TIMES * 3


def test_servers_beyond_the_bound_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERVERS", 2)
    recent = Recent(Clock())
    for number in range(50):
        recent.answered(f"s{number}", "done", 0.001)
    assert len(recent._servers) == 3
    assert (recent.of("s0").calls, recent.of("s7").calls, recent.of("unknown").calls) == (1, 0, 48)
    assert recent.total().calls == 50


def test_the_metrics_feed_it() -> None:
    metrics = Metrics(lambda: (), lambda: ())
    who = Principal("local", "local:client", "local:client", frozenset({"mcp"}))
    item = Item("tool", "time", "time__now", "now", {}, {}, "x")
    client = Client("modern", "2026-07-28")
    metrics.answered(Call("c", who, "", "tools/call", {}, client, 0.0, target=One(item)), Done({}), 0.25)
    metrics.answered(
        Call("c", who, "", "tools/call", {}, client, 0.0, target=Unresolved()), Denied("unknown_item", "x"), 0.1
    )
    assert metrics.recent.of("time") == Traffic(1, 0, 0, 1, 0, 0, 250.0, 250.0)
    assert metrics.recent.of("unknown").denied == 1


def test_counting_costs_next_to_nothing() -> None:
    """A generous bound: it stands in the road of every call."""
    recent = Recent()
    began = process_time()
    for _ in range(5000):
        recent.answered("time", "done", 0.001)
    assert (process_time() - began) / 5000 < 20e-6
