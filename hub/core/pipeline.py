"""One call, from a verified caller to a judged answer. Knows no socket, no store and no SDK.

The chain is bound once: each step knows its stage and the step below it, and what belongs to one call is in its
`Record`, which the call carries. Steps enforce three rules at every `next`: once only, only narrower, never late.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final, cast

import anyio

from hub.core.alarms import Alarms
from hub.core.call import (
    Asked,
    Call,
    Denied,
    Done,
    Effect,
    Listed,
    Listing,
    Outcome,
    Several,
    Target,
    Unresolved,
)
from hub.core.passage import Forwards, Passage
from hub.core.ports import Auditor, Forwarding, Next, Passing, Stage
from hub.core.watch import Watch

log = logging.getLogger(__name__)

_ANSWERS: Final = (Done, Asked)
_RESOLVED: Final = (Done, Asked, Listed)
_LATE: Final = "next after the call was answered"
_DENIED_CANCELLED = Denied("cancelled", "the caller went away")


@dataclass(slots=True, eq=False)
class Record:
    """What the log will say of one call. Stages never touch it."""

    call: Call  # as the innermost stage that ran saw it; once answered, as it came in
    started: float = 0.0  # monotonic seconds
    effect: Effect = Effect.NONE
    verdicts: list[tuple[str, Outcome, float, float]] = field(
        default_factory=list
    )  # (stage, verdict, seconds, when it began), innermost first; of those that did not just pass
    position: int = 0  # how many steps have been entered
    closed: bool = False  # answered: whoever kept `next` is refused
    fitting: Outcome | None = None  # the last answer that was looked at: stages mostly hand on what they got
    watch: Watch | None = None  # the time of the call, while it runs


class Pipeline:
    def __init__(self, stages: Sequence[Stage], dispatch: Stage, audit: Auditor, audit_s: float = 5.0) -> None:
        """`stages` outermost first; `dispatch` is the only part that reaches a downstream."""
        self.names = (*(s.name for s in stages), dispatch.name)
        self._audit, self._audit_s, self._alarms = audit, audit_s, Alarms()
        self._run = _bound(stages, dispatch, audit)

    async def handle(self, call: Call) -> Outcome:
        """Judge, dispatch, log. The answer is logged before it is returned; raises nothing but cancellation."""
        record = Record(call, monotonic())
        record.watch = watch = Watch(self._alarms, call.deadline, self._audit_s)
        record.call = carried = call.about(call.target, record)
        try:
            try:
                outcome = await self._run(carried)
            except CancelledError:
                record.closed = True
                if not watch.caught():
                    await self._abandon(record, watch)
                    raise
                outcome = Denied("deadline", "the call's time was over")
            record.closed = True
            return await self._close(record, watch, outcome)
        finally:
            watch.stop()
            record.call, record.watch = call, None  # call and record held one another: no work for the collector

    async def _close(self, record: Record, watch: Watch, outcome: Outcome) -> Outcome:
        """An answer that cannot be logged is not given."""
        if isinstance(outcome, Denied) and outcome.effect is not record.effect:
            outcome = replace(outcome, effect=record.effect)
        watch.renew()
        try:
            await self._audit.finish(record, outcome)
        except CancelledError:
            if not watch.caught():
                raise
            log.error("the log did not take the entry of call %s in time", record.call.id)
            return Denied("audit_unavailable", "TimeoutError", effect=record.effect)
        except Exception as exc:
            log.exception("audit entry of call %s was not written", record.call.id)
            return Denied("audit_unavailable", type(exc).__name__, effect=record.effect)
        return outcome

    async def _abandon(self, record: Record, watch: Watch) -> None:
        """Nobody waits for the answer any more; the call is logged all the same."""
        with anyio.CancelScope(shield=True):
            await self._close(record, watch, _DENIED_CANCELLED)


def _bound(stages: Sequence[Stage], dispatch: Stage, audit: Auditor) -> Next:
    """The chain, from the innermost step outwards; before a row of stages that need not be run, one step for all."""
    depth = len(stages)
    below: Next = _Reach(depth, dispatch, audit).run
    after, steps, kind = below, list[Next](), None
    for index in range(depth - 1, -1, -1):
        stage = stages[index]
        if (own := _kind(stage)) is not kind:
            after, steps, kind = below, [], own
        step = below = _Step(index, stage, below).run
        steps.insert(0, step)
        if kind is not None and (index == 0 or _kind(stages[index - 1]) is not kind):
            below = _row(index, stages[index : index + len(steps)], steps, after)
    return below


def _kind(stage: Stage) -> type | None:
    return Passage if isinstance(stage, Passing) else Forwards if isinstance(stage, Forwarding) else None


def _row(index: int, stages: Sequence[Stage], steps: Sequence[Next], after: Next) -> Next:
    pairs = list(zip(stages, steps, strict=True))
    if isinstance(stages[0], Passing):
        passing = [(stage, stage.passes, step) for stage, step in pairs if isinstance(stage, Passing)]
        return Passage(index, passing, after, _enter_row).run
    forwarding = [(stage.name, stage.forward, step) for stage, step in pairs if isinstance(stage, Forwarding)]
    return Forwards(index, forwarding, after, _enter_row).run


def _enter_row(call: Call, index: int) -> Record:
    record = _enter(call, index)
    record.position = index  # the steps count themselves
    return record


class _Step:
    """One stage in its place: times it, notes its verdict, turns its bugs into denials."""

    __slots__ = ("_below", "_index", "_name", "_passes", "_stage")

    def __init__(self, index: int, stage: Stage, below: Next) -> None:
        self._index, self._stage, self._name, self._below = index, stage, stage.name, below
        self._passes = stage.passes if isinstance(stage, Passing) else None

    def run(self, call: Call) -> Awaitable[Outcome]:
        record = call.record
        if record is None or record.call is not call or record.position != self._index or record.closed:
            record = _enter(call, self._index)
        else:  # the same, for the call that comes as it went: 16 calls of a function less
            record.position += 1
        if self._passes is not None:
            try:
                passed = self._passes(call)
            except Exception:  # it raises again where that is noted
                passed = False
            if passed:
                return self._below(call)
        return self._judged(call, record)

    async def _judged(self, call: Call, record: Record) -> Outcome:
        if record.closed:
            raise RuntimeError(_LATE)
        entered = monotonic()
        try:
            outcome = await self._stage(call, self._below)
            if outcome is not record.fitting:
                _check(record, call.target, outcome)
        except Exception as exc:  # fail closed: a broken rule refuses, it never passes
            log.exception("stage %s raised", self._name)
            outcome = Denied("internal", f"{self._name}: {type(exc).__name__}", effect=record.effect)
        record.verdicts.append((self._name, outcome, monotonic() - entered, entered))
        return outcome


class _Reach:
    """The last step: intent, effect, and the one line that reaches a downstream."""

    __slots__ = ("_audit", "_dispatch", "_index")

    def __init__(self, index: int, dispatch: Stage, audit: Auditor) -> None:
        self._index, self._dispatch, self._audit = index, dispatch, audit

    async def run(self, call: Call) -> Outcome:
        record = _enter(call, self._index)
        target = call.target
        if isinstance(target, Unresolved) or (isinstance(target, Several) and not target.items):
            return Denied("unknown_item", "nothing that may be reached")
        if call.writes and (failed := await self._intend(record)) is not None:
            return failed
        if record.closed:
            return Denied("internal", _LATE)
        record.effect = Effect.UNKNOWN
        entered = monotonic()
        try:
            outcome = await self._dispatch(call, _end)
            _check(record, target, outcome)
        except Exception as exc:
            log.exception("dispatch raised")
            outcome = Denied("internal", f"dispatch: {type(exc).__name__}")
        if isinstance(outcome, Denied):
            record.effect = outcome.effect or Effect.UNKNOWN  # dispatch must say NONE to mean it
        elif not isinstance(outcome, Asked):  # a question leaves it open
            record.effect = Effect.DONE
        record.verdicts.append((self._dispatch.name, outcome, monotonic() - entered, entered))
        return outcome

    async def _intend(self, record: Record) -> Denied | None:
        """Durable before anything leaves the hub; what cannot be noted is not done."""
        watch = cast(Watch, record.watch)
        end = watch.end
        watch.shorten()
        try:
            await self._audit.intent(record)
        except CancelledError:
            if not watch.caught():
                raise
            log.error("the log did not take the intent of call %s in time", record.call.id)
            return Denied("audit_unavailable", "TimeoutError")
        except Exception as exc:
            log.exception("intent of call %s was not written", record.call.id)
            return Denied("audit_unavailable", type(exc).__name__)
        watch.end = end
        return None


def _enter(call: Call, index: int) -> Record:
    """The record of this call, one step further. Raises into the stage that called `next` wrongly."""
    record = call.record
    if record is None:
        raise RuntimeError("a call enters through Pipeline.handle")
    if record.closed:
        raise RuntimeError(_LATE)
    if record.position != index:
        raise RuntimeError("a stage may call next once")
    given = record.call
    if call is not given and not narrows(given, call):
        raise RuntimeError("a stage may only subtract")
    record.position, record.call = index + 1, call
    return record


def _check(record: Record, target: Target, outcome: Outcome) -> None:
    if not fits(target, outcome):
        raise TypeError(f"answered {type(outcome).__name__}")
    record.fitting = outcome


def narrows(given: Call, inner: Call) -> bool:
    """Identity stands, obligations only grow; item and params are set once, by Resolve; a route is set once."""
    if inner.id != given.id or inner.who is not given.who or inner.endpoint != given.endpoint:
        return False
    if inner.method != given.method or inner.deadline > given.deadline or inner.record is not given.record:
        return False
    if inner.obligations[: len(given.obligations)] != given.obligations:
        return False
    if given.route is not None and inner.route is not given.route:
        return False
    if isinstance(given.target, Unresolved):
        return True
    if inner.params is not given.params:
        return False
    if isinstance(given.target, Several) and isinstance(inner.target, Several):
        return set(inner.target.items) <= set(given.target.items)
    return inner.target is given.target


def fits(target: Target, outcome: object) -> bool:
    """A list is answered with a list, and nothing else is."""
    if isinstance(outcome, Denied):
        return True
    if isinstance(target, Unresolved):  # above Resolve: what came back has been checked below
        return isinstance(outcome, _RESOLVED)
    return isinstance(outcome, Listed) if isinstance(target, Listing) else isinstance(outcome, _ANSWERS)


async def _end(call: Call) -> Outcome:
    return Denied("internal", "dispatch asked for a next stage")
