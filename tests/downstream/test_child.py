"""No process outlives the hub or its link, however the hub, the guard or the process ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hub.core.errors import Unreachable
from hub.downstream import guard as guard_program
from hub.downstream.child import GONE, Child, Guard, Program
from tests.downstream.heard import until
from tests.downstream.processes import children, is_running

SERVERS = Path(__file__).parent / "servers"
ENV = {"PATH": os.environ["PATH"]}


@asynccontextmanager
async def guarded(**given: Any) -> AsyncIterator[Guard]:
    made = Guard(**given)
    try:
        yield made
    finally:
        await made.aclose()


async def shell(guard: Guard, script: str) -> Child:
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        return await guard.spawn(Program("s", "/bin/sh", ("sh", "-c", script), ENV, None), (nowhere, nowhere, nowhere))
    finally:
        os.close(nowhere)


@pytest.fixture
def stand_in() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    command = [sys.executable, str(SERVERS / "hub_stand_in.py"), str(SERVERS / "raw.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout is not None
        yield hub, json.loads(hub.stdout.readline())
        hub.kill()


async def test_killed_hub_leaves_neither_servers_nor_their_offspring_nor_the_guard(
    stand_in: tuple[subprocess.Popen[str], list[int]],
) -> None:
    hub, pids = stand_in
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pids[-1], sig)  # the guard hears of the hub's end from the hub alone
    await asyncio.sleep(0.1)
    assert all(is_running(pid) for pid in pids)
    hub.kill()
    began = monotonic()
    await until(lambda: not any(is_running(pid) for pid in pids), within_s=5)
    assert monotonic() - began < 5


async def test_exit_codes_and_signals_are_told() -> None:
    async with guarded() as guard:
        assert await (await shell(guard, "exit 3")).exited == 3
        assert await (await shell(guard, "kill -USR1 $$")).exited == -signal.SIGUSR1


async def test_stopped_child_has_its_grace_and_then_is_killed() -> None:
    async with guarded() as guard:
        polite = await shell(guard, "trap 'exit 5' TERM; while :; do sleep 0.02; done")
        stubborn = await shell(guard, "trap '' TERM; while :; do sleep 0.02; done")
        await until(lambda: bool(children(polite.pid)) and bool(children(stubborn.pid)))
        polite.stop(5)
        stubborn.stop(0.2)
        assert await asyncio.wait_for(polite.exited, 3) == 5
        assert await asyncio.wait_for(stubborn.exited, 3) == -signal.SIGKILL
        await until(lambda: children(guard.pid) == [])  # no zombies


async def test_killed_child_takes_its_group_along() -> None:
    async with guarded() as guard:
        child = await shell(guard, "trap '' TERM; sleep 60 & sleep 60")
        await until(lambda: len(children(child.pid)) == 2)
        offspring = children(child.pid)
        child.kill()
        assert await asyncio.wait_for(child.exited, 3) == -signal.SIGKILL
        await until(lambda: not any(is_running(pid) for pid in offspring))
        child.kill()  # nobody is there any more


async def test_orphans_are_buried() -> None:
    async with guarded() as guard:
        child = await shell(guard, "(sleep 0.1 &) ; sleep 0.4; exit 0")
        assert await asyncio.wait_for(child.exited, 3) == 0
        await until(lambda: children(guard.pid) == [])


async def test_killed_guard_takes_the_children_along_and_the_next_start_gets_a_new_one() -> None:
    async with guarded() as guard:
        child = await shell(guard, "trap '' TERM; sleep 60 & sleep 60")
        await until(lambda: len(children(child.pid)) == 2)
        pids = [child.pid, *children(child.pid)]
        first = guard.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await asyncio.wait_for(child.exited, 3) == GONE
        await until(lambda: not any(is_running(pid) for pid in pids))
        child.stop(1)
        again = await shell(guard, "exit 0")
        assert await asyncio.wait_for(again.exited, 3) == 0
        assert guard.pid != first


async def test_frozen_guard_is_not_waited_for_and_is_replaced() -> None:
    async with guarded(answer_s=0.2, farewell_s=0.2) as guard:
        child = await shell(guard, "sleep 60")
        first = guard.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(Unreachable, match="does not answer"):
            await shell(guard, "exit 0")
        assert await child.exited == GONE
        assert await asyncio.wait_for((await shell(guard, "exit 0")).exited, 3) == 0
        await until(lambda: not is_running(first) and not is_running(child.pid))


async def test_frozen_guard_does_not_keep_a_closing_hub() -> None:
    guard = Guard(farewell_s=0.2)
    child = await shell(guard, "sleep 60 & sleep 60")
    await until(lambda: len(children(child.pid)) == 2)
    pids = [child.pid, *children(child.pid)]
    assert guard.pid is not None
    os.kill(guard.pid, signal.SIGSTOP)
    await guard.aclose()
    await guard.aclose()
    await until(lambda: not any(is_running(pid) for pid in pids))


async def test_orders_that_pile_up_before_a_frozen_guard_count_as_its_loss() -> None:
    async with guarded(farewell_s=0.2) as guard:
        child = await shell(guard, "sleep 60")
        assert guard.pid is not None
        os.kill(guard.pid, signal.SIGSTOP)
        padding = "x" * 100_000
        assert not all(guard.order({"op": "stop", "id": 0, "grace_s": 0, "padding": padding}) for _ in range(20))
        assert await asyncio.wait_for(child.exited, 3) == GONE


async def test_cancelled_start_kills_what_it_started() -> None:
    async with guarded() as guard:
        await (await shell(guard, "exit 0")).exited
        task = asyncio.create_task(shell(guard, "sleep 60"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for((await shell(guard, "exit 0")).exited, 3) == 0  # orders are obeyed in order
        await until(lambda: children(guard.pid) == [])


async def test_guard_that_cannot_start_makes_servers_unreachable() -> None:
    async with guarded(python="/no/such/python") as guard:
        with pytest.raises(Unreachable, match="no process for its guard"):
            await shell(guard, "exit 0")
        assert guard.pid is None
    async with guarded(python="/bin/false", environ={"LD_LIBRARY_PATH": "/lib"}) as guard:
        with pytest.raises(Unreachable, match="the guard of the stdio servers ended"):
            await shell(guard, "exit 0")


def test_process_table_line_survives_any_command_name() -> None:
    stat = "12 (a) R 9 9 ) (b) S 7 12 12 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 98765 1 1"
    process = guard_program.Process(12, stat)
    assert (process.parent, process.group, process.session, process.state) == (7, 12, 12, "S")
    assert process.start == "98765"


def test_guard_starts_fast_and_small() -> None:
    code = f"import runpy; runpy.run_path({guard_program.__file__!r}, run_name='guard')"
    began = monotonic()
    done = subprocess.run([sys.executable, "-I", "-S", "-X", "importtime", "-c", code], capture_output=True, check=True)
    assert monotonic() - began < 1
    assert b"site-packages" not in done.stderr
    assert b" asyncio" not in done.stderr
