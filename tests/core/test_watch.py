"""The one alarm of a call."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.alarms import Alarms
from hub.core.watch import Watch


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_ends_when_its_time_is_over() -> None:
    watch = Watch(Alarms(), now() + 0.02, 5.0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert watch.caught()
    assert not watch.caught()
    watch.stop()


async def test_a_stopped_watch_cancels_nobody() -> None:
    watch = Watch(Alarms(), now() + 0.01, 5.0)
    watch.stop()
    await asyncio.sleep(0.03)


async def test_an_end_that_moved_on_is_kept() -> None:
    watch = Watch(Alarms(), now() + 0.02, 0.5)
    watch.end = float("inf")
    await asyncio.sleep(0.04)
    watch.stop()


async def test_a_watch_that_fired_watches_again_when_renewed() -> None:
    watch = Watch(Alarms(), now(), 0.02)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    watch.renew()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert watch.caught()
    watch.stop()


async def test_a_child_task_does_not_take_its_parents_cancellation_for_its_own() -> None:
    watch = Watch(Alarms(), now() + 0.02, 5.0)
    answers: list[bool] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            answers.append(watch.caught())
            raise

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
    assert answers == [False]
    assert watch.caught()
    watch.stop()


async def test_only_a_task_can_be_watched() -> None:
    caught: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def outside() -> None:
        try:
            Watch(Alarms(), 1.0, 1.0)
        except RuntimeError as exc:
            caught.set_result(exc)

    asyncio.get_running_loop().call_soon(outside)
    assert "task" in str(await caught)
