"""Budgets as a stage: every hold is settled once."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

from hub.core.call import Call, Denied, Done, Listing, Outcome
from hub.core.ports import Hold
from policies.budget import Budget
from tests.policies.below import Below, Hanging, a_call, cancelled


class Purse:
    """A ledger and its hold in one: keeps what was settled."""

    def __init__(self, refuses: Denied | None = None, slow: bool = False) -> None:
        self.refuses, self.slow = refuses, slow
        self.settled: list[Outcome] = []

    async def hold(self, call: Call) -> Hold | Denied:
        return self.refuses or self

    async def settle(self, outcome: Outcome) -> None:
        await asyncio.sleep(3600 if self.slow else 0)
        self.settled.append(outcome)


async def test_a_call_within_its_budget_passes_and_is_settled_with_its_outcome() -> None:
    purse = Purse()
    assert await Budget(purse)(a_call(), Below()) == Done({}, 2)
    assert purse.settled == [Done({}, 2)]


async def test_without_a_ledger_every_call_passes() -> None:
    assert await Budget(None)(a_call(), Below()) == Done({}, 2)


async def test_a_list_costs_nothing() -> None:
    purse = Purse()
    assert await Budget(purse)(a_call(target=Listing("tool")), Below()) == Done({}, 2)
    assert not purse.settled


async def test_an_exhausted_budget_refuses_and_holds_nothing() -> None:
    below, denied = Below(), Denied("budget", "team: spent")
    purse = Purse(denied)
    assert await Budget(purse)(a_call(), below) is denied
    assert not below.seen
    assert not purse.settled


async def test_a_failure_below_settles_the_hold() -> None:
    purse = Purse()
    with pytest.raises(RuntimeError, match="below"):
        await Budget(purse)(a_call(), Below(RuntimeError("below")))
    assert [type(outcome) for outcome in purse.settled] == [Denied]


async def test_a_cancelled_call_settles_its_hold() -> None:
    purse = Purse()
    await cancelled(Budget(purse), a_call())
    assert purse.settled == [Denied("cancelled", "the caller went away")]


async def test_a_call_under_a_cancelled_scope_settles_its_hold() -> None:
    purse, hanging = Purse(), Hanging()
    async with anyio.create_task_group() as group:
        group.start_soon(Budget(purse), a_call(), hanging)
        await hanging.entered.wait()
        group.cancel_scope.cancel()
    assert purse.settled == [Denied("cancelled", "the caller went away")]


async def test_a_ledger_that_does_not_settle_in_time_keeps_the_hold_and_the_answer_is_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    purse = Purse(slow=True)
    with caplog.at_level(logging.ERROR):
        assert await Budget(purse, 0.02)(a_call(), Below()) == Done({}, 2)
    assert not purse.settled
    assert "stays held" in caplog.text
