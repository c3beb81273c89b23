"""What every store of OAuth clients, codes and grants promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.accounts import ClientRow, CodeRow, GrantRow, GrantStore
from hub.stores.memory.grants import MemoryGrants
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.grants import SqliteGrants
from tests.contracts.stores import KINDS, a_database

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GrantStore]:
    if request.param == "memory":
        yield MemoryGrants(lambda: NOW)
        return
    async with a_database(tmp_path) as database:
        yield SqliteGrants(database, lambda: NOW)


def client(id: str = "c1", tenant: str = "local", **more: object) -> ClientRow:
    made = ClientRow(tenant, id, {"redirect_uris": ["http://127.0.0.1/cb"]}, "d" * 64, NOW, NOW)
    return replace(made, **more)  # type: ignore[arg-type]


def code(sha256: str = "aa", grant: str = "g1", tenant: str = "local", expires_at: float = NOW + 60) -> CodeRow:
    return CodeRow(tenant, sha256, "c1", "http://127.0.0.1/cb", "challenge", grant, expires_at)


def grant(id: str = "g1", tenant: str = "local", **more: object) -> GrantRow:
    made = GrantRow(
        *(tenant, id, "u1", "c1", "A client", "https://hub/mcp", ("mcp", "mcp:server:x"), "otp", NOW - 5, NOW),
        NOW + DAY,
    )
    return replace(made, **more)  # type: ignore[arg-type]


async def test_a_client_comes_back_whole_and_is_replaced_by_id(store: GrantStore) -> None:
    full = client(metadata={"client_name": "É \n", "x": {"y": [1]}}, secret_sha256="s", origin="admin", created_at=1.5)
    await store.put_client(client("c2"))
    await store.put_client(client())
    await store.put_client(full)
    assert await store.clients("local") == (full, client("c2"))


async def test_clients_are_removed_by_id_within_their_tenant(store: GrantStore) -> None:
    for row in (client(), client("c2"), client(tenant="other")):
        await store.put_client(row)
    await store.remove_clients("local", ("c1", "nobody"))
    assert await store.clients("local") == (client("c2"),)
    assert await store.clients("other") == (client(tenant="other"),)


async def test_a_grant_comes_back_whole(store: GrantStore) -> None:
    full = grant(
        refresh_sha256="r",
        previous_sha256="p",
        previous_until=NOW + 30,
        successor=b"\0sealed",
        used_at=NOW + 1,
        strength="sso",
    )
    await store.add(full)
    await store.add(grant("g2", scopes=(), created_at=NOW + 1))
    assert await store.grants("local") == (full, grant("g2", scopes=(), created_at=NOW + 1))


async def test_a_grant_and_its_code_are_kept_together_or_neither(store: GrantStore) -> None:
    await store.open(grant(), code())
    with pytest.raises(KeyError):
        await store.open(grant("g2"), code(grant="g2"))  # the code is there
    with pytest.raises(KeyError):
        await store.open(grant(), code("bb"))  # the grant is there
    with pytest.raises(KeyError):
        await store.add(grant())
    assert await store.grants("local") == (grant(),)
    assert await store.redeem("local", "bb", NOW) is None
    assert await store.redeem("local", "aa", NOW) == code()


async def test_a_code_is_told_as_it_was_before(store: GrantStore) -> None:
    await store.open(grant(), code())
    assert await store.redeem("local", "aa", NOW + 1) == code()
    assert await store.redeem("local", "aa", NOW + 2) == replace(code(), used_at=NOW + 1)
    assert await store.redeem("local", "aa", NOW + 3) == replace(code(), used_at=NOW + 1)
    assert await store.redeem("local", "zz", NOW) is None
    assert await store.redeem("other", "aa", NOW) is None


async def test_of_many_who_redeem_one_code_at_once_exactly_one_wins(store: GrantStore) -> None:
    await store.open(grant(), code())
    found = await asyncio.gather(*(store.redeem("local", "aa", NOW + number) for number in range(20)))
    assert [row is not None and row.used_at is None for row in found].count(True) == 1


async def test_two_processes_on_one_file_redeem_a_code_once(tmp_path: Path) -> None:
    async with a_database(tmp_path) as one:
        other = await open_database(tmp_path / "hub.db")
        await SqliteGrants(one).open(grant(), code())
        stores = (SqliteGrants(one), SqliteGrants(other)) * 5
        found = await asyncio.gather(*(store.redeem("local", "aa", NOW) for store in stores))
        await other.aclose()
    assert [row is not None and row.used_at is None for row in found].count(True) == 1


async def test_a_rotation_compares_and_swaps(store: GrantStore) -> None:
    await store.add(grant())
    first, second = grant(refresh_sha256="r1"), grant(refresh_sha256="r2", previous_sha256="r1", used_at=NOW)
    assert await store.rotate(first, "r0") is False
    assert await store.rotate(first, None) is True
    assert await store.rotate(second, None) is False
    assert await store.rotate(second, "r1") is True
    assert await store.rotate(second, "r1") is False
    assert await store.rotate(replace(second, id="g9"), "r2") is False
    assert await store.grants("local") == (second,)


async def test_of_many_who_rotate_one_grant_at_once_one_wins(store: GrantStore) -> None:
    await store.add(grant(refresh_sha256="r0"))
    news = [grant(refresh_sha256=f"n{number}") for number in range(20)]
    done = await asyncio.gather(*(store.rotate(new, "r0") for new in news))
    assert done.count(True) == 1
    assert await store.grants("local") == (news[done.index(True)],)


async def test_what_is_revoked_is_not_rotated_back_to_life(store: GrantStore) -> None:
    await store.add(grant(refresh_sha256="r0"))
    await store.revoke("local", ("g1",), NOW, "user")
    assert await store.rotate(grant(refresh_sha256="r1"), "r0") is False
    assert await store.grants("local") == ()


async def test_a_first_revocation_stands(store: GrantStore) -> None:
    await store.add(grant())
    await store.add(grant("g2"))
    await store.revoke("local", ("g1", "nobody"), NOW - 3 * DAY, "user")
    await store.revoke("local", ("g1",), NOW, "admin")  # a later time would keep it from the sweep
    await store.revoke("other", ("g2",), NOW, "admin")
    assert await store.grants("local") == (grant("g2"),)
    assert await store.sweep("local", NOW - 2 * DAY) == 1


async def test_what_expired_within_a_day_is_still_told(store: GrantStore) -> None:
    late, old = grant("g1", expires_at=NOW - DAY + 1), grant("g2", expires_at=NOW - DAY - 1)
    await store.add(late)
    await store.add(old)
    assert await store.grants("local") == (late,)


async def test_a_sweep_takes_what_ended_and_counts_it(store: GrantStore) -> None:
    await store.open(grant(), code(expires_at=NOW - 1))
    await store.open(grant("g2", expires_at=NOW - 1), code("bb", "g2"))
    await store.open(grant("g3", expires_at=NOW - 1, tenant="other"), code("cc", "g3", "other", NOW - 1))
    assert await store.sweep("local", NOW) == 2
    assert await store.sweep("local", NOW) == 0
    assert await store.grants("local") == (grant(),)
    assert await store.redeem("local", "aa", NOW) is None
    assert await store.redeem("local", "bb", NOW) == code("bb", "g2")
    assert await store.sweep("other", NOW) == 2
