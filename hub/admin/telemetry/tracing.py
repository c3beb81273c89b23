"""Which calls are traced, and when their spans are made: at the door, and around the log.

It waits for nothing and no collector: what it makes is put into a bounded queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import random
from time import monotonic, time_ns

from hub.admin.telemetry.context import Traced, parent_of
from hub.admin.telemetry.spans import Ending, Span, spans_of
from hub.core.call import Call, Outcome
from hub.core.pipeline import Record
from hub.core.ports import Auditor

Put = Callable[[tuple[Span, ...]], None]  # never waits, never raises


class Tracing:
    """Decides at the door. `sample` is the share of calls whose caller's own trace does not decide."""

    def __init__(self, sample: float, put: Put, chance: Callable[[], float] = random) -> None:
        self._sample, self._chance, self.put = sample, chance, put

    def entered(self, call: Call) -> Call:
        """The call as it goes on: a sampled one carries the hub's own span downstream, any other what it came with."""
        parent = parent_of(call.trace)
        wanted = parent.sampled if parent is not None else self._chance() < self._sample
        return replace(call, trace=Traced(call.trace, parent, time_ns(), monotonic())) if wanted else call


class TracedAuditor:
    """An auditor whose sampled calls become spans when they are over, whatever the log made of them."""

    def __init__(self, inner: Auditor, tracing: Tracing, clock: Callable[[], float] = monotonic) -> None:
        self._inner, self._tracing, self._clock = inner, tracing, clock

    async def intent(self, record: Record) -> None:
        traced = record.call.trace
        began = self._clock()
        try:
            await self._inner.intent(record)
        finally:
            if isinstance(traced, Traced):
                traced.intent = began, self._clock()

    async def finish(self, record: Record, outcome: Outcome) -> None:
        traced = record.call.trace
        if not isinstance(traced, Traced):
            await self._inner.finish(record, outcome)
            return
        noted, logged = self._clock(), False
        try:
            await self._inner.finish(record, outcome)
            logged = True
        finally:
            self._tracing.put(spans_of(record, traced, Ending(outcome, noted, self._clock(), logged)))
