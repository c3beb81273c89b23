"""Tokens for downstreams: one renewal for all who wait, nothing lost on a bad day, and everybody's own login only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.connections import SHARED, ConnectionRow, RegistrationRow
from hub.core.errors import HubError
from hub.identity.outbound.held import (
    NeedsLogin,
    NotNow,
    Tokens,
    opened_secret,
    opened_tokens,
    sealed_secret,
    sealed_tokens,
)
from hub.identity.outbound.refresher import Unusable
from hub.stores.memory.connections import MemoryConnections
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import open_database
from tests.contracts.stores import a_database
from tests.identity.outbound.holding import SEALER, WAIT_S, World, a_world, ask, shared_with, until
from tests.identity.outbound.rotating import LIFE_S, RESOURCE, Stage, granted


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


async def test_a_fresh_token_is_given_without_asking_anybody(world: World) -> None:
    hub = await world.hub()
    assert await ask(hub) == NeedsLogin("new")
    await world.log_in(hub)
    token = await ask(hub)
    assert isinstance(token, str)
    assert world.issuer.whose(token) == "ann"
    assert await ask(await world.hub()) == token  # another one on the same store
    assert world.issuer.asked == []


async def test_50_callers_at_one_expiry_cause_one_refresh(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    old = await ask(hub)
    world.end_tokens()
    tokens = await asyncio.gather(*(ask(hub) for _ in range(50)))
    assert len(set(tokens)) == 1
    assert tokens[0] != old
    assert world.issuer.whose(str(tokens[0])) == "ann"
    assert len(world.issuer.asked) == 1


async def test_50_callers_with_one_refused_token_cause_one_refresh(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    old = str(await ask(hub))
    tokens = await asyncio.gather(*(hub.refused("wiki", "ann", RESOURCE, old) for _ in range(50)))
    late = await hub.refused("wiki", "ann", RESOURCE, old)  # its answer took longer than the renewal
    assert set(tokens) == {late}
    assert world.issuer.whose(str(late)) == "ann"
    assert len(world.issuer.asked) == 1


async def test_a_token_near_its_end_is_replaced_while_the_old_one_serves(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    old = await ask(hub)
    world.near_end()
    release = asyncio.Event()

    async def held(stage: Stage) -> None:
        await release.wait()

    world.issuer.at = held
    assert [await ask(hub) for _ in range(10)] == [old] * 10
    await until(lambda: len(world.issuer.asked) == 1)
    release.set()
    await until(lambda: "renewed" in world.told())
    assert await ask(hub) != old
    assert len(world.issuer.asked) == 1


async def test_what_is_used_is_renewed_by_itself_and_what_is_idle_is_not(world: World) -> None:
    hub = await world.hub()
    for user in ("ann", "bob"):
        await world.log_in(hub, user)
    await ask(hub, "ann")
    world.near_end()
    hub.renew_due()
    await until(lambda: "renewed" in world.told())
    hub.renew_due()
    assert [token.split("-")[1] for token in world.issuer.asked] == ["ann"]


async def test_tending_looks_again_and_again_and_sees_what_others_wrote(world: World) -> None:
    passed = asyncio.Event()

    async def pause(seconds: float) -> None:
        world.times.pass_by(seconds)
        passed.set()
        await asyncio.sleep(0)

    hub, other = await world.hub(pause=pause), await world.hub()
    await world.log_in(other)
    tending = asyncio.create_task(hub.tend())
    await until(lambda: hub.chosen("wiki", "ann", RESOURCE) is not None)
    await ask(hub)
    world.times.pass_by(0.8 * LIFE_S)
    await until(lambda: len(world.issuer.asked) == 1)
    tending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tending


@pytest.mark.parametrize("fault", [(500, "x"), (503, "x"), (429, "slow_down"), (400, "temporarily_unavailable")])
async def test_an_issuer_that_cannot_answer_costs_no_login(world: World, fault: tuple[int, str]) -> None:
    hub = await world.hub()
    row = await world.log_in(hub)
    old = await ask(hub)
    world.issuer.fault = fault
    world.near_end()
    assert await ask(hub) == old
    await until(lambda: len(world.issuer.asked) == 1)
    await until(lambda: "renewal of" not in str(asyncio.all_tasks()))
    assert await ask(hub) == old  # to its end
    world.end_tokens()
    assert isinstance(await ask(hub), NotNow)
    asked = len(world.issuer.asked)
    assert [type(answer) for answer in await asyncio.gather(*(ask(hub) for _ in range(50)))] == [NotNow] * 50
    assert len(world.issuer.asked) == asked  # it is not asked again at once
    stored = await world.store.one("local", row.id)
    assert stored is not None
    assert stored.ended is None
    world.issuer.fault = None
    world.times.pass_by(300)
    assert world.issuer.whose(str(await ask(hub))) == "ann"


async def test_an_issuer_that_is_away_costs_no_login(world: World) -> None:
    hub = await world.hub()
    row = await world.log_in(hub)
    world.issuer.down()
    world.end_tokens()
    assert isinstance(await ask(hub), NotNow)
    assert isinstance(await hub.refused("wiki", "ann", RESOURCE, "another"), NotNow)
    stored = await world.store.one("local", row.id)
    assert stored is not None
    held = opened_tokens(SEALER, stored)
    assert held is not None
    assert held.refresh is not None
    assert (stored.ended, stored.renewing_by) == (None, None)


async def test_what_an_issuer_ends_needs_a_login_of_that_user_only(world: World) -> None:
    hub = await world.hub()
    for user in ("ann", "bob", SHARED):
        await world.log_in(hub, user)
    world.issuer.revoke("ann")
    world.end_tokens()
    assert await ask(hub, "ann") == NeedsLogin("invalid_grant")
    for user in ("bob", SHARED):
        assert world.issuer.whose(str(await ask(hub, user))) == user
    asked = len(world.issuer.asked)
    assert await ask(await world.hub(), "ann") == NeedsLogin("invalid_grant")  # it is written down
    assert len(world.issuer.asked) == asked
    assert [(change.user, change.what) for change in world.changes if change.what == "needs_login"] == [
        ("ann", "needs_login")
    ]
    await world.log_in(hub, "ann")
    assert world.issuer.whose(str(await ask(hub, "ann"))) == "ann"


async def test_a_login_meanwhile_is_not_ended_by_the_refusal_of_the_one_before(world: World) -> None:
    hub, other = await world.hub(), await world.hub()
    await world.log_in(hub)
    world.issuer.revoke("ann")
    world.end_tokens()

    async def again(stage: Stage) -> None:
        if stage == "rotated":
            await world.log_in(other)

    world.issuer.at = again
    assert world.issuer.whose(str(await ask(hub))) == "ann"
    assert "needs_login" not in world.told()


async def test_a_login_meanwhile_stays_when_the_old_one_is_renewed(world: World) -> None:
    hub, other = await world.hub(), await world.hub()
    await world.log_in(hub)
    world.end_tokens()
    new = Tokens("access-new", "refresh-new", LIFE_S)

    async def again(stage: Stage) -> None:
        if stage == "rotated":
            await other.keep(granted(world.issuer.url, "ann", new))

    world.issuer.at = again
    assert await ask(hub) == "access-new"
    assert await ask(await world.hub()) == "access-new"


class Slow(MemoryConnections):
    """A store whose lists are read a while before they are told, while `told` is set to an event."""

    told: asyncio.Event | None = None

    async def all(self, tenant: str) -> tuple[ConnectionRow, ...]:
        found = await super().all(tenant)
        if self.told is not None:
            await self.told.wait()
        return found


async def test_what_changes_while_all_is_read_is_newer_than_what_was_read(world: World) -> None:
    world.store = store = Slow()
    hub = await world.hub()
    gone, other = await world.log_in(hub, label="gone"), await world.log_in(hub, label="old name")
    store.told = asyncio.Event()
    loading = asyncio.create_task(hub.load())
    await asyncio.sleep(0)
    await hub.remove(gone.id)
    await hub.rename(other.id, "new name")
    store.told.set()
    await loading
    assert [row.label for row in hub.of("ann")] == ["new name"]


async def test_a_logout_meanwhile_is_not_undone_by_the_answer(world: World) -> None:
    hub, other = await world.hub(), await world.hub()
    row = await world.log_in(hub)
    world.end_tokens()

    async def away(stage: Stage) -> None:
        if stage == "rotated":
            await other.remove(row.id)

    world.issuer.at = away
    assert await ask(hub) == NeedsLogin("new")
    assert await world.store.all("local") == ()


async def test_a_new_name_meanwhile_is_kept_with_the_new_token(world: World) -> None:
    hub, other = await world.hub(), await world.hub()
    row = await world.log_in(hub)
    world.end_tokens()

    async def rename(stage: Stage) -> None:
        if stage == "rotated":
            await other.rename(row.id, "work")

    world.issuer.at = rename
    assert world.issuer.whose(str(await ask(hub))) == "ann"
    now = hub.get(row.id)
    assert now is not None
    assert now == await world.store.one("local", row.id)
    assert now.label == "work"


async def test_two_hubs_on_one_database_renew_a_strict_login_once(world: World, tmp_path: Path) -> None:
    async with a_database(tmp_path) as one:
        two = await open_database(tmp_path / "hub.db")
        first = await world.hub(SqliteConnections(one))
        await world.log_in(first)
        second = await world.hub(SqliteConnections(two))
        for number in range(1, 6):
            world.end_tokens()
            both = (first, second) * 25
            tokens = set(await asyncio.gather(*(ask(hub) for hub in both)))
            assert len(tokens) == 1
            assert world.issuer.whose(str(tokens.pop())) == "ann"
            assert len(world.issuer.asked) == number
        await asyncio.gather(first.aclose(), second.aclose())
        await two.aclose()


async def test_the_mark_of_a_hub_that_is_gone_holds_nobody_up_for_long(world: World) -> None:
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        world.times.pass_by(seconds)
        await asyncio.sleep(0)

    row = await world.log_in(await world.hub())
    world.end_tokens()
    await marked_by_another(world, row.id, 20.0)
    assert world.issuer.whose(str(await ask(await world.hub(pause=pause)))) == "ann"
    assert 19 < sum(waited) < 21


@pytest.mark.parametrize("until_s", [-1.0, 0.0, 26.0, 1e9])
async def test_a_mark_that_no_clock_could_have_made_holds_nobody_up(world: World, until_s: float) -> None:
    row = await world.log_in(await world.hub())
    world.end_tokens()
    await marked_by_another(world, row.id, until_s)
    assert world.issuer.whose(str(await ask(await world.hub()))) == "ann"


async def test_a_hub_that_is_alone_waits_for_nobody(world: World) -> None:
    row = await world.log_in(await world.hub())
    world.end_tokens()
    await marked_by_another(world, row.id, 20.0)
    assert world.issuer.whose(str(await ask(await world.hub(alone=True)))) == "ann"


async def marked_by_another(world: World, id: str, until_s: float) -> None:
    row = await world.store.one("local", id)
    assert row is not None
    held = opened_tokens(SEALER, row)
    assert held is not None
    marked = replace(row, version=2, renewing_by="other", renewing_until=world.times.wall() + until_s)
    await world.store.put(replace(marked, sealed=sealed_tokens(SEALER, marked, held.access, held.refresh)), 1)


@pytest.mark.parametrize("jump_s", [-86_400.0, -3600.0, 3600.0, 86_400.0, 1e9])
async def test_a_clock_that_jumps_costs_one_refresh_and_no_login(world: World, jump_s: float) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    await ask(hub)
    world.times.jump(jump_s)
    for _ in range(5):
        assert isinstance(await ask(hub), str)
        await until(lambda: "renewed" in world.told())
    assert len(world.issuer.asked) == 1
    token = await ask(hub)
    world.times.pass_by(LIFE_S)
    assert await ask(hub) != token
    assert len(world.issuer.asked) == 2


async def test_a_clock_that_is_put_back_makes_no_token_last_longer(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    old = await ask(hub)
    world.times.pass_by(LIFE_S)
    world.times.jump(-LIFE_S / 2)
    assert await ask(hub) != old


async def test_a_token_refused_twice_in_a_row_needs_a_login_of_that_user_only(world: World) -> None:
    hub = await world.hub()
    for user in ("ann", "bob"):
        await world.log_in(hub, user)
    first = str(await ask(hub))
    second = await hub.refused("wiki", "ann", RESOURCE, first)
    assert isinstance(second, str)
    assert await hub.refused("wiki", "ann", RESOURCE, second) == NeedsLogin("rejected")
    assert await ask(hub) == NeedsLogin("rejected")
    assert isinstance(await ask(hub, "bob"), str)
    assert len(world.issuer.asked) == 1


async def test_a_refused_token_that_nothing_renews_needs_a_login(world: World) -> None:
    hub = await world.hub()
    await hub.keep(granted(world.issuer.url, "ann", Tokens("only", None, LIFE_S)))
    assert await ask(hub) == "only"
    world.near_end()
    assert await ask(hub) == "only"
    world.end_tokens()
    assert await ask(hub) == NeedsLogin("expired")
    await hub.keep(granted(world.issuer.url, "ann", Tokens("next", None, None)))
    world.times.pass_by(100 * LIFE_S)
    assert await ask(hub) == "next"  # its issuer told no end
    assert await hub.refused("wiki", "ann", RESOURCE, "next") == NeedsLogin("rejected")
    assert world.issuer.asked == []


async def test_a_hub_unknown_to_the_issuer_registers_anew_and_keeps_the_others_secret(world: World) -> None:
    hub = await world.hub()
    for user in ("ann", "bob"):
        await world.log_in(hub, user)
    row = RegistrationRow("local", world.issuer.url, "hub", "dynamic", {}, world.times.wall())
    await world.store.put_registration(replace(row, sealed=sealed_secret(SEALER, row, "s3")), None)
    world.issuer.fault = (401, "invalid_client")
    world.end_tokens()
    assert await ask(hub) == NeedsLogin("invalid_client")
    (found,) = await world.store.registrations("local")
    assert found.refused_at == world.times.wall()
    assert opened_secret(SEALER, found) == "s3"
    world.issuer.fault = None
    assert world.issuer.whose(str(await ask(hub, "bob"))) == "bob"


@pytest.mark.parametrize("error", ["unauthorized_client", "invalid_scope", "invalid_target", "unsupported_grant_type"])
async def test_a_final_refusal_needs_a_login_once_the_token_has_ended(world: World, error: str) -> None:
    hub = await world.hub()
    row = await world.log_in(hub)
    old = await ask(hub)
    world.issuer.fault = (400, error)
    world.near_end()
    assert await ask(hub) == old
    await until(lambda: len(world.issuer.asked) == 1)
    world.end_tokens()
    assert await ask(hub) == NeedsLogin("expired")
    stored = await world.store.one("local", row.id)
    assert stored is not None
    assert stored.ended is None
    world.issuer.fault = None  # whoever runs the issuer has put it right
    world.times.pass_by(300)
    assert world.issuer.whose(str(await ask(hub))) == "ann"


class Stuck(MemoryConnections):
    """A store whose disk is full while `is_full`."""

    is_full = False

    async def put(self, row, expected) -> None:  # type: ignore[no-untyped-def]
        if self.is_full:
            raise HubError("the disk is full")
        await super().put(row, expected)


async def test_an_answer_that_cannot_be_stored_is_used_and_stored_later(world: World) -> None:
    world.store = store = Stuck()
    hub = await world.hub()
    row = await world.log_in(hub)
    world.end_tokens()

    async def fill(stage: Stage) -> None:
        store.is_full = stage != "answered" or store.is_full

    world.issuer.at = fill
    token = await ask(hub)
    assert world.issuer.whose(str(token)) == "ann"
    await hub.load()
    assert await ask(hub) == token
    store.is_full = False
    renamed = await hub.rename(row.id, "work")  # over what the store still holds
    assert (renamed.label, await ask(hub)) == ("work", token)
    await hub.aclose()
    assert await ask(await world.hub()) == token
    assert len(world.issuer.asked) == 1


async def test_nothing_is_asked_that_could_not_be_stored(world: World) -> None:
    world.store = store = Stuck()
    hub = await world.hub()
    await world.log_in(hub)
    world.end_tokens()
    store.is_full = True
    assert await ask(hub) == NotNow("the disk is full")
    assert world.issuer.asked == []


async def test_a_caller_that_goes_away_takes_nothing_from_the_others(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    world.end_tokens()
    release = asyncio.Event()

    async def held(stage: Stage) -> None:
        await release.wait()

    world.issuer.at = held
    first, second = asyncio.create_task(ask(hub)), asyncio.create_task(ask(hub))
    await until(lambda: len(world.issuer.asked) == 1)
    first.cancel()
    release.set()
    assert world.issuer.whose(str(await asyncio.wait_for(second, WAIT_S))) == "ann"
    assert first.cancelled()
    assert len(world.issuer.asked) == 1


async def test_a_hub_that_stops_waits_for_the_answer_and_writes_it(world: World) -> None:
    hub = await world.hub()
    await world.log_in(hub)
    old = await ask(hub)
    world.near_end()
    release = asyncio.Event()

    async def held(stage: Stage) -> None:
        await release.wait()

    world.issuer.at = held
    assert await ask(hub) == old
    await until(lambda: len(world.issuer.asked) == 1)
    closing = asyncio.create_task(hub.aclose())
    release.set()
    await asyncio.wait_for(closing, WAIT_S)
    token = await ask(await world.hub())
    assert token != old
    assert world.issuer.whose(str(token)) == "ann"


async def test_sealed_tokens_in_anothers_row_open_for_nobody(world: World) -> None:
    hub = await world.hub()
    ann, bob = await world.log_in(hub, "ann"), await world.log_in(hub, "bob")
    await shared_with(world.store, ann, sealed=bob.sealed)
    await shared_with(world.store, bob, version=2)  # and under another version
    fresh = await world.hub()
    assert [await ask(fresh, user) for user in ("ann", "bob")] == [NeedsLogin("unreadable")] * 2
    with pytest.raises(Unusable, match="does not open"):
        await fresh.rename(ann.id, "x")
    await world.log_in(fresh, "ann")
    assert world.issuer.whose(str(await ask(fresh, "ann"))) == "ann"
    assert world.issuer.asked == []


async def test_no_token_stands_in_the_store_a_name_or_a_log(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with a_database(tmp_path) as database:
        hub = await world.hub(SqliteConnections(database))
        row = await world.log_in(hub)
        world.end_tokens()
        token = str(await ask(hub))
        world.issuer.fault = (400, "invalid_grant")
        world.end_tokens()
        assert await ask(hub) == NeedsLogin("invalid_grant")
        stored = await SqliteConnections(database).all("local")
        await hub.aclose()
    disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    seen = f"{row!r}{stored!r}{Tokens(token, token)!r}{world.changes!r}{caplog.text}{disk!r}"
    assert "access-" not in seen
    assert "refresh-" not in seen
    assert "needs a login" in caplog.text
