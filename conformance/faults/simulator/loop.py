"""An event loop on simulated time: when it has nothing to do, the clock jumps to its next timer.

Work for other threads is done in the loop's own, one piece at a time and at moments that the seed decides, and sets of
tasks and futures have the same order each time, so that one seed is one run.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from typing import Any, Final

from conformance.faults.simulator.clock import Clock
from conformance.faults.simulator.crew import Crew
from conformance.faults.simulator.order import numbered

_EARLY: Final = 0.15  # how often the other threads get a turn although the loop is busy


_Future = numbered(asyncio.Future)
_Task = numbered(asyncio.Task)


class Stuck(Exception):
    """Nothing can ever happen any more, and somebody waits."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    _scheduled: list[asyncio.TimerHandle]  # asyncio's own heap

    def __init__(self, clock: Clock, crew: Crew, dice: random.Random) -> None:
        self.crew, self.dice = crew, dice
        self.frozen = False  # the process is dead: nothing that is asked of other threads happens
        super().__init__(_Idle(clock, crew, dice))

    @property
    def timers(self) -> int:
        """How many are set."""
        return sum(not timer.cancelled() for timer in self._scheduled)

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def create_task(self, coro: Any, **named: Any) -> asyncio.Task[Any]:
        return _Task(coro, loop=self, **named)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done: asyncio.Future[Any] = self.create_future()
        self.call_soon(self._work, done, func, args)
        return done

    def _work(self, done: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.frozen:
            done.cancel()
        if done.cancelled():
            return
        try:
            result = func(*args)
        except Exception as exc:
            done.set_exception(exc)
        else:
            done.set_result(result)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        return self.call_soon(callback, *args, context=context)  # the crew's threads run while the loop's stands still


class _Idle(selectors.SelectSelector):
    """Asked by the loop how long to sleep; it lets the crew work, or time pass, instead."""

    def __init__(self, clock: Clock, crew: Crew, dice: random.Random) -> None:
        super().__init__()
        self._clock, self._crew, self._dice = clock, crew, dice

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            if self._dice.random() < _EARLY:
                self._crew.turn()
            return []
        ready = super().select(0)  # an interrupt from the keyboard
        if ready or self._crew.turn():
            return ready
        ends = [end for end in (timeout, self._crew.due_in()) if end is not None]
        if not ends:
            raise Stuck("no timer is set, and no thread has anything to do")
        self._clock.now += max(0.0, min(ends))
        return ready
