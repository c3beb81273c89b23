"""Stages that say that they would only hand a call on: they are asked, and not run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from hub.core.call import Call, Denied, Done, Effect, One, Outcome
from hub.core.ports import Next, Passing
from tests.core.chain import PAY, SEE, Does, Find, Log, Reach, a_call, gate, hides_pay, run, small_sums


class Guards:
    """A stage that lets some calls pass."""

    name = "guards"

    def __init__(self, passes: bool | Exception) -> None:
        self._passes, self.asked, self.ran = passes, 0, 0

    def passes(self, call: Call, /) -> bool:
        self.asked += 1
        if isinstance(self._passes, Exception):
            raise self._passes
        return self._passes

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        self.ran += 1
        if isinstance(self._passes, Exception):
            raise self._passes
        return Denied("policy", "guarded")


async def test_a_stage_that_passes_is_asked_and_not_run() -> None:
    guards, log = Guards(True), Log()
    assert await run([Find(One(SEE)), guards], Reach(), log) == Done({})
    assert (guards.asked, guards.ran) == (1, 0)
    assert [name for name, _, _, _ in log.records[0].verdicts] == ["dispatch", "resolve"]


async def test_a_stage_that_does_not_pass_is_run() -> None:
    guards, reach = Guards(False), Reach()
    outcome = await run([Find(One(SEE)), guards], reach)
    assert outcome == Denied("policy", "guarded", effect=Effect.NONE)
    assert guards.ran == 1
    assert reach.seen == []


@pytest.mark.parametrize("outer", [True, False])
async def test_a_stage_that_breaks_when_asked_denies_under_its_own_name(outer: bool) -> None:
    guards, reach = Guards(KeyError("x")), Reach()
    outcome = await run([guards, Find(One(SEE))] if outer else [Find(One(SEE)), guards], reach)
    assert outcome == Denied("internal", "guards: KeyError", effect=Effect.NONE)
    assert reach.seen == []


async def test_a_gate_passes_what_it_allows_without_obligations_and_nothing_else() -> None:
    hides, limits = gate(hides_pay), gate(small_sums)
    assert isinstance(hides, Passing)
    calls: list[Call] = []

    async def keeps(call: Call, next: Next) -> Outcome:
        calls.append(call)
        return Done({})

    for item in (PAY, SEE):
        await run([Find(One(item)), Does(keeps)], Reach())
    pay, see = calls
    assert (hides.passes(pay), hides.passes(see)) == (False, True)
    assert not limits.passes(pay)  # it says no to these arguments, and to others yes with an obligation


async def test_a_gate_that_is_run_hands_on_what_it_would_have_passed() -> None:
    seen: list[Call] = []

    async def below(call: Call) -> Outcome:
        seen.append(call)
        return Done({})

    call = a_call(target=One(SEE))
    assert await gate(hides_pay)(call, below) == Done({})
    assert seen == [call]


async def test_a_stage_below_one_that_passes_may_not_be_called_twice_either() -> None:
    async def twice(call: Call, next: Next) -> Outcome:
        await next(call)
        return await next(call)

    outcome = await run([Find(One(SEE)), Does(twice), Guards(True), Guards(True)], Reach())
    assert outcome == Denied("internal", "does: RuntimeError", effect=Effect.DONE)


async def test_what_was_asked_for_in_time_and_awaited_too_late_reaches_nobody() -> None:
    kept: list[Awaitable[Outcome]] = []
    guards, reach = Guards(False), Reach()

    async def keeps(call: Call, next: Next) -> Outcome:
        kept.append(next(call))
        return Done({})

    assert await run([Find(One(SEE)), Does(keeps), Guards(True), guards], reach) == Done({})
    with pytest.raises(RuntimeError, match="after the call was answered"):
        await asyncio.wait_for(kept[0], 5)
    assert (guards.ran, reach.seen) == (0, [])
