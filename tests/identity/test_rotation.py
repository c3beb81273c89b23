"""Keys that are replaced by others, and what is known of when they were used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta

import anyio
import pytest

from hub.core.ports import KeyRow
from hub.identity.keys import Keys, UnknownKey, token_hash
from hub.identity.tending import EXPIRES_SOON, tend, warn
from hub.stores.memory.keys import MemoryKeys

DAY = timedelta(days=1)


class Clock:
    now = 1_790_000_000.0  # 2026-09-21T14:13:20Z

    def __call__(self) -> float:
        return self.now


class BreakingKeys(MemoryKeys):
    """A store whose disk can be full; it notes what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.broken, self.asked = False, list[dict[str, str]]()

    async def used(self, tenant: str, at: Mapping[str, str]) -> None:
        self.asked.append(dict(at))
        if self.broken:
            raise OSError("disk full")
        await super().used(tenant, at)


async def fresh() -> tuple[Keys, BreakingKeys, Clock]:
    store, clock = BreakingKeys(), Clock()
    keys = Keys(store, clock)
    await keys.load()
    return keys, store, clock


def is_good(keys: Keys, key: str) -> bool:
    return keys.principal(token_hash(key)) is not None


async def test_both_keys_are_good_for_the_overlap_then_the_new_one_alone() -> None:
    keys, store, clock = await fresh()
    row, old = await keys.create("ci", ["admin", "mcp"], servers=["time"], tools=["time__*"])
    before, after, new = await keys.rotate("ci", DAY)
    assert (before.id, before.replaced_by, before.expires_at) == (row.id, after.id, "2026-09-22T14:13:20.000Z")
    assert (after.name, after.scopes, after.servers, after.tools) == ("ci", ("admin", "mcp"), ("time",), ("time__*",))
    assert (after.expires_at, after.replaced_by, after.last_used_at, after.revoked_at) == (None, None, None, None)
    assert new not in repr(after)
    again = Keys(store, clock)
    await again.load()
    for now in (keys, again):
        assert (is_good(now, old), is_good(now, new)) == (True, True)
    clock.now += 86_400
    for now in (keys, again):
        assert (is_good(now, old), is_good(now, new)) == (False, True)


async def test_a_successor_lives_as_long_as_the_key_was_made_for_and_never_lengthens_it() -> None:
    keys, _, clock = await fresh()
    await keys.create("ci", expires_in=timedelta(days=2))
    clock.now += 86_400 + 3600
    before, after, _ = await keys.rotate("ci", DAY)
    assert before.expires_at == "2026-09-23T14:13:20.000Z"  # its own end, sooner than the overlap's
    assert after.expires_at == "2026-09-24T15:13:20.000Z"
    _, other, _ = await keys.rotate("ci", DAY, timedelta(days=9))
    assert other.expires_at == "2026-10-01T15:13:20.000Z"


async def test_a_rotated_key_is_not_rotated_again_unless_its_successor_was_revoked() -> None:
    keys, _, _ = await fresh()
    first, _ = await keys.create("ci")
    _, second, new = await keys.rotate("ci", DAY)
    with pytest.raises(ValueError, match=f"its successor is {second.id}"):
        await keys.rotate(first.id, DAY)
    await keys.revoke(second.id)
    before, third, newest = await keys.rotate("ci", DAY)
    assert (before.id, before.replaced_by, third.expires_at) == (first.id, third.id, None)
    assert (is_good(keys, new), is_good(keys, newest)) == (False, True)


@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(days=-1), timedelta(days=31)])
async def test_an_overlap_has_bounds(overlap: timedelta) -> None:
    keys, _, _ = await fresh()
    await keys.create("ci")
    with pytest.raises(ValueError, match="at most 30d"):
        await keys.rotate("ci", overlap)
    assert len(keys.rows()) == 1


async def test_what_is_expired_revoked_or_unknown_is_not_rotated() -> None:
    keys, _, clock = await fresh()
    await keys.create("ci", expires_in=DAY)
    gone, _ = await keys.create("gone")
    await keys.revoke("gone")
    clock.now += 86_400
    with pytest.raises(ValueError, match="has expired: make a new one"):
        await keys.rotate("ci", DAY)
    for name in ("nobody", "gone", gone.id):
        with pytest.raises(UnknownKey):
            await keys.rotate(name, DAY)
    assert len(keys.rows()) == 2


async def test_a_key_that_another_process_changed_is_not_rotated() -> None:
    keys, store, _ = await fresh()
    row, _ = await keys.create("ci")
    await store.revoke("local", row.id, "2026-09-21T14:13:20.000Z")
    with pytest.raises(ValueError, match="changed meanwhile"):
        await keys.rotate("ci", DAY)
    assert len(keys.rows()) == 1


