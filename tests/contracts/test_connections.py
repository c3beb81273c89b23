"""What every store of outbound connections and registrations promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.connections import SHARED, ConnectionRow, ConnectionStore, RegistrationRow
from hub.core.ports import Conflict
from hub.stores.memory.connections import MemoryConnections
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import open_database
from tests.contracts.stores import KINDS, a_database

NOW = 1_800_000_000.0


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConnectionStore]:
    if request.param == "memory":
        yield MemoryConnections()
        return
    async with a_database(tmp_path) as database:
        yield SqliteConnections(database)


def connection(id: str = "o1", **more: object) -> ConnectionRow:
    made = ConnectionRow(
        *("local", id, "u1", "wiki", "https://as", "https://wiki/mcp", "", "c1", ("read", "write"), b"\0sealed"),
        *(NOW, NOW, NOW + 3600, NOW),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def registration(**more: object) -> RegistrationRow:
    made = RegistrationRow("local", "https://as", "c1", "dynamic", {"redirect_uris": ["http://h/cb"]}, NOW)
    return replace(made, **more)  # type: ignore[arg-type]


async def test_a_connection_comes_back_whole(store: ConnectionStore) -> None:
    full = connection(
        grant="client_credentials",
        account="É \u2028",
        ended="invalid_grant",
        ended_at=NOW + 1,
        renewing_by="a",
        renewing_until=NOW + 2,
        expires_at=None,
        user=SHARED,
        scopes=(),
    )
    await store.put(full, None)
    await store.put(connection("o2", created_at=NOW - 1), None)
    assert await store.all("local") == (connection("o2", created_at=NOW - 1), full)
    assert await store.one("local", "o1") == full


async def test_a_change_names_the_version_it_was_made_from(store: ConnectionStore) -> None:
    await store.put(connection(), None)
    second = connection(version=2, sealed=b"new")
    await store.put(second, 1)
    for expected in (None, 1, 3):
        with pytest.raises(Conflict, match="o1"):
            await store.put(connection(version=9), expected)
    with pytest.raises(Conflict):
        await store.put(connection("o9", label="x"), 1)
    assert await store.all("local") == (second,)


@pytest.mark.parametrize(
    "more", [{"label": "work"}, {"user": "u2"}, {"user": SHARED}, {"server": "x"}, {"issuer": "x"}]
)
async def test_one_row_stands_for_each_account(store: ConnectionStore, more: dict[str, str]) -> None:
    await store.put(connection(), None)
    with pytest.raises(KeyError):
        await store.put(connection("o2"), None)
    await store.put(connection("o2", **more), None)
    with pytest.raises(KeyError):
        await store.put(connection("o2", version=2), 1)  # takes the other's place
    assert await store.all("local") == (connection(), connection("o2", **more))


async def test_of_many_who_change_one_row_at_once_one_wins(store: ConnectionStore) -> None:
    await store.put(connection(), None)
    news = [connection(version=2, sealed=b"%d" % number) for number in range(20)]
    done = await asyncio.gather(*(store.put(new, 1) for new in news), return_exceptions=True)
    assert [type(result) for result in done].count(Conflict) == 19
    assert await store.all("local") == (news[done.index(None)],)


async def test_two_processes_on_one_file_change_a_row_once(tmp_path: Path) -> None:
    async with a_database(tmp_path) as one:
        other = await open_database(tmp_path / "hub.db")
        await SqliteConnections(one).put(connection(), None)
        stores = (SqliteConnections(one), SqliteConnections(other)) * 5
        news = [connection(version=2, sealed=b"%d" % number) for number in range(10)]
        done = await asyncio.gather(
            *(store.put(new, 1) for store, new in zip(stores, news, strict=True)), return_exceptions=True
        )
        found = await SqliteConnections(other).one("local", "o1")
        await other.aclose()
    assert [type(result) for result in done].count(Conflict) == 9
    assert found == news[done.index(None)]


async def test_what_is_removed_is_told_and_gone(store: ConnectionStore) -> None:
    await store.put(connection(), None)
    assert await store.remove("local", "o1") == connection()
    assert await store.remove("local", "o1") is None
    assert (await store.all("local"), await store.one("local", "o1")) == ((), None)
    with pytest.raises(Conflict):
        await store.put(connection(version=2), 1)  # a renewal that was under way brings nothing back


async def test_tenants_do_not_see_each_other(store: ConnectionStore) -> None:
    await store.put(connection(), None)
    await store.put(connection(tenant="other", sealed=b"x"), None)
    await store.put_registration(registration(), None)
    await store.put_registration(registration(tenant="other"), None)
    assert await store.remove("third", "o1") is None
    assert await store.one("third", "o1") is None
    await store.remove_registration("third", "https://as", "c1")
    assert await store.all("local") == (connection(),)
    assert await store.registrations("other") == (registration(tenant="other"),)


async def test_a_registration_comes_back_whole_by_issuer_and_client(store: ConnectionStore) -> None:
    full = registration(sealed=b"s", expires_at=NOW + 1, refused_at=NOW, origin="admin", metadata={"É": {"x": [1]}})
    for row in (full, registration(client="c2"), registration(issuer="https://other", created_at=NOW - 1)):
        await store.put_registration(row, None)
    found = await store.registrations("local")
    assert found == (registration(issuer="https://other", created_at=NOW - 1), full, registration(client="c2"))
    await store.remove_registration("local", "https://as", "c1")
    assert full not in await store.registrations("local")
    assert len(await store.registrations("local")) == 2


async def test_a_registration_is_changed_from_the_version_it_had(store: ConnectionStore) -> None:
    await store.put_registration(registration(), None)
    await store.put_registration(registration(version=2, refused_at=NOW), 1)
    for expected in (None, 1):
        with pytest.raises(Conflict, match="https://as"):
            await store.put_registration(registration(version=3), expected)
    assert await store.registrations("local") == (registration(version=2, refused_at=NOW),)


@pytest.mark.parametrize("row", [connection(), registration(sealed=b"a secret")])
def test_no_row_shows_what_is_sealed(row: ConnectionRow | RegistrationRow) -> None:
    assert "seal" not in repr(row)
    assert "secret" not in repr(row)
