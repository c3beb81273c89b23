from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from hub.core.ports import Pin, PinStore
from hub.stores.memory.pins import MemoryPins
from hub.stores.sqlite.pins import SqlitePins
from tests.contracts.stores import KINDS, a_database

PIN = Pin("time", "tool", "now", "a" * 64, {"name": "now", "inputSchema": {"type": "object"}})


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PinStore]:
    if request.param == "memory":
        yield MemoryPins()
        return
    async with a_database(tmp_path) as database:
        yield SqlitePins(database)


async def test_definitions_survive_whole(store: PinStore) -> None:
    odd = {"z": 2**80, "a": [1.5, None, "é\u2028\x00"], "x-unknown": {"b": 1, "a": 2}}
    await store.save("local", [replace(PIN, definition=odd)])
    (found,) = await store.load("local")
    assert found == replace(PIN, definition=odd)
    assert list(found.definition) == ["z", "a", "x-unknown"]


async def test_a_second_save_replaces_by_server_kind_and_native_name(store: PinStore) -> None:
    others = [replace(PIN, server="git"), replace(PIN, kind="prompt"), replace(PIN, native="then")]
    await store.save("local", [PIN, *others])
    changed = replace(PIN, sha256="b" * 64)
    await store.save("local", [changed])
    loaded = await store.load("local")
    assert len(loaded) == 4
    assert changed in loaded
    assert PIN not in loaded


async def test_nothing_to_save_is_no_error(store: PinStore) -> None:
    await store.save("local", [])
    assert await store.load("local") == ()


async def test_a_read_only_definition_is_taken(store: PinStore) -> None:
    await store.save("local", [replace(PIN, definition=MappingProxyType({"name": "now"}))])
    assert dict((await store.load("local"))[0].definition) == {"name": "now"}


async def test_tenants_do_not_see_each_other(store: PinStore) -> None:
    await store.save("local", [PIN])
    await store.save("other", [replace(PIN, sha256="c" * 64)])
    assert await store.load("local") == (PIN,)
