"""One call, from a verified caller to a judged answer. Knows no socket, no store and no SDK.

The chain is bound once: each step knows its stage and the step below it, and what belongs to one call is in its
`Record`, which the call carries. Steps enforce three rules at every `next`: once only, only narrower, never late.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import anyio

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
from hub.core.ports import Auditor, Stage

log = logging.getLogger(__name__)

_DENIED_CANCELLED = Denied("cancelled", "the caller went away")


@dataclass(slots=True, eq=False)
class Record:
    """What the log will say of one call. Stages never touch it."""

    call: Call  # the call as the innermost stage that ran saw it
    started: float = 0.0  # monotonic seconds
    effect: Effect = Effect.NONE
    verdicts: list[tuple[str, Outcome, float]] = field(
        default_factory=list
    )  # (stage, verdict, seconds), innermost first
    position: int = 0  # how many steps have been entered
    closed: bool = False  # answered: whoever kept `next` is refused


class Pipeline:
    def __init__(self, stages: Sequence[Stage], dispatch: Stage, audit: Auditor, audit_s: float = 5.0) -> None:
        """`stages` outermost first; `dispatch` is the only part that reaches a downstream."""
        self.names = (*(s.name for s in stages), dispatch.name)
        self._audit, self._audit_s = audit, audit_s
        depth = len(stages)
        below = _Reach(depth, dispatch, audit, audit_s).run
        for index in range(depth - 1, -1, -1):
            below = _Step(index, stages[index], below).run
        self._run = below

    async def handle(self, call: Call) -> Outcome:
        """Judge, dispatch, log. The answer is logged before it is returned; raises nothing but cancellation."""
        record = Record(call, monotonic())
        call = replace(call, record=record)
        record.call = call
        outcome: Outcome = _DENIED_CANCELLED
        try:
            with anyio.CancelScope(deadline=call.deadline) as scope:
                outcome = await self._run(call)
            if scope.cancelled_caught:
                outcome = Denied("deadline", "the call's time was over")
        finally:
            record.closed = True
            outcome = await self._close(record, outcome)
        return outcome

    async def _close(self, record: Record, outcome: Outcome) -> Outcome:
        """An answer that cannot be logged is not given; a cancelled call is logged all the same."""
        if isinstance(outcome, Denied) and outcome.effect is not record.effect:
            outcome = replace(outcome, effect=record.effect)
        try:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._audit_s) as scope:
                await self._audit.finish(record, outcome)
            if scope.cancelled_caught:
                raise TimeoutError("the log did not take the entry in time")
        except Exception as exc:
            log.exception("audit entry of call %s was not written", record.call.id)
            return Denied("audit_unavailable", type(exc).__name__, effect=record.effect)
        return outcome


class _Step:
    """One stage in its place: times it, notes its verdict, turns its bugs into denials."""

    __slots__ = ("_below", "_index", "_name", "_stage")

    def __init__(self, index: int, stage: Stage, below: Callable[[Call], Awaitable[Outcome]]) -> None:
        self._index, self._stage, self._name, self._below = index, stage, stage.name, below

    async def run(self, call: Call) -> Outcome:
        record = _enter(call, self._index)
        entered = monotonic()
        try:
            outcome = await self._stage(call, self._below)
            if not fits(call.target, outcome):
                raise TypeError(f"answered {type(outcome).__name__}")
        except Exception as exc:  # fail closed: a broken rule refuses, it never passes
            log.exception("stage %s raised", self._name)
            outcome = Denied("internal", f"{self._name}: {type(exc).__name__}", effect=record.effect)
        record.verdicts.append((self._name, outcome, monotonic() - entered))
        return outcome


class _Reach:
    """The last step: intent, effect, and the one line that reaches a downstream."""

    __slots__ = ("_audit", "_audit_s", "_dispatch", "_index")

    def __init__(self, index: int, dispatch: Stage, audit: Auditor, audit_s: float) -> None:
        self._index, self._dispatch, self._audit, self._audit_s = index, dispatch, audit, audit_s

    async def run(self, call: Call) -> Outcome:
        record = _enter(call, self._index)
        target = call.target
        if isinstance(target, Unresolved) or (isinstance(target, Several) and not target.items):
            return Denied("unknown_item", "nothing that may be reached")
        if call.writes and (failed := await self._intend(record)) is not None:
            return failed
        if record.closed:
            return Denied("internal", "next after the call was answered")
        record.effect = Effect.UNKNOWN
        entered = monotonic()
        try:
            outcome = await self._dispatch(call, _end)
            if not fits(target, outcome):
                raise TypeError(f"answered {type(outcome).__name__}")
        except Exception as exc:
            log.exception("dispatch raised")
            outcome = Denied("internal", f"dispatch: {type(exc).__name__}")
        if isinstance(outcome, Denied):
            record.effect = outcome.effect or Effect.UNKNOWN  # dispatch must say NONE to mean it
        elif not isinstance(outcome, Asked):  # a question leaves it open
            record.effect = Effect.DONE
        record.verdicts.append((self._dispatch.name, outcome, monotonic() - entered))
        return outcome

    async def _intend(self, record: Record) -> Denied | None:
        """Durable before anything leaves the hub; what cannot be noted is not done."""
        try:
            with anyio.fail_after(self._audit_s):
                await self._audit.intent(record)
        except Exception as exc:
            log.exception("intent of call %s was not written", record.call.id)
            return Denied("audit_unavailable", type(exc).__name__)
        return None


def _enter(call: Call, index: int) -> Record:
    """The record of this call, one step further. Raises into the stage that called `next` wrongly."""
    record = call.record
    if record is None:
        raise RuntimeError("a call enters through Pipeline.handle")
    if record.closed:
        raise RuntimeError("next after the call was answered")
    if record.position != index:
        raise RuntimeError("a stage may call next once")
    given = record.call
    if call is not given and not narrows(given, call):
        raise RuntimeError("a stage may only subtract")
    record.position, record.call = index + 1, call
    return record


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
        return isinstance(outcome, Done | Asked | Listed)
    return isinstance(outcome, Listed) if isinstance(target, Listing) else isinstance(outcome, Done | Asked)


async def _end(call: Call) -> Outcome:
    return Denied("internal", "dispatch asked for a next stage")
