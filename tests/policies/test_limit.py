"""Rate limits as a stage."""

from __future__ import annotations

import pytest

from hub.core.call import UNRESOLVED, Denied, Done, Listing
from hub.core.ports import Rate
from hub.stores.memory.counters import MemoryCounters
from policies.limit import Limit, per_caller, per_item
from tests.policies.below import Below, a_call, a_tool, cancelled


class Seen:
    """Counters that let everybody pass and remember the keys."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, ...]] = []

    async def take(self, key: tuple[str, ...], rate: Rate) -> float:
        self.keys.append(key)
        return 0.0


async def test_a_caller_passes_until_the_burst_is_used_and_then_learns_when_to_come_back() -> None:
    stage, below = Limit("per-caller", MemoryCounters(lambda: 1.0), per_caller(Rate(60, 2))), Below()
    assert [await stage(a_call(), below) for _ in range(2)] == [Done({}, 2)] * 2
    denied = await stage(a_call(), below)
    assert isinstance(denied, Denied)
    assert (denied.code, denied.effect) == ("rate_limited", None)
    assert denied.retry_after_s == pytest.approx(1.0)
    assert len(below.seen) == 2


async def test_a_caller_is_counted_before_anything_is_known_of_the_target() -> None:
    counters = Seen()
    await Limit("per-caller", counters, per_caller(Rate(60, 1)))(a_call(target=UNRESOLVED), Below())
    assert counters.keys == [("local", "key-1", "per-caller")]


async def test_items_are_counted_apart_and_only_where_their_server_has_a_rate() -> None:
    counters = Seen()
    stage = Limit("per-item", counters, per_item({"hr": Rate(60, 1)}))
    await stage(a_call(a_tool(name="hr__pay")), Below())
    await stage(a_call(a_tool(name="hr__see")), Below())
    await stage(a_call(target=Listing("tool")), Below())
    assert counters.keys == [
        ("local", "key-1", "per-item", "tool", "hr__pay"),
        ("local", "key-1", "per-item", "tool", "hr__see"),
    ]
    other = Limit("per-item", counters, per_item({"crm": Rate(60, 1)}))
    assert await other(a_call(), Below()) == Done({}, 2)
    assert len(counters.keys) == 2


async def test_counters_that_fail_let_nobody_pass() -> None:
    class Broken:
        async def take(self, key: tuple[str, ...], rate: Rate) -> float:
            raise OSError("connection refused")

    below = Below()
    with pytest.raises(OSError, match="refused"):
        await Limit("per-caller", Broken(), per_caller(Rate(60, 1)))(a_call(), below)
    assert not below.seen


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(Limit("per-caller", MemoryCounters(), per_caller(Rate(60, 1))), a_call())
