"""GCRA counters in memory."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.ports import Rate
from hub.stores.memory.counters import MemoryCounters


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_burst_passes_and_the_next_is_told_how_long_to_wait() -> None:
    clock = Clock()
    counters, rate = MemoryCounters(clock), Rate(60, 3)
    assert [await counters.take(("a",), rate) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert await counters.take(("a",), rate) == pytest.approx(1.0)
    clock.now += 0.4
    assert await counters.take(("a",), rate) == pytest.approx(0.6)


async def test_whoever_waits_as_told_passes_and_a_refusal_costs_nothing() -> None:
    clock = Clock()
    counters, rate = MemoryCounters(clock), Rate(60, 1)
    assert await counters.take(("a",), rate) == 0.0
    for _ in range(100):
        wait_s = await counters.take(("a",), rate)
    clock.now += wait_s
    assert await counters.take(("a",), rate) == 0.0
    assert await counters.take(("a",), rate) > 0


async def test_keys_do_not_share() -> None:
    counters, rate = MemoryCounters(Clock()), Rate(60, 1)
    assert await counters.take(("t", "a"), rate) == 0.0
    assert await counters.take(("t", "b"), rate) == 0.0
    assert await counters.take(("ta",), rate) == 0.0


@pytest.mark.parametrize("rate", [Rate(0, 5), Rate(-1, 5), Rate(60, 0)])
async def test_a_rate_of_nothing_lets_nobody_pass(rate: Rate) -> None:
    assert await MemoryCounters(Clock()).take(("a",), rate) > 0


async def test_a_full_table_forgets_idle_keys_alone() -> None:
    clock = Clock()
    counters, rate = MemoryCounters(clock, max_keys=2), Rate(60, 1)
    assert await counters.take(("busy",), rate) == 0.0
    clock.now += 0.5
    assert await counters.take(("idle",), Rate(6000, 1)) == 0.0
    assert await counters.take(("new",), rate) > 0, "both keys are in use: nobody gets a burst by pushing them out"
    assert await counters.take(("new",), rate) > 0, "and the table is not swept for every stranger"
    clock.now += 0.4
    assert await counters.take(("busy",), rate) > 0
    clock.now += 1.0
    assert await counters.take(("new",), rate) == 0.0
    assert len(counters) <= 2


async def test_many_at_once_take_no_more_than_the_burst() -> None:
    counters, rate = MemoryCounters(Clock()), Rate(60, 10)
    waits = await asyncio.gather(*(counters.take(("a",), rate) for _ in range(100)))
    assert sum(wait == 0.0 for wait in waits) == 10


@given(
    per_minute=st.sampled_from([6.0, 60.0, 600.0, 7.3]),
    burst=st.integers(1, 20),
    steps=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_calls_passes_more_than_burst_plus_rate(
    per_minute: float, burst: int, steps: list[float]
) -> None:
    async def passed() -> tuple[int, float]:
        clock = Clock()
        counters, rate, count = MemoryCounters(clock), Rate(per_minute, burst), 0
        for step in steps:
            clock.now += step
            count += await counters.take(("a",), rate) == 0.0
        return count, clock.now - 1000.0

    count, seconds = asyncio.run(passed())
    assert count <= burst + seconds * per_minute / 60 + 1e-6
