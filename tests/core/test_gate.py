"""Claims about gates: a list and a call ask the same question, and a refusal tells nothing of what is hidden."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hub.core.call import ANY, AnyArguments, Denied, Done, HubOwned, Item, Json, Listed, Listing, One, Several
from hub.core.gate import GateStage
from hub.core.ports import Allowed
from tests.core.chain import MASK, PAY, SEE, Does, Find, Judge, Log, Reach, a_call, gate, hides_pay, run, small_sums


async def test_null_arguments_are_not_the_any_question() -> None:
    reach = Reach()
    outcome = await run([Find(One(PAY)), gate(small_sums)], reach, call=a_call({"name": "hr__pay", "arguments": None}))
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.told) == ("policy", "ask")
    assert not reach.seen


async def test_obligations_travel_down() -> None:
    reach = Reach()
    call = a_call({"name": "hr__pay", "arguments": {"amount": 1}})
    assert isinstance(await run([Find(One(PAY)), gate(small_sums), gate(small_sums)], reach, call=call), Done)
    assert reach.seen[0].obligations == (MASK, MASK)


async def test_a_gate_refuses_what_was_never_resolved() -> None:
    reach = Reach()
    outcome = await run([gate(hides_pay)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"
    assert not reach.seen


async def test_a_subscription_to_a_hidden_item_is_taken_out() -> None:
    reach = Reach()
    await run([Find(Several((PAY, SEE))), gate(hides_pay)], reach)
    assert reach.seen[0].target == Several((SEE,))


async def test_a_list_is_filtered() -> None:
    assert await run([Find(Listing("tool")), gate(hides_pay)], Reach()) == Listed((SEE,))


async def test_an_item_denied_for_some_arguments_is_listed() -> None:
    assert await run([Find(Listing("tool")), gate(small_sums)], Reach()) == Listed((PAY, SEE))


async def test_a_list_refused_below_stays_refused() -> None:
    async def refuses(call: Any, next: Any) -> Denied:
        return Denied("rate_limited", "too many")

    outcome = await run([Find(Listing("tool")), gate(hides_pay), Does(refuses)], Reach())
    assert isinstance(outcome, Denied)
    assert outcome.code == "rate_limited"


async def test_a_list_that_is_none_is_refused_by_the_gate_itself() -> None:
    async def below(call: Any) -> Done:
        return Done({})

    outcome = await GateStage(Judge(hides_pay))(a_call(target=Listing("tool")), below)
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"


async def test_one_item_a_gate_cannot_judge_is_hidden_alone() -> None:
    assert await run([Find(Listing("tool")), gate(raises_on_pay)], Reach()) == Listed((SEE,))


def raises_on_pay(item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
    if item is PAY:
        raise KeyError("bad annotation")
    return Allowed()


async def test_an_item_a_gate_cannot_judge_answers_as_unknown_because_no_list_shows_it() -> None:
    reach = Reach()
    outcome = await run([Find(One(PAY)), gate(raises_on_pay)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "unknown_item"
    assert not reach.seen


async def test_a_gate_that_raises_on_an_item_it_lists_refuses() -> None:
    def raises_on_arguments(item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        if arguments is ANY:
            return Allowed()
        raise KeyError("bad argument")

    reach = Reach()
    outcome = await run([Find(One(PAY)), gate(raises_on_arguments)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"
    assert not reach.seen


async def test_a_hidden_item_answers_as_unknown_whatever_the_gate_calls_it() -> None:
    log = Log()
    outcome = await run([Find(One(PAY)), gate(hides_pay)], Reach(), log)
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.told, outcome.retry_after_s, outcome.relayed) == ("unknown_item", None, None, None)
    assert outcome.reason == "role", "the log still says why"


@pytest.mark.parametrize("verdict", [None, True, "yes"])
async def test_a_gate_that_answers_nonsense_refuses(verdict: Any) -> None:
    reach = Reach()
    assert isinstance(await run([Find(One(PAY)), gate(lambda item, arguments: verdict)], reach), Denied)
    assert await run([Find(Listing("tool")), gate(lambda item, arguments: verdict)], reach) == Listed(())
    assert all(call.target == Listing("tool") for call in reach.seen)


async def test_obligations_that_a_list_cannot_discharge_hide_the_item_from_lists_and_calls_alike() -> None:
    def masks_all(item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        return Allowed((MASK,)) if item is PAY else Allowed()

    reach = Reach()
    assert await run([Find(Listing("tool")), gate(masks_all)], reach) == Listed((SEE,))
    outcome = await run([Find(One(PAY)), gate(masks_all)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "unknown_item"


async def test_what_the_hub_answers_itself_passes_every_gate() -> None:
    assert await run([Find(HubOwned()), gate(hides_pay)], Reach()) == Done({})


async def test_a_target_of_no_known_kind_is_refused() -> None:
    reach, unknown = Reach(), cast(Any, "hr__pay")
    outcome = await run([Find(unknown), gate(hides_pay)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"
    assert not reach.seen
