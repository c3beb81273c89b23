from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.ports import SecretRow, SecretStore
from hub.stores.memory.secrets import MemorySecrets
from hub.stores.sqlite.secrets import SqliteSecrets
from tests.contracts.stores import KINDS, a_database

ROW = SecretRow("local", "jira", 1, b"n" * 12, b"\0\xff" * 20, b"k" * 12, b"s" * 48, "0123456789ab", "t1", "t2")


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SecretStore]:
    if request.param == "memory":
        yield MemorySecrets()
        return
    async with a_database(tmp_path) as database:
        yield SqliteSecrets(database)


async def test_rows_come_back_whole_and_by_name(store: SecretStore) -> None:
    other = replace(ROW, name="Jira", version=7, sealed=b"")
    await store.put((ROW, other))
    assert await store.all("local") == (other, ROW)


async def test_a_row_of_the_same_name_is_replaced(store: SecretStore) -> None:
    await store.put((ROW,))
    new = replace(ROW, version=2, sealed=b"new", updated_at="t3")
    await store.put((new,))
    assert await store.all("local") == (new,)


async def test_what_is_removed_is_gone_and_only_that(store: SecretStore) -> None:
    other = replace(ROW, name="wiki")
    await store.put((ROW, other))
    assert await store.remove("local", "jira") is True
    assert await store.remove("local", "jira") is False
    assert await store.all("local") == (other,)


async def test_tenants_do_not_see_or_touch_each_other(store: SecretStore) -> None:
    theirs = replace(ROW, tenant="other", sealed=b"theirs")
    await store.put((ROW,))
    await store.put((theirs,))
    assert await store.remove("third", "jira") is False
    assert await store.remove("local", "jira") is True
    assert await store.all("other") == (theirs,)
    assert await store.all("local") == ()
