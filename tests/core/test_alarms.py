"""Many ends behind one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from hub.core.alarms import Alarms


class Bell:
    """Notes when it rang, and what else it was told to do then."""

    def __init__(self, end: float, then: Callable[[], None] = lambda: None) -> None:
        self.end, self.rang, self._then = end, asyncio.Event(), then

    def ring(self) -> None:
        assert not self.rang.is_set()
        self.rang.set()
        self._then()


def now() -> float:
    return asyncio.get_running_loop().time()


async def heard(*bells: Bell) -> None:
    async with asyncio.timeout(5):
        for bell in bells:
            await bell.rang.wait()


async def test_each_alarm_rings_once_at_its_end_and_in_its_order() -> None:
    alarms, order = Alarms(), list[str]()
    late = Bell(now() + 0.06, lambda: order.append("late"))
    soon = Bell(now() + 0.02, lambda: order.append("soon"))
    alarms.set(late)
    alarms.set(soon)
    await heard(late, soon)
    assert order == ["soon", "late"]
    assert now() >= late.end
    assert len(alarms) == 0


async def test_an_alarm_that_was_put_back_does_not_ring() -> None:
    alarms = Alarms()
    gone, kept = Bell(now() + 0.01), Bell(now() + 0.03)
    alarms.set(gone)
    alarms.set(kept)
    alarms.unset(gone)
    await heard(kept)
    assert not gone.rang.is_set()


async def test_an_end_that_moved_later_is_waited_for() -> None:
    alarms, bell = Alarms(), Bell(now() + 0.01)
    alarms.set(bell)
    bell.end = now() + 0.05
    await heard(bell)
    assert now() >= bell.end


async def test_an_end_that_moved_sooner_is_kept_when_set_again() -> None:
    alarms, bell = Alarms(), Bell(inf)
    alarms.set(bell)
    bell.end = now()
    alarms.set(bell)
    await heard(bell)


async def test_an_alarm_put_back_by_another_at_the_same_time_does_not_ring() -> None:
    alarms, rang = Alarms(), list[int]()
    bells: list[Bell] = []

    def first(number: int) -> Callable[[], None]:
        def then() -> None:
            rang.append(number)
            alarms.unset(bells[1 - number])

        return then

    bells += [Bell(0.0, first(0)), Bell(0.0, first(1))]
    alarms.set(bells[0])
    alarms.set(bells[1])
    last = Bell(now() + 0.02)
    alarms.set(last)
    await heard(last)
    assert len(rang) == 1


async def test_an_alarm_may_be_set_again_while_it_rings() -> None:
    alarms, again = Alarms(), Bell(inf)

    def then() -> None:
        again.end = now() + 0.01
        alarms.set(again)

    first = Bell(now(), then)
    alarms.set(first)
    await heard(first, again)
