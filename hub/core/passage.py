"""A row of stages that mostly just pass a call, walked in one step.

It asks the same questions that the steps ask, and runs none of them: whoever does not pass is run by its own step. What
holds for a caller and an item as long as the pipeline lives is asked once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from hub.core.call import Call, Denied, Item, One, Outcome, Principal
from hub.core.ports import Next, Stage, Steady

if TYPE_CHECKING:
    from hub.core.pipeline import Record

log = logging.getLogger(__name__)

KEPT: Final = 8192  # pairs of caller and item; beyond, all is asked anew

Passes = Callable[[Call], bool]
Forward = Callable[[Call], Call | Denied | None]
Enter = Callable[[Call, int], "Record"]


class Passage:
    """Stands before the first of the row; `rows` are (stage, its question, its step), outermost first."""

    __slots__ = ("_below", "_count", "_enter", "_every", "_index", "_known", "_steps", "_varying")

    def __init__(self, index: int, rows: Sequence[tuple[Stage, Passes, Next]], below: Next, enter: Enter) -> None:
        """`below`: the step after the last of the row. `enter` refuses what no step lets in, and gives the record."""
        self._index, self._count, self._below, self._enter = index, len(rows), below, enter
        self._every = tuple(passes for _, passes, _ in rows)
        self._steps = tuple(step for _, _, step in rows)
        self._varying = tuple(
            (place, passes)
            for place, (stage, passes, _) in enumerate(rows)
            if not (isinstance(stage, Steady) and stage.steady)
        )
        self._known: dict[tuple[int, str, str, int], tuple[Principal, Item]] = {}  # held, so that no id comes twice

    def run(self, call: Call) -> Awaitable[Outcome]:
        record = call.record
        if record is None or record.call is not call or record.position != self._index or record.closed:
            record = self._enter(call, self._index)
        target = call.target
        if type(target) is not One:
            return self._ask(call, record)
        item = target.item
        key = (id(call.who), call.endpoint, call.method, id(item))
        if key not in self._known:
            return self._ask(call, record, key)
        for place, passes in self._varying:
            if not _passed(passes, call):
                record.position = self._index + place
                return self._steps[place](call)
        record.position = self._index + self._count
        return self._below(call)

    def _ask(self, call: Call, record: Record, key: tuple[int, str, str, int] | None = None) -> Awaitable[Outcome]:
        for place, passes in enumerate(self._every):
            if not _passed(passes, call):
                record.position = self._index + place
                return self._steps[place](call)
        if key is not None and isinstance(call.target, One):
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = call.who, call.target.item
        record.position = self._index + self._count
        return self._below(call)


class Forwards:
    """Stages in a row that only act on the way down; `rows` are (name, its way down, its step), outermost first."""

    __slots__ = ("_below", "_enter", "_index", "_rows")

    def __init__(self, index: int, rows: Sequence[tuple[str, Forward, Next]], below: Next, enter: Enter) -> None:
        """As a passage's."""
        self._index, self._below, self._enter = index, below, enter
        self._rows = tuple(rows)

    def run(self, call: Call) -> Awaitable[Outcome]:
        record = self._enter(call, self._index)
        for name, forward, step in self._rows:
            try:
                onward = forward(call)
            except Exception:  # its own step asks again, and notes what it raises
                onward = None
            if onward is None:
                return step(call)
            if isinstance(onward, Call):
                onward = self._onward(name, onward, record)
            if isinstance(onward, Denied):
                record.verdicts.append((name, onward, 0.0, monotonic()))
                return _answered(onward)
            call = onward
            record.position += 1
        return self._below(call)

    def _onward(self, name: str, onward: Call, record: Record) -> Call | Denied:
        """The call as it goes on, unless it became another one than it may."""
        try:
            if onward is not record.call:
                self._enter(onward, record.position)
        except RuntimeError:
            log.exception("stage %s forwarded what it may not", name)
            return Denied("internal", f"{name}: RuntimeError")
        return onward


async def _answered(outcome: Outcome) -> Outcome:
    return outcome


def _passed(passes: Passes, call: Call) -> bool:
    try:
        return passes(call)
    except Exception:  # its own step asks again, and notes what it raises
        return False
