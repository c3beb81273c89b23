from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.ports import Conflict, RegistryRow, RegistryStore
from hub.stores.memory.registry import MemoryRegistry
from hub.stores.sqlite.registry import SqliteRegistry
from tests.contracts.stores import KINDS, a_database

ROW = RegistryRow("local", "server", "wiki", {"url": "http://h/mcp"}, 1, "2026-01-01T00:00:00Z", "t", "ann")


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RegistryStore]:
    if request.param == "memory":
        yield MemoryRegistry()
        return
    async with a_database(tmp_path) as database:
        yield SqliteRegistry(database)


async def test_rows_survive_whole_and_come_by_kind_and_id(store: RegistryStore) -> None:
    odd = replace(ROW, id="b", body={"z": 2**70, "a": ["é\u2028", None, {"x": 1.5}]})
    others = [odd, replace(ROW, id="a"), replace(ROW, kind="endpoint", id=""), replace(ROW, kind="overlay", id="c")]
    for row in others:
        await store.put(row, None)
    found = await store.all("local")
    assert [(row.kind, row.id) for row in found] == [
        ("endpoint", ""),
        ("overlay", "c"),
        ("server", "a"),
        ("server", "b"),
    ]
    assert found[-1] == odd
    assert list(found[-1].body) == ["z", "a"]


async def test_a_change_names_the_version_it_was_made_from(store: RegistryStore) -> None:
    await store.put(ROW, None)
    second = replace(ROW, body={"url": "http://other"}, version=2, updated_by="bob")
    await store.put(second, 1)
    assert await store.all("local") == (second,)


async def test_what_somebody_else_changed_is_not_written_over(store: RegistryStore) -> None:
    await store.put(ROW, None)
    await store.put(replace(ROW, version=2), 1)
    for expected in (None, 1, 3):
        with pytest.raises(Conflict, match="wiki"):
            await store.put(replace(ROW, body={}, version=9), expected)
    with pytest.raises(Conflict):
        await store.remove("local", "server", "wiki", 1)
    assert await store.all("local") == (replace(ROW, version=2),)


async def test_what_is_gone_is_gone(store: RegistryStore) -> None:
    await store.put(ROW, None)
    await store.remove("local", "server", "wiki", 1)
    assert await store.all("local") == ()
    with pytest.raises(Conflict):
        await store.remove("local", "server", "wiki", 1)
    with pytest.raises(Conflict):
        await store.put(replace(ROW, version=2), 1)


async def test_tenants_do_not_see_each_other(store: RegistryStore) -> None:
    await store.put(ROW, None)
    await store.put(replace(ROW, tenant="other", body={}), None)
    assert await store.all("local") == (ROW,)
    with pytest.raises(Conflict):
        await store.remove("third", "server", "wiki", 1)
