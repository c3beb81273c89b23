from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.ports import KeyRow, KeyStore
from hub.stores.memory.keys import MemoryKeys
from hub.stores.sqlite.keys import SqliteKeys
from tests.contracts.stores import KINDS, a_database

T1, T2, T3 = (f"2026-11-24T0{hour}:00:00.000Z" for hour in (1, 2, 3))


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    if request.param == "memory":
        yield MemoryKeys()
        return
    async with a_database(tmp_path) as database:
        yield SqliteKeys(database)


def row(id: str = "k1", name: str = "ci", at: str = T1, tenant: str = "local") -> KeyRow:
    return KeyRow(id, tenant, name, id * 8, ("mcp",), None, None, at)


async def test_a_row_comes_back_whole(store: KeyStore) -> None:
    full = replace(row(), scopes=("admin", "mcp"), servers=("time", "*"), tools=("a__*", '"\n'), expires_at=T3)
    empty = replace(row("k2", "other", T2), servers=(), tools=())
    await store.add(full)
    await store.add(empty)
    assert await store.all("local") == (full, empty)


async def test_oldest_come_first_whatever_the_order_of_adding(store: KeyStore) -> None:
    for id, at in (("k2", T2), ("k3", T2), ("k1", T1)):
        await store.add(row(id, id, at))
    assert [found.id for found in await store.all("local")] == ["k1", "k2", "k3"]


async def test_a_name_is_taken_while_its_key_lives(store: KeyStore) -> None:
    await store.add(row())
    with pytest.raises(KeyError):
        await store.add(row("k2", at=T2))
    await store.add(row("k2", name="CI", at=T2))
    await store.revoke("local", "k1", T2)
    await store.add(row("k3", at=T3))
    assert [(found.id, found.revoked_at) for found in await store.all("local")] == [
        ("k1", T2),
        ("k2", None),
        ("k3", None),
    ]


async def test_an_expired_key_gives_its_name_free(store: KeyStore) -> None:
    await store.add(replace(row(), expires_at=T2))
    with pytest.raises(KeyError):
        await store.add(row("k2", at="2026-11-24T01:59:59.999Z"))
    await store.add(row("k2", at=T2))
    assert len(await store.all("local")) == 2


async def test_of_many_who_ask_at_once_one_gets_the_name(store: KeyStore) -> None:
    results = await asyncio.gather(*(store.add(row(f"k{n}")) for n in range(10)), return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == ["KeyError"] * 9 + ["NoneType"]
    assert len(await store.all("local")) == 1


async def test_a_first_revocation_stands(store: KeyStore) -> None:
    await store.add(row())
    await store.revoke("local", "k1", T2)
    await store.revoke("local", "k1", T3)
    assert (await store.all("local"))[0].revoked_at == T2


async def test_revoking_what_is_not_there_is_an_error(store: KeyStore) -> None:
    with pytest.raises(KeyError):
        await store.revoke("local", "k9", T1)


async def test_tenants_do_not_see_or_touch_each_other(store: KeyStore) -> None:
    await store.add(row())
    await store.add(row(tenant="other"))
    await store.revoke("other", "k1", T2)
    assert [found.revoked_at for found in await store.all("local")] == [None]
    assert await store.all("third") == ()


async def test_a_rotated_key_names_its_successor_and_ends(store: KeyStore) -> None:
    await store.add(replace(row(), expires_at=None))
    new = row("k2", at=T2)
    await store.rotate(new, "k1", T3)
    assert await store.all("local") == (replace(row(), expires_at=T3, replaced_by="k2"), new)
    with pytest.raises(KeyError):
        await store.add(row("k3", at=T2))  # the name is taken, by both


async def test_a_key_is_rotated_once_unless_its_successor_was_revoked(store: KeyStore) -> None:
    await store.add(row())
    await store.rotate(row("k2", at=T2), "k1", T3)
    with pytest.raises(KeyError):
        await store.rotate(row("k3", at=T2), "k1", T3)
    assert [found.id for found in await store.all("local")] == ["k1", "k2"]
    await store.revoke("local", "k2", T2)
    await store.rotate(row("k3", at=T3), "k1", T3)
    assert [(found.id, found.replaced_by) for found in await store.all("local")] == [
        ("k1", "k3"),
        ("k2", None),
        ("k3", None),
    ]


async def test_what_is_revoked_gone_or_another_tenants_is_not_rotated(store: KeyStore) -> None:
    await store.add(row())
    await store.add(row("k9", tenant="other"))
    await store.revoke("local", "k1", T2)
    for old in ("k1", "k8", "k9"):
        with pytest.raises(KeyError):
            await store.rotate(row("k2", at=T2), old, T3)
    assert [found.id for found in await store.all("local")] == ["k1"]


async def test_of_many_who_rotate_one_key_one_makes_its_successor(store: KeyStore) -> None:
    await store.add(row())
    news = [row(f"n{number}", at=T2) for number in range(10)]
    results = await asyncio.gather(*(store.rotate(new, "k1", T3) for new in news), return_exceptions=True)
    assert [type(result) for result in results].count(KeyError) == 9
    old, new = await store.all("local")
    assert old.replaced_by == new.id


async def test_last_uses_are_noted_for_keys_that_are_there(store: KeyStore) -> None:
    await store.add(row())
    await store.add(row("k2", "other", T2))
    await store.used("local", {"k1": T3, "k9": T3})
    await store.used("other", {"k2": T3})
    assert [found.last_used_at for found in await store.all("local")] == [T3, None]
