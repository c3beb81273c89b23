"""What a gate shows of a list is remembered exactly as long as nothing it depends on differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core import shown
from hub.core.call import AnyArguments, Call, Denied, Item, Json, Listed, Listing, Outcome, Several
from hub.core.gate import GateStage
from hub.core.ports import Allowed
from tests.core.chain import MASK, PAY, SEE, WHO, a_call

MANY = tuple(Item("tool", "hr", f"hr__{n}", f"{n}", {}, {}, f"{n}") for n in range(10))


class Counting:
    """A gate that hides what it is told to, and counts how often it is asked."""

    name = "counting"

    def __init__(self, *hidden: Item, steady: bool = True) -> None:
        self.hidden, self.steady, self.asked = set(hidden), steady, 0
        self.fails = False

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        self.asked += 1
        if self.fails:
            raise KeyError("cannot tell")
        return Denied("policy", "hidden") if item in self.hidden else Allowed()


async def listed(stage: GateStage, items: tuple[Item, ...], **change: Any) -> Outcome:
    async def below(call: Call) -> Outcome:
        return Listed(items)

    return await stage(a_call({}, target=Listing("tool"), **{"method": "tools/list", **change}), below)


async def test_a_steady_gate_is_asked_once_for_a_caller_and_the_same_items() -> None:
    gate = Counting(PAY)
    stage = GateStage(gate)
    for _ in range(3):
        assert await listed(stage, (PAY, SEE)) == Listed((SEE,))
    assert await listed(stage, tuple([PAY, SEE])) == Listed((SEE,)), "the same items in another tuple"
    assert gate.asked == 2


async def test_a_gate_that_is_not_steady_is_asked_every_time() -> None:
    gate = Counting(PAY, steady=False)
    stage = GateStage(gate)
    assert await listed(stage, (PAY, SEE)) == Listed((SEE,))
    gate.hidden = {SEE}
    assert await listed(stage, (PAY, SEE)) == Listed((PAY,))


@pytest.mark.parametrize(
    "other",
    [{"who": replace(WHO)}, {"endpoint": "team"}, {"method": "prompts/list"}],
    ids=lambda other: next(iter(other)),
)
async def test_another_caller_endpoint_or_method_is_judged_anew(other: dict[str, Any]) -> None:
    gate = Counting(PAY)
    stage = GateStage(gate)
    await listed(stage, (PAY, SEE))
    gate.hidden = {SEE}
    assert await listed(stage, (PAY, SEE), **other) == Listed((PAY,))
    assert await listed(stage, (PAY, SEE)) == Listed((SEE,)), "the first one's verdicts stand"


@pytest.mark.parametrize("new", [(SEE,), (PAY,), (), (SEE, PAY), (PAY, SEE, MANY[0]), (replace(PAY), SEE)])
async def test_a_list_that_differs_in_anything_is_judged_anew(new: tuple[Item, ...]) -> None:
    gate = Counting()
    stage = GateStage(gate)
    assert await listed(stage, (PAY, SEE)) == Listed((PAY, SEE))
    gate.hidden = {SEE}
    assert await listed(stage, new) == Listed(tuple(item for item in new if item is not SEE))


async def test_what_could_not_be_judged_is_asked_again() -> None:
    gate = Counting()
    stage = GateStage(gate)
    gate.fails = True
    assert await listed(stage, (PAY, SEE)) == Listed(())
    gate.fails = False
    assert await listed(stage, (PAY, SEE)) == Listed((PAY, SEE))


async def test_a_subscription_takes_nothing_from_what_is_remembered_of_lists() -> None:
    gate, seen = Counting(PAY), list[Call]()
    stage = GateStage(gate)

    async def below(call: Call) -> Outcome:
        seen.append(call)
        return Listed(())

    await listed(stage, (PAY, SEE), method="subscriptions/listen")
    gate.hidden = {SEE}
    await stage(a_call({}, target=Several((PAY, SEE)), method="subscriptions/listen"), below)
    assert seen[0].target == Several((PAY,))


async def test_a_list_of_which_nothing_is_hidden_is_handed_on_as_it_came() -> None:
    given = Listed((PAY, SEE))

    async def below(call: Call) -> Outcome:
        return given

    stage = GateStage(Counting())
    for _ in range(2):
        assert await stage(a_call({}, target=Listing("tool")), below) is given


async def test_verdicts_with_obligations_hide_from_the_remembered_list_too() -> None:
    class Masks(Counting):
        def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
            return Allowed((MASK,)) if item is PAY else Allowed()

    stage = GateStage(Masks())
    for _ in range(2):
        assert await listed(stage, (PAY, SEE)) == Listed((SEE,))


async def test_what_is_remembered_is_bounded_by_items_and_lists_beyond_are_right_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shown, "KEPT", 25)
    gate = Counting(MANY[3])
    stage = GateStage(gate)
    expected = Listed(tuple(item for item in MANY if item is not MANY[3]))
    callers = [replace(WHO, credential=f"key-{n}") for n in range(7)]
    for who in (*callers, *callers):
        assert await listed(stage, MANY, who=who) == expected
        assert stage.remembered <= 25
    assert gate.asked > 7 * len(MANY), "some were forgotten"
    long = MANY * 3
    for _ in range(2):
        assert await listed(stage, long) == Listed(tuple(item for item in long if item is not MANY[3]))
    assert stage.remembered == 0


async def test_a_new_list_of_one_caller_lets_go_of_the_old_ones_of_all() -> None:
    stage, other = GateStage(Counting()), replace(WHO, credential="key-2")
    await listed(stage, MANY)
    await listed(stage, MANY, who=other)
    assert stage.remembered == 20
    await listed(stage, MANY[1:])
    assert stage.remembered == 9
