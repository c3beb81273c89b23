"""One's own connections: seen, named, chosen and removed by nobody but oneself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hub.core.connections import SHARED
from hub.identity.outbound.account import OwnConnections
from hub.identity.outbound.held import MAX_TOKEN, NeedsLogin, Tokens
from hub.identity.outbound.refresher import MAX_LABEL, MAX_OF_USER, Granted, Unusable
from tests.identity.outbound.holding import World, a_world, ask
from tests.identity.outbound.rotating import LIFE_S, granted


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


async def test_a_list_tells_what_people_may_know(world: World) -> None:
    hub = await world.hub()
    own = OwnConnections(hub)
    row = await world.log_in(hub, label="work", account="ann@example", scopes=("read",))
    await world.log_in(hub, "bob")
    (shown,) = own.of("ann")
    assert (shown.id, shown.server, shown.issuer, shown.label) == (row.id, "wiki", world.issuer.url, "work")
    assert (shown.account, shown.scopes, shown.state, shown.why) == ("ann@example", ("read",), "connected", None)
    assert shown.is_chosen
    assert shown.ends_at == shown.logged_in_at + LIFE_S
    assert own.get("ann", row.id) == shown
    world.issuer.revoke("ann")
    world.end_tokens()
    assert await ask(hub) == NeedsLogin("invalid_grant")
    (shown,) = own.of("ann")
    assert (shown.state, shown.why) == ("needs_login", str(NeedsLogin("invalid_grant")))
    assert own.of("bob")[0].state == "connected"


async def test_anothers_connection_is_like_none(world: World) -> None:
    hub = await world.hub()
    own = OwnConnections(hub)
    bobs, shared = await world.log_in(hub, "bob"), await world.log_in(hub, SHARED)
    for user, id in (("ann", bobs.id), ("ann", shared.id), (SHARED, shared.id), ("ann", "o0")):
        said = []
        for act in (own.rename(user, id, "x"), own.choose(user, id), own.remove(user, id)):
            with pytest.raises(Unusable) as caught:
                await act
            said.append(str(caught.value))
        with pytest.raises(Unusable) as caught:
            own.get(user, id)
        assert set(said) == {str(caught.value)}
        assert id not in said[0]
    assert own.of(SHARED) == ()
    assert await world.store.all("local") == (*sorted((bobs, shared), key=lambda row: row.id),)


async def test_the_account_chosen_last_is_used_and_never_another_in_its_place(world: World) -> None:
    hub = await world.hub()
    own = OwnConnections(hub)
    home = await hub.keep(granted(world.issuer.url, "ann", Tokens("home", None, LIFE_S), label="home"))
    assert await ask(hub) == "home"
    world.times.jump(-500)
    await hub.keep(granted(world.issuer.url, "ann", Tokens("work", None, 100 * LIFE_S), label="work"))
    assert await ask(hub) == "work"  # logging in chooses
    assert (await own.choose("ann", home.id)).is_chosen
    assert [(shown.label, shown.is_chosen) for shown in own.of("ann")] == [("home", True), ("work", False)]
    assert await ask(await world.hub()) == "home"
    world.end_tokens()
    assert await ask(hub) == NeedsLogin("expired")  # the other one still has a token
    await own.remove("ann", home.id)
    assert await ask(hub) == "work"


async def test_a_new_name_is_kept_and_no_two_are_alike(world: World) -> None:
    hub = await world.hub()
    own = OwnConnections(hub)
    row, other = await world.log_in(hub), await world.log_in(hub, label="work")
    assert (await own.rename("ann", row.id, "home")).label == "home"
    assert isinstance(await ask(await world.hub()), str)
    with pytest.raises(Unusable, match="has this name"):
        await own.rename("ann", other.id, "home")
    for label in ("x" * (MAX_LABEL + 1), "a\nb", " a", "a\u202eb"):
        with pytest.raises(Unusable, match="at most"):
            await own.rename("ann", other.id, label)
    assert sorted(shown.label for shown in own.of("ann")) == ["home", "work"]


async def test_a_login_under_the_same_name_takes_the_place_of_the_one_before(world: World) -> None:
    hub = await world.hub()
    first, second = await world.log_in(hub), await world.log_in(hub)
    assert second.id == first.id
    assert len(OwnConnections(hub).of("ann")) == 1
    assert world.told() == ["login", "login"]


async def test_what_is_removed_is_gone_and_told(world: World) -> None:
    hub = await world.hub()
    row = await world.log_in(hub)
    removed = await OwnConnections(hub).remove("ann", row.id)
    assert removed.id == row.id
    assert await ask(hub) == NeedsLogin("new")
    assert world.told() == ["login", "removed"]
    with pytest.raises(Unusable, match="no such connection"):
        await hub.rename(row.id, "x")


async def test_a_user_who_is_gone_leaves_nothing(world: World) -> None:
    hub, other = await world.hub(), await world.hub()
    for label in ("home", "work"):
        await world.log_in(hub, label=label)
    await world.log_in(hub, "bob")
    assert await hub.forget_user("ann") == 2
    await other.load()
    for each in (hub, other):
        assert await ask(each) == NeedsLogin("new")
        assert isinstance(await ask(each, "bob"), str)


async def test_what_cannot_be_kept_is_refused_and_quoted_nowhere(world: World) -> None:
    hub = await world.hub()
    good = granted(world.issuer.url, "ann", Tokens("a", "r", LIFE_S))
    wrong: tuple[Granted, ...] = (
        *(replace(good, tokens=Tokens(token)) for token in ("", "a\r\nx: y", "é", "x" * (MAX_TOKEN + 1))),
        replace(good, tokens=Tokens("a", "b\0")),
        replace(good, label="x" * 65),
        replace(good, resource="x" * 2049),
        replace(good, issuer="https://a\udc80"),
    )
    for each in wrong:
        with pytest.raises(Unusable) as caught:
            await hub.keep(each)
        assert "xxx" not in str(caught.value)
    assert await world.store.all("local") == ()


@pytest.mark.parametrize("life_s", [float("nan"), float("inf"), -5.0, 0.0, 1.0])
async def test_a_life_that_is_none_makes_nobody_ask_all_the_time(world: World, life_s: float) -> None:
    hub = await world.hub()
    await hub.keep(granted(world.issuer.url, "ann", Tokens("a", "r", life_s)))
    assert [await ask(hub) for _ in range(20)] == ["a"] * 20
    assert world.issuer.asked == []


async def test_one_user_fills_the_store_for_nobody_else(world: World) -> None:
    hub = await world.hub()
    for number in range(MAX_OF_USER):
        await hub.keep(granted(world.issuer.url, "ann", Tokens("a"), label=str(number)))
    with pytest.raises(Unusable, match="already"):
        await hub.keep(granted(world.issuer.url, "ann", Tokens("a"), label="more"))
    await hub.keep(granted(world.issuer.url, "ann", Tokens("b"), label="0"))
    await hub.keep(granted(world.issuer.url, "bob", Tokens("a"), label="more"))
