from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import anyio
import pytest

from hub.core.call import Grants
from hub.core.ports import KeyRow
from hub.identity.keys import Keys, UnknownKey, parse_expiry, token_hash
from hub.stores.memory.keys import MemoryKeys


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


async def fresh() -> tuple[Keys, MemoryKeys, Clock]:
    store, clock = MemoryKeys(), Clock()
    keys = Keys(store, clock)
    await keys.load()
    return keys, store, clock


async def test_a_new_key_is_in_force_at_once_and_kept_only_as_a_hash() -> None:
    keys, store, _ = await fresh()
    row, key = await keys.create("ci", servers=["time", "time", "git"], tools=["time__*"])
    assert re.fullmatch(r"mhk_[A-Za-z0-9_-]{43}", key)
    assert await store.all("local") == (row,) == keys.rows()
    assert key not in repr(row)
    assert row.sha256 == token_hash(key)
    assert (row.scopes, row.created_at, row.expires_at) == (("mcp",), "2026-09-21T14:13:20.000Z", None)
    who = keys.principal(token_hash(key))
    assert who is not None
    assert (who.name, who.tenant, who.credential) == ("key:ci", "local", f"key:{row.id}")
    assert who.grants == Grants(frozenset({"time", "git"}), ("time__*",))
    assert keys.principal(token_hash(key)) is who


async def test_a_key_with_neither_server_nor_tool_is_granted_nothing() -> None:
    keys, _, _ = await fresh()
    _, key = await keys.create("ci")
    who = keys.principal(token_hash(key))
    assert who is not None
    assert who.grants == Grants(None, None)


async def test_a_key_ends_when_its_time_is_over() -> None:
    keys, _, clock = await fresh()
    row, key = await keys.create("ci", expires_in=parse_expiry("90m"))
    assert row.expires_at == "2026-09-21T15:43:20.000Z"
    clock.now += 90 * 60 - 0.01
    assert keys.principal(token_hash(key)) is not None
    clock.now += 0.01
    assert keys.principal(token_hash(key)) is None
    again, _ = await keys.create("ci")
    assert again.id != row.id
    assert (await keys.revoke("ci")).id == again.id


@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_revoked_key_is_refused_at_once_and_after_a_restart(by: str) -> None:
    keys, store, clock = await fresh()
    row, key = await keys.create("ci", ["mcp", "admin"])
    _, other = await keys.create("other")
    gone = await keys.revoke(getattr(row, by))
    assert gone.revoked_at == "2026-09-21T14:13:20.000Z"
    for now in (keys, Keys(store, clock)):
        await now.load()
        assert now.principal(token_hash(key)) is None
        assert now.principal(token_hash(other)) is not None
    with pytest.raises(UnknownKey):
        await keys.revoke(getattr(row, by))
    assert (await keys.create("ci"))[0].name == "ci"


async def test_a_name_that_is_taken_is_refused_in_words() -> None:
    keys, _, _ = await fresh()
    await keys.create("ci")
    with pytest.raises(ValueError, match="revoke it first"):
        await keys.create("ci")
    assert len(keys.rows()) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "no name"),
        ({"name": "a b"}, "no name"),
        ({"name": "a\n"}, "no name"),
        ({"name": "x" * 65}, "at most 64"),
        ({"scopes": ["root"]}, "'root' is no scope: there are admin, audit:read, mcp"),
        ({"scopes": []}, "needs a scope"),
        ({"servers": ["Time"]}, "'Time' is no server"),
        ({"servers": ["*x"]}, "no server"),
        ({"servers": []}, "leaves it out"),
        ({"tools": ["a b"]}, "no tool"),
        ({"tools": ["x" * 129]}, "no tool"),
        ({"tools": ["x"] * 257}, "between 1 and 256"),
        ({"expires_in": timedelta(0)}, "future"),
        ({"expires_in": timedelta(days=-1)}, "future"),
        ({"expires_in": timedelta(days=999_999)}, "99999 days"),
    ],
)
async def test_what_is_not_well_formed_makes_no_key(given: dict[str, Any], words: str) -> None:
    keys, store, _ = await fresh()
    with pytest.raises(ValueError, match=re.escape(words)):
        await keys.create(**{"name": "ci", **given})
    assert await store.all("local") == ()


class SlowKeys(MemoryKeys):
    """Writes that wait for a gate, and that can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def _pass(self) -> None:
        self.reached.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def add(self, row: KeyRow) -> None:
        await self._pass()
        await super().add(row)

    async def revoke(self, tenant: str, id: str, at: str) -> None:
        await self._pass()
        await super().revoke(tenant, id, at)


async def cancelled_while_storing(store: SlowKeys, work: Any, *given: Any) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, *given)
        with anyio.fail_after(5):
            await store.reached.wait()
        tasks.cancel_scope.cancel()
        store.gate.set()


async def test_a_caller_who_goes_away_leaves_a_key_that_can_be_revoked() -> None:
    store = SlowKeys()
    keys = Keys(store, Clock())
    await cancelled_while_storing(store, keys.create, "ci")
    assert [row.name for row in keys.rows()] == [row.name for row in await store.all("local")] == ["ci"]
    assert (await keys.revoke("ci")).name == "ci"


async def test_a_revocation_is_seen_through_when_its_caller_goes_away() -> None:
    store = SlowKeys()
    keys = Keys(store, Clock())
    store.gate.set()
    _, key = await keys.create("ci")
    store.gate.clear()
    store.reached.clear()
    await cancelled_while_storing(store, keys.revoke, "ci")
    assert keys.principal(token_hash(key)) is None
    assert keys.rows()[0].revoked_at is not None
    assert (await store.all("local"))[0].revoked_at is not None


async def test_a_key_whose_revocation_failed_to_be_stored_stays_refused_and_can_be_revoked_again() -> None:
    store = SlowKeys()
    store.gate.set()
    keys = Keys(store, Clock())
    _, key = await keys.create("ci")
    store.error = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        await keys.revoke("ci")
    store.error = None
    await keys.create("other")
    assert keys.principal(token_hash(key)) is None
    await keys.revoke("ci")
    assert (await store.all("local"))[0].revoked_at is not None


async def test_a_key_that_could_not_be_stored_does_not_exist() -> None:
    store = SlowKeys()
    store.gate.set()
    store.error = OSError("disk")
    keys = Keys(store, Clock())
    with pytest.raises(OSError, match="disk"):
        await keys.create("ci")
    assert keys.rows() == ()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("99999d", timedelta(days=99_999)),
    ],
)
def test_an_expiry_is_read(text: str, span: timedelta) -> None:
    assert parse_expiry(text) == span


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "1.5h", "30 d", "30D", "100000d", "1d\n", "٣d", "1d1h"])
def test_what_is_no_expiry_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="30d, 12h or 90m"):
        parse_expiry(text)


async def test_scopes_are_a_set() -> None:
    keys, _, _ = await fresh()
    assert (await keys.create("ci", ["mcp", "admin", "mcp"]))[0].scopes == ("admin", "mcp")
