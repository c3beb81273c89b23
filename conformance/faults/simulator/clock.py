"""Time that moves only when the simulator says so."""

from __future__ import annotations

import sys
import time
from typing import Final

_START: Final = 1_000.0
_EPOCH: Final = 1_800_000_000.0


class Clock:
    """Monotonic seconds, and a wall clock beside it that can be set."""

    def __init__(self) -> None:
        self.now = _START
        self.wall_offset = _EPOCH - _START

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_offset

    def wall_ns(self) -> int:
        return int(self.wall() * 1e9)


def install() -> Clock:
    """Make `time` tell the clock's time, for everything that is imported from now on.

    Raises RuntimeError when the hub is loaded already: its modules have taken the real clock by name.
    """
    if any(name.partition(".")[0] in ("hub", "policies") for name in sys.modules):
        raise RuntimeError("the clock must be installed before the hub is imported; run the simulator as a program")
    clock = Clock()
    time.monotonic = clock.monotonic
    time.time = clock.wall
    time.time_ns = clock.wall_ns
    return clock
