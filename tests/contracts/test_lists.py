from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.core.ports import ListStore
from hub.stores.memory.lists import MemoryLists
from hub.stores.sqlite.lists import SqliteLists
from tests.contracts.stores import KINDS, a_database


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ListStore]:
    if request.param == "memory":
        yield MemoryLists()
        return
    async with a_database(tmp_path) as database:
        yield SqliteLists(database)


async def test_the_last_list_of_each_server_is_kept_whole(store: ListStore) -> None:
    old = {"tool": [{"name": "now"}]}
    new = {"tool": [{"name": "now", "n": 2**70, "x": None}], "peer": {"era": "modern", "info": {"name": "é"}}}
    await store.save("local", "time", old)
    await store.save("local", "git", old)
    await store.save("local", "time", new)
    assert dict(await store.load("local")) == {"time": new, "git": old}


async def test_tenants_do_not_see_each_other(store: ListStore) -> None:
    await store.save("local", "time", {"tool": []})
    assert dict(await store.load("other")) == {}


async def test_what_was_loaded_does_not_change_with_the_store(store: ListStore) -> None:
    await store.save("local", "time", {"tool": []})
    loaded = await store.load("local")
    await store.save("local", "git", {"tool": []})
    assert list(loaded) == ["time"]


async def test_what_is_removed_is_gone_for_its_tenant_alone(store: ListStore) -> None:
    for tenant, server in (("local", "time"), ("local", "git"), ("other", "time")):
        await store.save(tenant, server, {"tool": []})
    await store.remove("local", "time")
    await store.remove("local", "nobody")
    assert list(await store.load("local")) == ["git"]
    assert list(await store.load("other")) == ["time"]
