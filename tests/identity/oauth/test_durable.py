"""The same server on the real database: what was answered is kept, and what was kept is answered."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.accounts import GrantRow
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.grants import SqliteGrants
from tests.contracts.stores import a_database
from tests.identity.oauth.world import World, bad, good


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    async with a_database(tmp_path) as database:
        world.kept = SqliteGrants(database, world.clock)
        yield await world.start()


async def test_a_login_lives_through_a_restart(durable: World) -> None:
    client = await durable.client()
    made = await durable.login(client)
    await durable.start()
    assert await durable.is_good(made["access_token"])
    again = good(await durable.refresh(client, made["refresh_token"]))
    await durable.start()
    assert good(await durable.refresh(client, made["refresh_token"]))["refresh_token"] == again["refresh_token"]


async def test_twenty_at_once_on_two_servers_get_one_successor(durable: World) -> None:
    client = await durable.client()
    first, here = (await durable.login(client))["refresh_token"], durable.server
    await durable.start()
    form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", first)]
    both = (here, durable.server) * 10
    replies = [good(reply) for reply in await asyncio.gather(*(server.token(form, None) for server in both))]
    assert len({made["refresh_token"] for made in replies}) == 1


async def test_check_12_a_code_used_twice_at_two_servers_ends_everything(durable: World) -> None:
    client = await durable.client()
    code, here = await durable.code(client), durable.server
    await durable.start()
    good(await durable.redeem(client, code))
    durable.server = here
    assert bad(await durable.redeem(client, code)) == (400, "invalid_grant")
    await durable.start()
    assert durable.server.grants_of(durable.ann.id) == ()


class Dying(SqliteGrants):
    """The process is killed when the turn is on disk and nobody was answered."""

    async def rotate(self, row: GrantRow, from_sha256: str | None) -> bool:
        stored = await super().rotate(row, from_sha256)
        if from_sha256 is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return stored


async def die(folder: Path, sealed_by: str) -> None:
    """What the child does: log in, say the refresh token, and be killed while renewing it."""
    world = World(folder)
    world.sealer.key = bytes.fromhex(sealed_by)
    world.kept = Dying(await open_database(folder / "hub.db"), world.clock)
    await world.start()
    client = await world.client()
    token = (await world.login(client))["refresh_token"]
    print(client, token, flush=True)
    await world.refresh(client, token)


async def test_a_server_killed_between_turn_and_answer_logs_nobody_out(tmp_path: Path) -> None:
    key = AESGCM.generate_key(256)
    code = f"import asyncio, pathlib; from {__name__} import die; asyncio.run(die(pathlib.Path({str(tmp_path)!r}), "
    code += f"{key.hex()!r}))"
    root = Path(__file__).resolve().parents[3]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=root, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == -signal.SIGKILL
    client, first = said.decode().split()
    world = World(tmp_path)
    world.sealer.key = key
    async with a_database(tmp_path) as database:
        world.kept = SqliteGrants(database, world.clock)
        await world.start()
        (row,) = await world.kept.grants("local")
        assert row.previous_sha256 is not None, "the turn was on disk"
        second = good(await world.refresh(client, first))["refresh_token"]
        world.clock.go(3600)
        good(await world.refresh(client, second))
        assert world.reused == []
