"""Many ends of time behind one timer of the event loop.

A timer of its own for every wait of every call costs more than the waits' bookkeeping: most are put back before they
are due. Here a wait is one entry in a set, and the timer looks through the set when the first end is due.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, get_running_loop
from math import inf
from typing import Final, Protocol

GRAIN_S: Final = 0.005  # between two looks: an end may be noticed this much late
LONGEST_S: Final = 3600.0  # of one timer; later ends take several
_ROUNDED_S: Final = 0.001  # loops count in milliseconds: a timer may come a little early


class Alarm(Protocol):
    """`end` in the loop's (monotonic) seconds. It may move later at any time; sooner by `set` again."""

    end: float

    def ring(self) -> None:
        """The end has come, and the alarm is not set any more. Never waits, never raises."""


class Alarms:
    """One event loop uses it."""

    __slots__ = ("_handle", "_loop", "_next", "_set")

    def __init__(self) -> None:
        self._set: set[Alarm] = set()
        self._loop: AbstractEventLoop | None = None
        self._handle: TimerHandle | None = None
        self._next = inf  # when the timer comes

    def __len__(self) -> int:
        return len(self._set)

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop in use, remembered: asking for it is a system call."""
        loop = self._loop
        if loop is None:
            loop = self._loop = get_running_loop()
        return loop

    def set(self, alarm: Alarm) -> None:
        """It rings once, when its end has come, unless it is put back before."""
        self._set.add(alarm)
        if alarm.end < self._next:
            self._arm(alarm.end)

    def unset(self, alarm: Alarm) -> None:
        self._set.discard(alarm)

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next, left = at, at - self.loop.time()
        self._handle = self.loop.call_later(min(max(0.0, left) + _ROUNDED_S, LONGEST_S), self._look)

    def _look(self) -> None:
        self._handle, self._next = None, inf
        now = self.loop.time()
        for alarm in [alarm for alarm in self._set if alarm.end <= now]:
            if alarm in self._set:  # another's ring may have put it back
                self._set.discard(alarm)
                alarm.ring()
        soonest = min((alarm.end for alarm in self._set), default=inf)
        if soonest < self._next:
            self._arm(max(soonest, now + GRAIN_S))
