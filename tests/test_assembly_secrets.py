"""What a hub does about its vault and its keys before, while and after it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from hub.assembly_secrets import open_vault, resolved, tended
from hub.config import Config, ConfigError, load
from hub.core.errors import HubError
from hub.downstream.link import ServerSpec
from hub.identity.kek import VaultSealed
from hub.identity.keys import Keys, token_hash
from hub.stores.memory.keys import MemoryKeys
from hub.stores.sqlite.database import open_database

NOTHING: Mapping[str, str] = {}
FILE = "mcpServers:\n  a: {command: x, env: {A: 'secret:jira'}}\n  b: {command: y}\n"


def first_reading(folder: Path, text: str = FILE) -> Config:
    path = folder / "hub.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path, {"HOME": str(folder)}, listen="127.0.0.1:0")


async def test_the_vault_opens_before_the_configuration_needs_it(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    try:
        vault = await open_vault(database, tmp_path)
        await vault.put("jira", "s3cret")
        (tmp_path / "kek").unlink()
        with pytest.raises(VaultSealed):
            await open_vault(database, tmp_path)
    finally:
        await database.aclose()


def test_stored_secrets_take_the_place_of_their_names_and_all_else_stays(tmp_path: Path) -> None:
    first = first_reading(tmp_path)
    own = ServerSpec("sandbox", "inprocess", connector="sandbox", provenance="builtin")
    config = replace(first, servers=(own, *first.servers))
    found = resolved(config, {"HOME": str(tmp_path)}, {"jira": "s3cret"}.get)
    assert [spec.id for spec in found.servers] == ["sandbox", "a", "b"]
    assert found.servers[0] is own
    assert found.servers[1].env == {"A": "s3cret"}
    assert (found.listen, found.secret_uses) == (first.listen, {"jira": ("a",)})


def test_a_configuration_without_stored_secrets_is_not_read_again(tmp_path: Path) -> None:
    config = first_reading(tmp_path, "mcpServers: {b: {command: y}}")
    (tmp_path / "hub.yaml").unlink()
    assert resolved(config, {}, NOTHING.get) is config


def test_a_secret_that_nobody_set_stops_the_start_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secrets set jira") as caught:
        resolved(first_reading(tmp_path), {"HOME": str(tmp_path)}, NOTHING.get)
    assert caught.value.faults[0].line == 2


class FullDisk(MemoryKeys):
    async def used(self, tenant: str, at: Mapping[str, str]) -> None:
        raise HubError("disk full")


@pytest.mark.parametrize("broken", [False, True])
async def test_the_last_use_is_written_down_at_the_end(broken: bool, caplog: pytest.LogCaptureFixture) -> None:
    store = FullDisk() if broken else MemoryKeys()
    keys = Keys(store)
    _, key = await keys.create("ci")
    with caplog.at_level(logging.WARNING):
        async with tended(keys, 60.0):
            assert keys.principal(token_hash(key)) is not None
    [row] = await store.all("local")
    assert (row.last_used_at is None) is broken
    assert ("disk full" in caplog.text) is broken


async def test_while_it_runs_uses_are_written_down_now_and_then() -> None:
    store = MemoryKeys()
    keys = Keys(store)
    _, key = await keys.create("ci")
    before = asyncio.all_tasks()
    async with tended(keys, 0.001):
        assert keys.principal(token_hash(key)) is not None
        with anyio.fail_after(5):
            while (await store.all("local"))[0].last_used_at is None:
                await asyncio.sleep(0.001)
    assert asyncio.all_tasks() == before
