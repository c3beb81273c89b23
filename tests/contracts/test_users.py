"""What every store of users promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.accounts import UserRow, UserStore
from hub.core.ports import Conflict
from hub.stores.memory.users import MemoryUsers
from hub.stores.sqlite.users import SqliteUsers
from tests.contracts.stores import KINDS, a_database


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UserStore]:
    if request.param == "memory":
        yield MemoryUsers()
        return
    async with a_database(tmp_path) as database:
        yield SqliteUsers(database)


def row(id: str = "u1", name: str = "ada", tenant: str = "local", **more: object) -> UserRow:
    return replace(UserRow(tenant, id, name, ("member",), (), 1.5), **more)  # type: ignore[arg-type]


async def test_a_row_comes_back_whole(store: UserStore) -> None:
    full = row(
        roles=("admin", "member"),
        groups=("a b", '"\n'),
        version=3,
        display="Ada É",
        email="ada@example.com",
        password="$argon2id$x",
        otp=b"\0sealed",
        issuer="https://idp.example.com",
        subject="s1",
        attributes={"department": "x", "nested": {"deep": [1, None]}},
        disabled_at=1763991000.25,
    )
    empty = row("u2", "bob", roles=())
    await store.put((full, empty), (None, None))
    assert await store.all("local") == (full, empty)


async def test_they_come_by_name(store: UserStore) -> None:
    for id, name in (("u1", "c"), ("u2", "a"), ("u3", "b")):
        await store.put((row(id, name),), (None,))
    assert [found.name for found in await store.all("local")] == ["a", "b", "c"]


async def test_a_change_needs_the_version_that_is_there(store: UserStore) -> None:
    await store.put((row(),), (None,))
    changed = row(version=2, display="Ada")
    await store.put((changed,), (1,))
    for stale in (1, 3, None):
        with pytest.raises(Conflict):
            await store.put((row(version=4, display="late"),), (stale,))
    with pytest.raises(Conflict):
        await store.put((row("u9", "nobody"),), (1,))
    assert await store.all("local") == (changed,)


async def test_of_many_who_change_one_row_one_wins(store: UserStore) -> None:
    await store.put((row(),), (None,))
    news = [row(version=2, display=str(number)) for number in range(10)]
    results = await asyncio.gather(*(store.put((new,), (1,)) for new in news), return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 9
    assert (await store.all("local"))[0] == news[results.index(None)]


async def test_all_of_several_are_kept_or_none(store: UserStore) -> None:
    await store.put((row(),), (None,))
    with pytest.raises(Conflict):
        await store.put((row("u2", "bob"), row(version=2, display="x")), (None, 7))
    with pytest.raises(KeyError):
        await store.put((row("u2", "bob"), row("u3", "ada")), (None, None))
    assert await store.all("local") == (row(),)


async def test_two_live_users_of_one_name_are_refused_also_in_one_write(store: UserStore) -> None:
    with pytest.raises(KeyError):
        await store.put((row(), row("u2")), (None, None))
    assert await store.all("local") == ()
    await store.put((row(),), (None,))
    with pytest.raises(KeyError):
        await store.put((row("u2"),), (None,))


async def test_of_many_who_want_one_name_at_once_one_gets_it(store: UserStore) -> None:
    results = await asyncio.gather(
        *(store.put((row(f"u{number}"),), (None,)) for number in range(10)), return_exceptions=True
    )
    assert [type(result) for result in results].count(KeyError) == 9
    assert len(await store.all("local")) == 1


async def test_two_users_may_change_names_with_each_other(store: UserStore) -> None:
    await store.put((row("u1", "ada"), row("u2", "bob")), (None, None))
    await store.put((row("u1", "bob", version=2), row("u2", "ada", version=2)), (1, 1))
    assert [(found.name, found.id) for found in await store.all("local")] == [("ada", "u2"), ("bob", "u1")]


async def test_a_disabled_user_gives_the_name_free_and_comes_back_only_without_a_namesake(store: UserStore) -> None:
    gone = row(version=2, disabled_at=2.0)
    await store.put((row(),), (None,))
    await store.put((gone,), (1,))
    await store.put((row("u2"),), (None,))
    with pytest.raises(KeyError):
        await store.put((row(version=3),), (2,))
    assert set(await store.all("local")) == {gone, row("u2")}


async def test_one_subject_of_one_provider_is_one_live_user(store: UserStore) -> None:
    known = {"issuer": "https://idp", "subject": "s"}
    await store.put((row(**known),), (None,))
    with pytest.raises(KeyError):
        await store.put((row("u2", "bob", **known),), (None,))
    await store.put((row("u3", "eve", issuer="https://other", subject="s"),), (None,))
    await store.put((row("u4", "dan"), row("u5", "dora")), (None, None))  # of no provider: no clash
    await store.put((row(version=2, disabled_at=2.0, **known),), (1,))
    await store.put((row("u2", "bob", **known),), (None,))
    assert len(await store.all("local")) == 5


async def test_tenants_do_not_see_or_touch_each_other(store: UserStore) -> None:
    await store.put((row(), row(tenant="other")), (None, None))
    await store.put((row(tenant="other", version=2, display="x"),), (1,))
    assert await store.all("local") == (row(),)
    assert [found.display for found in await store.all("other")] == ["x"]
    assert await store.all("third") == ()
