"""The time one task may take, by one alarm.

A timer or a cancel scope for every wait costs more than the rest of the chain: this one is set once, and when it rings
the end is where it stands by then. It ends the task's wait by cancellation, and tells its own from others'.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, current_task
from typing import Any

from hub.core.alarms import Alarms


class Watch:
    """Cancels the task that made it, once, when `end` has passed. Ends move later freely, and sooner by `short_s`."""

    __slots__ = ("_alarms", "_cancels", "_fired", "_loop", "_short_s", "_task", "end")

    def __init__(self, alarms: Alarms, end: float, short_s: float) -> None:
        """`end` in the loop's (monotonic) seconds; infinity is no end."""
        self._loop: AbstractEventLoop = alarms.loop
        task: Task[Any] | None = current_task(self._loop)
        if task is None:
            raise RuntimeError("only a task can be watched")
        self._task, self._alarms, self._short_s, self.end = task, alarms, short_s, end
        self._cancels, self._fired = task.cancelling(), False
        alarms.set(self)

    def ring(self) -> None:
        self._fired = True
        self._task.cancel()

    def shorten(self) -> None:
        """At most `short_s` from now; the former end may be put back by assigning `end`."""
        self.end = min(self.end, self._loop.time() + self._short_s)
        self._alarms.set(self)

    def renew(self) -> None:
        """`short_s` from now, whatever was before."""
        self._take_back()
        self.end = self._loop.time() + self._short_s
        self._alarms.set(self)

    def caught(self) -> bool:
        """Whether the CancelledError at hand is this watch's alone: then it is taken back, and the task goes on."""
        return current_task() is self._task and self._take_back() and self._task.cancelling() <= self._cancels

    def stop(self) -> None:
        """Cancels no more."""
        self._take_back()
        self._alarms.unset(self)

    def _take_back(self) -> bool:
        fired, self._fired = self._fired, False
        if fired:
            self._task.uncancel()
        return fired
