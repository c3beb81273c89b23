"""Claims about the chain: what it enforces whatever a stage does. Own choice, as docs of the pipeline tell."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest

from hub.core.call import (
    ANY,
    UNRESOLVED,
    Asked,
    Call,
    Client,
    Denied,
    Done,
    Effect,
    HubOwned,
    Json,
    Listed,
    Listing,
    One,
    Outcome,
    Principal,
    Route,
    Several,
)
from hub.core.pipeline import Pipeline, Record, fits
from hub.core.ports import Allowed, Next, Stage
from tests.core.chain import MASK, PAY, SEE, Does, Find, Hang, Log, Reach, a_call, gate, hides_pay, run, small_sums


async def passes(call: Call, next: Next) -> Outcome:
    return await next(call)


async def test_a_bug_after_the_effect_says_done() -> None:
    async def boom(call: Call, next: Next) -> Outcome:
        await next(call)
        raise ValueError("x")

    outcome = await run([Find(One(PAY)), Does(boom)], Reach())
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("internal", Effect.DONE)
    assert "x" not in outcome.reason.removeprefix("does: ValueError")


async def test_a_bug_before_the_effect_says_none() -> None:
    async def boom(call: Call, next: Next) -> Outcome:
        raise ValueError("x")

    reach = Reach()
    outcome = await run([Find(One(PAY)), Does(boom)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.effect is Effect.NONE
    assert not reach.seen


async def test_a_bug_in_dispatch_leaves_the_effect_unknown() -> None:
    outcome = await run([Find(One(PAY))], Reach(ValueError()))
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("internal", Effect.UNKNOWN)


async def test_the_log_names_the_item_and_has_the_intent_first() -> None:
    log = Log()
    await run([Find(One(PAY))], Reach(), log)
    assert [(kind, target) for kind, target, _ in log.entries] == [("intent", One(PAY)), ("finish", One(PAY))]


@pytest.mark.parametrize("method", ["tools/call"])
async def test_an_item_that_only_reads_has_no_intent(method: str) -> None:
    log = Log()
    await run([Find(One(SEE))], Reach(), log, a_call(method=method))
    assert log.kinds == ["finish"]


@pytest.mark.parametrize("method", ["tasks/get", "prompts/get", "resources/read", "completion/complete"])
async def test_a_method_that_only_reads_has_no_intent(method: str) -> None:
    log = Log()
    await run([Find(One(PAY))], Reach(), log, a_call(method=method))
    assert log.kinds == ["finish"]


async def test_a_second_next_is_refused_and_the_effect_told() -> None:
    async def twice(call: Call, next: Next) -> Outcome:
        await next(call)
        return await next(call)

    reach = Reach()
    outcome = await run([Find(One(PAY)), Does(twice)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.effect is Effect.DONE
    assert len(reach.seen) == 1


async def test_a_stage_that_swallows_the_refusal_of_a_second_next_sends_nothing_twice() -> None:
    async def stubborn(call: Call, next: Next) -> Outcome:
        first = await next(call)
        with pytest.raises(RuntimeError):
            await next(call)
        return first

    reach = Reach()
    assert isinstance(await run([Find(One(PAY)), Does(stubborn)], reach), Done)
    assert len(reach.seen) == 1


async def test_an_answer_that_cannot_be_logged_is_not_given() -> None:
    class Full(Log):
        async def finish(self, record: Record, outcome: Outcome) -> None:
            raise OSError("disk full at /secret/path")

    outcome = await run([Find(One(PAY))], Reach(), Full())
    assert outcome == Denied("audit_unavailable", "OSError", effect=Effect.DONE)


async def test_an_answer_that_is_not_logged_in_time_is_not_given() -> None:
    class Stuck(Log):
        async def finish(self, record: Record, outcome: Outcome) -> None:
            await asyncio.Event().wait()

    outcome = await run([Find(One(SEE))], Reach(), Stuck(), audit_s=0.02)
    assert outcome == Denied("audit_unavailable", "TimeoutError", effect=Effect.DONE)


async def test_a_call_cancelled_by_a_scope_is_logged_with_its_effect() -> None:
    log, hang = Log(), Hang()
    async with anyio.create_task_group() as group:
        group.start_soon(Pipeline([Find(One(PAY))], hang, log).handle, a_call())
        await hang.entered.wait()
        group.cancel_scope.cancel()
    assert hang.cancelled
    assert log.kinds == ["intent", "finish"]
    assert log.entries[-1][2] == Denied("cancelled", "the caller went away", effect=Effect.UNKNOWN)


async def test_a_call_cancelled_by_its_task_is_logged_and_stays_cancelled() -> None:
    log, hang = Log(), Hang()
    task = asyncio.create_task(Pipeline([Find(One(PAY))], hang, log).handle(a_call()))
    await hang.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.kinds == ["intent", "finish"]


async def test_a_cancelled_call_waits_for_its_entry_under_a_cancelled_scope() -> None:
    class Slow(Log):
        async def finish(self, record: Record, outcome: Outcome) -> None:
            await asyncio.sleep(0)
            await super().finish(record, outcome)

    log, hang = Slow(), Hang()
    async with anyio.create_task_group() as group:
        group.start_soon(Pipeline([Find(One(PAY))], hang, log).handle, a_call())
        await hang.entered.wait()
        group.cancel_scope.cancel()
    assert log.kinds == ["intent", "finish"]


async def test_a_caller_who_goes_while_the_log_writes_loses_the_wait_alone() -> None:
    class Writing(Log):
        def __init__(self) -> None:
            super().__init__()
            self.queued = asyncio.Event()

        async def finish(self, record: Record, outcome: Outcome) -> None:
            await super().finish(record, outcome)
            self.queued.set()
            await asyncio.Event().wait()

    log = Writing()
    task = asyncio.create_task(Pipeline([Find(One(SEE))], Reach(), log).handle(a_call()))
    await log.queued.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.entries == [("finish", One(SEE), Done({}))]


async def test_a_caller_who_goes_during_the_intent_sends_nothing() -> None:
    class Writing(Log):
        entered = asyncio.Event()

        async def intent(self, record: Record) -> None:
            self.entered.set()
            await asyncio.Event().wait()

    log, reach = Writing(), Reach()
    task = asyncio.create_task(Pipeline([Find(One(PAY))], reach, log).handle(a_call()))
    await log.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not reach.seen
    assert log.entries[-1][2] == Denied("cancelled", "the caller went away", effect=Effect.NONE)


@pytest.mark.parametrize("stages", [[], [Does(passes)]])
async def test_a_pipeline_without_resolve_reaches_nothing(stages: list[Stage]) -> None:
    reach = Reach()
    outcome = await run(stages, reach)
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("unknown_item", Effect.NONE)
    assert not reach.seen


@pytest.mark.parametrize(
    "change",
    [
        {"who": Principal("local", "key:root", "key-2", frozenset({"mcp", "admin"}))},
        {"id": "another"},
        {"endpoint": "hr"},
        {"method": "prompts/get"},
        {"deadline": 20.0},
        {"record": Record(a_call())},
        {"target": One(PAY)},
        {"target": HubOwned()},
        {"target": UNRESOLVED},
        {"params": {"name": "hr__pay", "arguments": {}}},
        {"obligations": ()},
        {"route": Route("elsewhere", "a second opinion")},
        {"route": None},
    ],
    ids=lambda change: "-".join(change),
)
async def test_a_stage_may_only_subtract(change: dict[str, Any]) -> None:
    async def routes(call: Call, next: Next) -> Outcome:
        return await next(replace(call, route=Route("hr2", "canary")))

    async def widens(call: Call, next: Next) -> Outcome:
        return await next(replace(call, **change))

    reach = Reach()
    call = a_call({"name": "hr__see", "arguments": {"amount": 1}}, deadline=10.0 + asyncio.get_running_loop().time())
    if "deadline" in change:
        change = {"deadline": call.deadline + 1}
    outcome = await run([Find(One(SEE)), gate(small_sums), Does(routes), Does(widens)], reach, call=call)
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("internal", Effect.NONE)
    assert not reach.seen


async def test_a_stage_may_narrow_deadline_client_facts_and_obligations() -> None:
    async def narrows(call: Call, next: Next) -> Outcome:
        inner = replace(
            call,
            deadline=1e12,
            client=Client("legacy", "2025-11-25"),
            facts={"country": "DE"},
            obligations=(*call.obligations, MASK),
        )
        return await next(inner)

    reach = Reach()
    assert isinstance(await run([Find(One(PAY)), Does(narrows)], reach), Done)
    assert reach.seen[0].facts == {"country": "DE"}
    assert reach.seen[0].obligations == (MASK,)


async def test_a_subscription_may_shrink_and_never_grow() -> None:
    async def grows(call: Call, next: Next) -> Outcome:
        return await next(replace(call, target=Several((SEE, PAY))))

    reach = Reach()
    outcome = await run([Find(Several((SEE,))), Does(grows)], reach)
    assert isinstance(outcome, Denied)
    assert not reach.seen
    assert isinstance(await run([Find(Several((SEE, PAY))), gate(hides_pay)], reach), Done)
    assert reach.seen[0].target == Several((SEE,))


async def test_resolve_may_unwrap_the_call() -> None:
    class Unwrap:
        name = "resolve"

        async def __call__(self, call: Call, next: Next, /) -> Outcome:
            return await next(replace(call, target=One(SEE), params={"name": "hr__see", "arguments": {"a": 1}}))

    reach = Reach()
    await run([Unwrap()], reach, call=a_call({"name": "call_tool", "arguments": {"name": "hr__see"}}))
    assert reach.seen[0].arguments == {"a": 1}


async def test_next_kept_for_later_reaches_nothing() -> None:
    kept: list[tuple[Next, Call]] = []

    async def keeps(call: Call, next: Next) -> Outcome:
        kept.append((next, call))
        return Denied("approval_pending", "later")

    reach = Reach()
    outcome = await run([Find(One(PAY)), Does(keeps)], reach)
    assert outcome == Denied("approval_pending", "later", effect=Effect.NONE)
    next, call = kept[0]
    with pytest.raises(RuntimeError, match="answered"):
        await next(call)
    assert not reach.seen


async def test_a_next_still_writing_its_intent_when_the_call_is_answered_sends_nothing() -> None:
    class Writing(Log):
        def __init__(self) -> None:
            super().__init__()
            self.entered, self.written = asyncio.Event(), asyncio.Event()

        async def intent(self, record: Record) -> None:
            self.entered.set()
            await self.written.wait()

    log, reach, left = Writing(), Reach(), []

    async def leaves(call: Call, next: Next) -> Outcome:
        left.append(asyncio.ensure_future(next(call)))
        await log.entered.wait()
        return Denied("policy", "answered without waiting")

    await run([Find(One(PAY)), Does(leaves)], reach, log)
    log.written.set()
    late = await left[0]
    assert isinstance(late, Denied)
    assert late.code == "internal"
    assert not reach.seen


async def test_a_call_that_did_not_enter_by_the_front_reaches_nothing() -> None:
    reach = Reach()
    inner: list[Next] = []

    async def shows(call: Call, next: Next) -> Outcome:
        inner.append(next)
        return await next(call)

    await run([Find(One(PAY)), Does(shows)], reach)
    with pytest.raises(RuntimeError, match="handle"):
        await inner[0](a_call(target=One(PAY)))
    assert len(reach.seen) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, Effect.UNKNOWN),
        (Effect.NONE, Effect.NONE),
        (Effect.UNKNOWN, Effect.UNKNOWN),
        (Effect.DONE, Effect.DONE),
    ],
)
async def test_a_denial_of_dispatch_is_unknown_unless_it_says_otherwise(said: Effect | None, meant: Effect) -> None:
    outcome = await run([Find(One(PAY))], Reach(Denied("downstream_late", "late", effect=said)))
    assert isinstance(outcome, Denied)
    assert outcome.effect is meant


async def test_no_other_stage_can_say_what_the_effect_was() -> None:
    async def lies(call: Call, next: Next) -> Outcome:
        await next(call)
        return Denied("policy", "nothing happened", effect=Effect.NONE)

    outcome = await run([Find(One(PAY)), Does(lies)], Reach())
    assert isinstance(outcome, Denied)
    assert outcome.effect is Effect.DONE


async def test_a_question_denied_above_leaves_the_effect_open() -> None:
    async def blocks(call: Call, next: Next) -> Outcome:
        await next(call)
        return Denied("screened", "the question is blocked")

    outcome = await run([Find(One(PAY)), Does(blocks)], Reach(Asked({}, "s")))
    assert isinstance(outcome, Denied)
    assert outcome.effect is Effect.UNKNOWN


async def test_an_intent_that_fails_sends_nothing() -> None:
    class Broken(Log):
        async def intent(self, record: Record) -> None:
            raise OSError("disk full")

    reach = Reach()
    outcome = await run([Find(One(PAY))], reach, Broken())
    assert outcome == Denied("audit_unavailable", "OSError", effect=Effect.NONE)
    assert not reach.seen


async def test_an_intent_that_hangs_sends_nothing() -> None:
    class Hanging(Log):
        async def intent(self, record: Record) -> None:
            await asyncio.Event().wait()

    reach = Reach()
    outcome = await run([Find(One(PAY))], reach, Hanging(), audit_s=0.02)
    assert outcome == Denied("audit_unavailable", "TimeoutError", effect=Effect.NONE)
    assert not reach.seen


async def test_a_call_may_take_longer_than_its_intent_may() -> None:
    class Patient:
        name = "dispatch"

        async def __call__(self, call: Call, next: Next, /) -> Outcome:
            await asyncio.sleep(0.06)
            return Done({"late": True})

    assert await run([Find(One(PAY))], Patient(), audit_s=0.02) == Done({"late": True})


@pytest.mark.parametrize("answer", [{}, Listed((PAY,)), "words"])
async def test_an_answer_of_the_wrong_shape_is_denied(answer: Any) -> None:
    outcome = await run([Find(One(PAY))], Reach(answer))
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("internal", Effect.UNKNOWN)


@pytest.mark.parametrize("answer", [None, Done({}), Listed(())])
async def test_a_stage_that_swaps_the_answer_for_another_shape_is_denied(answer: Any) -> None:
    async def swaps(call: Call, next: Next) -> Outcome:
        await next(call)
        return answer  # type: ignore[no-any-return]

    target = One(SEE) if isinstance(answer, Listed) else Listing("tool")
    outcome = await run([Find(target), Does(swaps)], Reach())
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"


@pytest.mark.parametrize("answer", [None, {}])
async def test_above_resolve_an_answer_is_still_an_answer(answer: Any) -> None:
    async def swaps(call: Call, next: Next) -> Outcome:
        await next(call)
        return answer  # type: ignore[no-any-return]

    assert isinstance(await run([Does(swaps), Find(One(SEE))], Reach()), Denied)


def test_what_fits_where() -> None:
    answers = (Done({}), Asked({}, None), Listed(()), Denied("policy", ""))
    assert [fits(UNRESOLVED, answer) for answer in answers] == [True, True, True, True]
    assert [fits(Listing("tool"), answer) for answer in answers] == [False, False, True, True]
    assert [fits(One(SEE), answer) for answer in answers] == [True, True, False, True]
    assert not fits(UNRESOLVED, None)


async def test_a_subscription_of_nothing_reaches_nothing() -> None:
    reach = Reach()
    outcome = await run([Find(Several((PAY,))), gate(hides_pay)], reach)
    assert isinstance(outcome, Denied)
    assert outcome.code == "unknown_item"
    assert not reach.seen


async def test_dispatch_is_the_last_step() -> None:
    class Goes:
        name = "dispatch"

        async def __call__(self, call: Call, next: Next, /) -> Outcome:
            return await next(call)

    outcome = await run([Find(One(SEE))], Goes())
    assert isinstance(outcome, Denied)
    assert outcome.code == "internal"


async def test_the_deadline_ends_the_call() -> None:
    log, hang = Log(), Hang()
    outcome = await run(
        [Find(One(PAY))], hang, log, a_call(deadline=asyncio.get_running_loop().time() + 0.03), audit_s=1.0
    )
    assert isinstance(outcome, Denied)
    assert (outcome.code, outcome.effect) == ("deadline", Effect.UNKNOWN)
    assert hang.cancelled
    assert log.kinds == ["intent", "finish"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_further_off_than_the_log_may_take_is_kept_exactly() -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.09
    outcome = await run([Find(One(SEE))], Hang(), call=a_call(deadline=end), audit_s=0.02)
    assert isinstance(outcome, Denied)
    assert outcome.code == "deadline"
    assert end - 0.005 <= loop.time() < end + 1.0


async def test_a_deadline_met_by_a_stage_that_swallows_it_leaves_no_trace_on_the_task() -> None:
    async def swallows(call: Call, next: Next) -> Outcome:
        try:
            return await next(call)
        except asyncio.CancelledError:
            return Denied("downstream_late", "swallowed")

    call = a_call(deadline=asyncio.get_running_loop().time() + 0.02)
    outcome = await run([Find(One(SEE)), Does(swallows)], Hang(), call=call)
    assert isinstance(outcome, Denied)
    assert outcome.code == "downstream_late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_caller_who_goes_at_the_deadline_is_gone() -> None:
    """Both cancellations are under way at once: the caller's wins, because nobody reads the answer."""
    log, hang = Log(), Hang()

    async def clings(call: Call, next: Next) -> Outcome:
        try:
            return await next(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()
            raise

    call = a_call(deadline=asyncio.get_running_loop().time() + 0.02)
    task = asyncio.create_task(Pipeline([Find(One(SEE)), Does(clings)], hang, log).handle(call))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.entries[-1][2] == Denied("cancelled", "the caller went away", effect=Effect.UNKNOWN)


async def test_the_record_tells_every_stage_that_was_run_and_its_time_innermost_first() -> None:
    log = Log()
    await run([Does(passes, "outer"), Find(One(SEE)), gate(hides_pay), Does(passes, "inner")], Reach(), log)
    verdicts = log.records[0].verdicts
    assert [name for name, _, _, _ in verdicts] == ["dispatch", "inner", "resolve", "outer"]
    seconds, began = [s for _, _, s, _ in verdicts], [at for _, _, _, at in verdicts]
    assert (seconds, began) == (sorted(seconds), sorted(began, reverse=True))


async def test_the_callers_call_is_not_touched() -> None:
    call = a_call()
    await run([Find(One(SEE))], Reach(), call=call)
    assert call.record is None
    assert call.target is UNRESOLVED


async def test_one_call_may_be_handled_twice_at_once() -> None:
    pipeline, call = Pipeline([Find(One(SEE))], Reach(), Log()), a_call()
    first, second = await asyncio.gather(pipeline.handle(call), pipeline.handle(call))
    assert first == second == Done({})


def test_the_names_of_the_chain_are_told_outermost_first() -> None:
    assert Pipeline([Find(One(SEE)), gate(small_sums)], Reach(), Log()).names == ("resolve", "judge", "dispatch")


@pytest.mark.parametrize("given", [None, [], "x", 3])
def test_arguments_are_always_an_object(given: Any) -> None:
    params: Json = {"arguments": given}
    assert a_call(params).arguments == {}
    assert a_call({}).arguments == {}


def test_any_is_not_an_object_of_arguments() -> None:
    assert ANY is not None
    assert isinstance(small_sums(PAY, ANY), Allowed)
