"""Rows of stages that are walked in one step: they answer as their steps would; what is steady is asked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Call, Denied, Done, Effect, HubOwned, Item, Listing, One, Outcome, Target
from hub.core.passage import KEPT
from hub.core.pipeline import Pipeline
from hub.core.ports import Next, Stage
from hub.identity.authenticate import LOCAL_CLIENT
from tests.core.chain import PAY, SEE, Does, Find, Log, Reach, a_call, run


class Asks:
    """Passes everything but what is about the items it hates; says whether it will always say the same."""

    def __init__(self, name: str = "asks", steady: bool = True, hates: Sequence[Item] = ()) -> None:
        self.name, self.steady, self.hates, self.asked = name, steady, hates, 0

    def passes(self, call: Call, /) -> bool:
        self.asked += 1
        return not (isinstance(call.target, One) and call.target.item in self.hates)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        hated = isinstance(call.target, One) and call.target.item in self.hates
        return Denied("policy", self.name) if hated else await next(call)


class Sends:
    """Resolves on the way down."""

    name = "sends"

    def __init__(self, onward: Any) -> None:
        self.onward, self.ran = onward, 0

    def forward(self, call: Call, /) -> Call | Denied | None:
        if isinstance(self.onward, Exception):
            raise self.onward
        return call.about(self.onward, call.record) if isinstance(self.onward, One | Listing) else self.onward

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        self.ran += 1
        return await next(call.about(One(SEE), call.record))


async def test_what_is_steady_is_asked_once_for_a_caller_and_an_item_and_the_rest_each_time() -> None:
    steady, varying, reach = Asks("steady"), Asks("varying", steady=False), Reach()
    pipeline = Pipeline([Find(One(SEE)), steady, varying], reach, Log())
    for _ in range(3):
        assert await pipeline.handle(a_call()) == Done({})
    assert (steady.asked, varying.asked, len(reach.seen)) == (1, 3, 3)


@pytest.mark.parametrize(
    "change", [{"who": LOCAL_CLIENT}, {"endpoint": "team"}, {"method": "prompts/get"}, {"who": "the same, made anew"}]
)
async def test_another_caller_endpoint_or_method_is_asked_about_anew(change: dict[str, Any]) -> None:
    call = a_call()
    if isinstance(change.get("who"), str):
        change = {"who": replace(call.who)}
    steady = Asks()
    pipeline = Pipeline([Find(One(SEE)), steady, Asks()], Reach(), Log())
    await pipeline.handle(call)
    await pipeline.handle(replace(call, **change))
    assert steady.asked == 2


async def test_an_item_that_was_replaced_is_asked_about_anew() -> None:
    find, steady = Find(One(SEE)), Asks()
    pipeline = Pipeline([find, steady, Asks()], Reach(), Log())
    await pipeline.handle(a_call())
    find.target = One(replace(SEE))
    await pipeline.handle(a_call())
    assert steady.asked == 2


async def test_a_no_is_never_remembered_as_a_yes() -> None:
    picky, reach = Asks("picky", hates=[PAY]), Reach()
    pipeline = Pipeline([Find(One(PAY)), Asks(), picky, Asks()], reach, Log())
    for _ in range(3):
        assert await pipeline.handle(a_call()) == Denied("policy", "picky", effect=Effect.NONE)
    assert reach.seen == []


async def test_what_a_passage_remembers_is_bounded() -> None:
    find, steady = Find(One(SEE)), Asks()
    pipeline = Pipeline([find, steady, Asks()], Reach(), Log())
    for _ in range(KEPT + 1):
        find.target = One(replace(SEE))
        await pipeline.handle(a_call())
    row: Any = pipeline._run.__self__._below.__self__  # type: ignore[attr-defined]
    assert len(row._known) <= KEPT


@pytest.mark.parametrize("target", [Listing("tool"), HubOwned()])
async def test_what_is_about_no_single_item_is_asked_about_each_time(target: Target) -> None:
    steady = Asks()
    pipeline = Pipeline([Find(target), steady, Asks()], Reach(), Log())
    for _ in range(2):
        await pipeline.handle(a_call())
    assert steady.asked == 2


@given(
    rows=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6),
    item=st.sampled_from([PAY, SEE]),
    times=st.integers(1, 3),
)
async def test_a_row_answers_like_its_stages_run_one_by_one(
    rows: list[tuple[bool, bool, bool]], item: Item, times: int
) -> None:
    def stages() -> list[Stage]:
        return [
            Asks(f"s{n}", steady, [PAY] * hates_pay + [SEE] * hates_see)
            for n, (steady, hates_pay, hates_see) in enumerate(rows)
        ]

    def plain(stage: Stage) -> Stage:
        return Does(stage.__call__, stage.name)

    fast, slow = Reach(), Reach()
    quick = Pipeline([Find(One(item)), *stages()], fast, Log())
    careful = Pipeline([Find(One(item)), *(plain(stage) for stage in stages())], slow, Log())
    for _ in range(times):
        assert await quick.handle(a_call()) == await careful.handle(a_call())
    assert len(fast.seen) == len(slow.seen)


async def test_a_stage_that_forwards_is_not_run_and_what_it_forwards_goes_on() -> None:
    sends, reach, log = Sends(One(PAY)), Reach(), Log()
    assert await run([sends], reach, log) == Done({})
    assert (sends.ran, [call.target for call in reach.seen]) == (0, [One(PAY)])
    assert [name for name, _, _, _ in log.records[0].verdicts] == ["dispatch"]


async def test_a_stage_that_denies_on_the_way_down_stands_in_the_record() -> None:
    reach, log = Reach(), Log()
    outcome = await run([Sends(Denied("rate_limited", "slow"))], reach, log)
    assert outcome == Denied("rate_limited", "slow", effect=Effect.NONE)
    assert [name for name, _, _, _ in log.records[0].verdicts] == ["sends"]
    assert reach.seen == []


@pytest.mark.parametrize("onward", [None, KeyError("x")])
async def test_a_stage_that_cannot_forward_is_run_by_its_own_step(onward: Any) -> None:
    sends, reach = Sends(onward), Reach()
    assert await run([sends], reach) == Done({})
    assert sends.ran == 1
    assert [call.target for call in reach.seen] == [One(SEE)]


@pytest.mark.parametrize("field", ["id", "who", "endpoint", "method"])
async def test_what_a_stage_forwards_may_only_be_narrower(field: str) -> None:
    class Widens(Sends):
        def forward(self, call: Call, /) -> Call | Denied | None:
            given: Any = LOCAL_CLIENT if field == "who" else "other"
            return replace(call, target=One(SEE), **{field: given})

    reach = Reach()
    outcome = await run([Widens(None)], reach)
    assert outcome == Denied("internal", "sends: RuntimeError", effect=Effect.NONE)
    assert reach.seen == []


async def test_a_stage_that_has_to_be_run_goes_on_with_those_behind_it() -> None:
    class Hands(Sends):
        async def __call__(self, call: Call, next: Next, /) -> Outcome:
            self.ran += 1
            return await next(call)

    hands, reach = Hands(None), Reach()
    assert await run([Sends(One(SEE)), hands, Hands(None)], reach) == Done({})
    assert (hands.ran, [call.target for call in reach.seen]) == (1, [One(SEE)])
