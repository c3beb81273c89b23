"""A hub killed while it renews a login loses it only where the issuer wants that, and gives nobody another's."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from hub.identity.outbound.book import Clocks
from hub.identity.outbound.refresher import Connections
from hub.identity.sealer import KeySealer
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import open_database
from tests.identity.outbound.child import Order, Told, run
from tests.identity.outbound.rotating import Issuer, OverHttp, Stage, granted, passed

KILLS = 25
STAGES: tuple[Stage, ...] = ("asked", "rotated", "answered")
KEY = b"k" * 32
HOURS_S = 7200.0  # between two rounds: every token of an hour has ended, and every mark of a hub that was killed
ROUND_S = 60.0

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.identity.outbound.child"])


@asynccontextmanager
async def hub(folder: Path, issuer: Issuer, later_s: float) -> AsyncIterator[Connections]:
    database = await open_database(folder / "hub.db")
    clocks = Clocks(wall=lambda: time() + later_s)
    connections = Connections(SqliteConnections(database), KeySealer(KEY), OverHttp(issuer.url), clocks)
    await connections.load()
    yield connections
    await connections.aclose()
    await database.aclose()


async def killed(order: Order, issuer: Issuer, stage: Stage) -> None:
    """A hub, killed as soon as its renewal is at this stage."""
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=run, args=(order, theirs))
    reached = asyncio.Event()

    async def kill(at: Stage) -> None:
        if at == stage:
            process.kill()
            reached.set()
            if at != "answered":  # the request, or the answer, is lost on its way
                raise ConnectionResetError

    issuer.at = kill
    try:
        process.start()
        async with asyncio.timeout(ROUND_S):
            await reached.wait()
            await asyncio.to_thread(process.join)
    finally:
        issuer.at = passed
        process.kill()
        process.join()
        process.close()
        ours.close()
        theirs.close()


async def told(order: Order) -> list[Told]:
    """What a hub says that was started after that."""
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=run, args=(order, theirs))
    try:
        process.start()
        assert await asyncio.to_thread(ours.poll, ROUND_S)
        found: list[Told] = ours.recv()
        await asyncio.to_thread(process.join, ROUND_S)
        assert process.exitcode == 0
        return found
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("has_grace", [True, False], ids=["grace", "strict"])
async def test_25_kills_during_a_refresh_lose_nothing_that_the_issuer_would_give_again(
    tmp_path: Path, has_grace: bool
) -> None:
    """Of 25, those before the issuer rotated lose nothing with any issuer, nor those after the answer was written."""
    lost, kept = 0, 0
    async with Issuer(has_grace) as issuer:
        async with hub(tmp_path, issuer, 0.0) as connections:
            await connections.keep(granted(issuer.url, "ann", issuer.log_in("ann")))
            lasting = issuer.log_in("bob")
            forever = type(lasting)(lasting.access, lasting.refresh, 1000 * HOURS_S)
            await connections.keep(granted(issuer.url, "bob", forever))
        for number in range(KILLS):
            stage = STAGES[number % len(STAGES)]
            later_s = (2 * number + 1) * HOURS_S
            await killed(Order(tmp_path / "hub.db", issuer.url, KEY, later_s, ("ann",)), issuer, stage)
            after = Order(tmp_path / "hub.db", issuer.url, KEY, later_s + HOURS_S, ("ann", "bob"))
            (kind, said), bob = await told(after)
            assert bob == ("token", lasting.access)
            assert issuer.whose(bob[1]) == "bob"
            if kind == "token":
                assert issuer.whose(said) == "ann"
                kept += 1
                continue
            assert (kind, said) == ("needs_login", "invalid_grant")
            assert stage != "asked"
            lost += 1
            async with hub(tmp_path, issuer, later_s + HOURS_S) as connections:
                await connections.keep(granted(issuer.url, "ann", issuer.log_in("ann")))
    assert kept + lost == KILLS
    if has_grace:
        assert lost == 0
    else:
        assert lost >= KILLS // len(STAGES)  # each that was killed between the rotation and the answer