async def test_a_name_means_every_key_of_it_that_is_good_an_id_the_one() -> None:
    keys, _, clock = await fresh()
    first, _ = await keys.create("ci")
    _, second, _ = await keys.rotate("ci", DAY)
    await keys.create("other")
    assert [row.id for row in keys.meant("ci")] == [second.id, first.id]
    assert [row.id for row in keys.meant(first.id)] == [first.id]
    clock.now += 2 * 86_400
    assert [row.id for row in keys.meant("ci")] == [second.id]
    with pytest.raises(UnknownKey):
        keys.meant("nobody")


async def test_a_last_use_is_told_to_the_minute_at_once_and_stored_in_one_write() -> None:
    keys, store, clock = await fresh()
    _, one = await keys.create("one")
    _, two = await keys.create("two")
    await keys.create("idle")
    for _ in range(3):
        assert is_good(keys, one)
    assert is_good(keys, two)
    told = ["2026-09-21T14:13:00.000Z", "2026-09-21T14:13:00.000Z", None]
    assert [row.last_used_at for row in keys.rows()] == told
    assert store.asked == []
    await keys.flush()
    assert [row.last_used_at for row in await store.all("local")] == told
    clock.now += 39  # the same minute: nothing new to tell
    assert is_good(keys, one)
    await keys.flush()
    clock.now += 1
    assert is_good(keys, one)
    await keys.flush()
    await keys.flush()
    assert [len(asked) for asked in store.asked] == [2, 1]
    assert keys.rows()[0].last_used_at == "2026-09-21T14:14:00.000Z"


async def test_a_refused_key_was_not_used() -> None:
    keys, _, clock = await fresh()
    _, key = await keys.create("ci", expires_in=DAY)
    clock.now += 86_400
    assert not is_good(keys, key)
    assert keys.principal("0" * 64) is None
    assert keys.rows()[0].last_used_at is None


async def test_a_last_use_that_could_not_be_stored_is_stored_later() -> None:
    keys, store, _ = await fresh()
    _, key = await keys.create("ci")
    assert is_good(keys, key)
    store.broken = True
    with pytest.raises(OSError, match="full"):
        await keys.flush()
    assert keys.rows()[0].last_used_at == "2026-09-21T14:13:00.000Z"
    store.broken = False
    await keys.flush()
    assert (await store.all("local"))[0].last_used_at == "2026-09-21T14:13:00.000Z"


async def test_keys_that_end_soon_and_have_no_successor_are_told_apart() -> None:
    keys, _, clock = await fresh()
    await keys.create("soon", expires_in=timedelta(days=7))
    await keys.create("later", expires_in=timedelta(days=8))
    await keys.create("never")
    for name in ("revoked", "rotated", "over"):
        await keys.create(name, expires_in=DAY)
    await keys.revoke("revoked")
    await keys.rotate("rotated", DAY, timedelta(days=30))
    assert [row.name for row in keys.expiring(EXPIRES_SOON)] == ["soon", "over"]
    clock.now += 86_400
    assert [row.name for row in keys.expiring(EXPIRES_SOON)] == ["soon", "later"]


async def test_a_key_that_ends_soon_is_warned_of_with_the_next_step(caplog: pytest.LogCaptureFixture) -> None:
    keys, _, _ = await fresh()
    _, key = await keys.create("ci", expires_in=DAY)
    with caplog.at_level(logging.WARNING):
        warn(keys)
    [record] = caplog.records
    assert "mcp-hub keys rotate ci" in record.getMessage()
    assert key not in record.getMessage()


async def test_while_the_hub_runs_uses_are_stored_and_a_warning_comes_once_a_day(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys, store, _ = await fresh()
    _, key = await keys.create("ci", expires_in=DAY)
    assert is_good(keys, key)
    store.broken = True
    now = [0.0]

    async def reaches(done: int) -> None:
        with anyio.fail_after(5):
            while len(store.asked) < done:
                await asyncio.sleep(0.001)

    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(tend(keys, 0.001, lambda: now[0]))
        try:
            await reaches(3)  # a full disk does not end it
            now[0] = 86_400.0
            await reaches(len(store.asked) + 2)
            store.broken = False
            with anyio.fail_after(5):
                while (await store.all("local"))[0].last_used_at is None:
                    await asyncio.sleep(0.001)
        finally:
            task.cancel()
            await asyncio.wait({task})
    told = [record.getMessage() for record in caplog.records]
    assert len([text for text in told if "expires at" in text]) == 2
    assert any("disk full" in text for text in told)


async def test_a_rotation_keeps_what_was_noted_of_the_old_key() -> None:
    keys, store, _ = await fresh()
    _, key = await keys.create("ci")
    assert is_good(keys, key)
    await keys.flush()
    await keys.rotate("ci", DAY)
    old: KeyRow = (await store.all("local"))[0]
    assert old.last_used_at == keys.rows()[0].last_used_at == "2026-09-21T14:13:00.000Z"
