"""Links of accounts: opened once, never under another account, closed when nobody uses them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from time import monotonic

import pytest

from hub.core.connections import ServerAuth
from hub.core.errors import Lost, NeedsLogin, Unreachable
from hub.downstream.credential import Credential
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link, LinkEvents, ServerSpec
from hub.downstream.personal_links import PersonalOpener
from tests.downstream.accounts import accounts, said
from tests.downstream.raw_http import until


async def test_each_account_speaks_with_its_own_token_on_a_link_of_its_own() -> None:
    async with accounts() as rig:
        assert rig.links.link("peer", "ada") is None
        assert [await rig.call(account) for account in ("ada", "bob", "ada")] == ["ada:1", "bob:1", "ada:1"]
        assert rig.up == [("peer", "ada"), ("peer", "bob")]
        assert rig.peer.count("server/discover") == 2
        assert rig.links.link("peer", "ada") is not rig.links.link("peer", "bob")
        with pytest.raises(NeedsLogin):
            await rig.call("mallory")


async def test_all_who_wait_share_one_opening_and_one_who_leaves_ends_it_for_nobody() -> None:
    async with accounts() as rig:
        rig.peer.gates["server/discover"] = asyncio.Event()
        first, *others = [asyncio.create_task(rig.call("ada")) for _ in range(20)]
        await until(lambda: rig.peer.count("server/discover"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(Unreachable, match="still connecting"):
            await rig.call("ada", within_s=0.01)
        rig.peer.gates["server/discover"].set()
        assert await asyncio.gather(*others) == ["ada:1"] * 19
        assert rig.peer.count("server/discover") == 1


async def test_an_opening_ends_in_the_time_its_server_has_for_it() -> None:
    async with accounts() as rig:
        rig.specs["peer"] = replace(rig.spec, timeouts=replace(rig.spec.timeouts, connect_s=0.1, initialize_s=0.1))
        rig.peer.gates["server/discover"] = asyncio.Event()
        began = monotonic()
        with pytest.raises(Unreachable):
            await rig.call("ada", within_s=30.0)
        assert monotonic() - began < 3.0


async def test_the_link_idle_for_longest_makes_room_and_a_busy_one_never_does() -> None:
    async with accounts(most=2) as rig:
        await rig.call("ada")
        await rig.call("bob")
        await rig.call("ada")
        await rig.call("eve")
        assert rig.links.link("peer", "bob") is None
        assert rig.links.link("peer", "ada") is not None
        rig.peer.gates["tools/call"] = asyncio.Event()
        busy = [asyncio.create_task(rig.call(account)) for account in ("ada", "eve")]
        await until(lambda: rig.peer.count("tools/call") == 6)
        with pytest.raises(Unreachable, match="all 2 links"):
            await rig.call("bob")
        rig.peer.gates["tools/call"].set()
        assert await asyncio.gather(*busy) == ["ada:1", "eve:1"]
        assert await rig.call("bob") == "bob:1"


async def test_an_idle_link_is_closed_and_one_with_a_call_is_not() -> None:
    async with accounts(idle_s=0.1) as rig:
        await rig.call("ada")
        rig.peer.gates["tools/call"] = asyncio.Event()
        busy = asyncio.create_task(rig.call("bob"))
        await until(lambda: rig.links.link("peer", "bob") and rig.peer.raw.open == 1)
        assert rig.links.link("peer", "ada") is None
        rig.peer.gates["tools/call"].set()
        assert await busy == "bob:1"
        await until(lambda: rig.peer.raw.open == 0)
        assert await rig.call("ada") == "ada:1"


async def test_a_link_that_somebody_listens_to_is_not_idle() -> None:
    listening = {("peer", "ada")}
    async with accounts(idle_s=0.1, is_heard=lambda server, account: (server, account) in listening) as rig:
        await rig.call("ada")
        await rig.call("bob")
        await until(lambda: rig.peer.raw.open == 1)
        assert ("peer", "ada") in rig.links._owned
        listening.clear()
        await until(lambda: rig.peer.raw.open == 0)


async def test_a_server_that_is_away_is_not_asked_by_every_call() -> None:
    async with accounts() as rig:
        rig.links._clock = rig.clock
        rig.peer.away = True
        pauses = []
        for _ in range(9):
            asked = rig.peer.count("server/discover")
            for _ in range(3):
                with pytest.raises(Unreachable) as failed:
                    await rig.call("ada")
            assert rig.peer.count("server/discover") == asked + 1
            pauses.append(float(failed.value.text.rpartition("in ")[2].removesuffix(" s)")))
            rig.now += pauses[-1]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        rig.peer.away = False
        assert await rig.call("ada") == "ada:1"
        rig.peer.away = True
        assert rig.links.link("peer", "bob") is None  # what failed is the account's link: others try for themselves
        with pytest.raises(Unreachable, match="503"):
            await rig.call("bob")


async def broken(spec: ServerSpec, events: LinkEvents, credential: Credential) -> Link:
    raise ValueError("secret")


async def stillborn(spec: ServerSpec, events: LinkEvents, credential: Credential) -> Link:
    link = await HttpOpener()(spec, events, credential)
    events.closed("it fell at once")
    return link


@pytest.mark.parametrize(("opener", "words"), [(broken, "ValueError"), (stillborn, "it fell at once")])
async def test_whatever_an_opening_meets_is_told_in_words_and_leaves_nothing(
    opener: PersonalOpener, words: str
) -> None:
    async with accounts(opener=opener) as rig:
        for _ in range(2):
            with pytest.raises(Unreachable, match=words) as failed:
                await rig.call("ada")
            assert "secret" not in str(failed.value)
        assert rig.up == []
        assert rig.links._owned == {}
        await until(lambda: rig.peer.raw.open == 0)


async def test_what_has_no_login_has_no_links_of_accounts() -> None:
    async with accounts() as rig:
        rig.specs["peer"] = replace(rig.spec, transport="stdio")
        with pytest.raises(Unreachable, match="stdio"):
            await rig.call("ada")


async def test_a_login_that_is_needed_is_not_remembered() -> None:
    async with accounts() as rig:
        rig.peer.refused.add("ada:1")
        for asked in (1, 2):
            with pytest.raises(NeedsLogin):
                await rig.call("ada")
            assert rig.peer.count("server/discover") == asked
        rig.book.tokens["ada"] = "ada:2"
        assert await rig.call("ada") == "ada:2"


async def test_a_link_that_died_is_opened_anew_at_its_next_use() -> None:
    async with accounts() as rig:
        link = await rig.links.opened("peer", "ada", 5.0)
        await link.aclose()
        assert not link.alive
        assert rig.links.link("peer", "ada") is None
        assert await rig.call("ada") == "ada:1"
        assert rig.up == [("peer", "ada")] * 2


async def test_a_call_in_flight_finishes_on_a_link_that_is_given_up_and_the_next_uses_the_other_account() -> None:
    async with accounts() as rig:
        rig.peer.gates["tools/call"] = asyncio.Event()
        flying = asyncio.create_task(rig.call("ada"))
        await until(lambda: rig.peer.count("tools/call"))
        rig.book.tokens["ada"] = "ada:2"
        rig.links.drop("peer", "ada")
        assert rig.links.link("peer", "ada") is None
        rig.peer.gates.pop("tools/call").set()
        assert await rig.call("ada") == "ada:2"
        assert await flying == "ada:1"


@pytest.mark.parametrize("given_up_before", [False, True])
async def test_a_call_in_flight_ends_at_once_when_its_connection_was_removed(given_up_before: bool) -> None:
    async with accounts() as rig:
        rig.peer.gates["tools/call"] = asyncio.Event()
        flying = asyncio.create_task(rig.call("ada"))
        other = asyncio.create_task(rig.call("bob"))
        await until(lambda: rig.peer.count("tools/call") == 2)
        if given_up_before:
            rig.links.drop("peer", "ada")
        del rig.book.tokens["ada"]
        rig.links.drop("peer", "ada", now=True)
        with pytest.raises(Lost):
            await asyncio.wait_for(flying, 5)
        with pytest.raises(NeedsLogin):
            await rig.call("ada")
        rig.peer.gates["tools/call"].set()
        assert await other == "bob:1"


async def test_an_opening_that_is_given_up_is_begun_anew_with_what_holds_now() -> None:
    async with accounts() as rig:
        gate = rig.peer.gates["server/discover"] = asyncio.Event()
        waiting = asyncio.create_task(rig.call("ada"))
        await until(lambda: rig.peer.count("server/discover"))
        rig.book.tokens["ada"] = "ada:2"
        rig.links.drop("peer", "ada", now=True)
        await until(lambda: rig.peer.count("server/discover") == 2, 1.0)
        gate.set()
        assert await waiting == "ada:2"
        assert rig.up == [("peer", "ada")]


async def deaf(spec: ServerSpec, events: LinkEvents, credential: Credential) -> Link:
    """An opener that does not hear that it is called off."""
    opening = asyncio.create_task(HttpOpener()(spec, events, credential))
    while not opening.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(opening)
    return opening.result()


async def test_a_link_that_comes_after_its_connection_was_removed_is_given_to_nobody() -> None:
    async with accounts(opener=deaf) as rig:
        gate = rig.peer.gates["server/discover"] = asyncio.Event()
        waiting = asyncio.create_task(rig.call("ada"))
        await until(lambda: rig.peer.count("server/discover"))
        del rig.book.tokens["ada"]
        rig.links.drop("peer", "ada", now=True)
        gate.set()
        with pytest.raises(NeedsLogin):
            await waiting
        assert rig.up == []
        await until(lambda: rig.peer.raw.open == 0)


async def test_links_of_a_server_that_is_gone_off_or_reached_otherwise_are_given_up() -> None:
    async with accounts() as rig:
        same = replace(rig.spec, pins="warn")
        others = ((), (replace(rig.spec, enabled=False),), (replace(rig.spec, auth=ServerAuth(account="shared")),))
        for specs in others:
            await rig.call("ada")
            rig.links.apply((same,))
            assert rig.links.link("peer", "ada") is not None
            rig.links.apply(specs)
            assert rig.links.link("peer", "ada") is None
        del rig.specs["peer"]
        with pytest.raises(Unreachable):
            await rig.call("ada")


async def test_the_end_is_bounded_whatever_opens_or_flies_and_nothing_stays() -> None:
    async with accounts() as rig:
        await rig.call("ada")
        rig.peer.gates |= {"tools/call": asyncio.Event(), "server/discover": asyncio.Event()}
        flying, opening = (asyncio.create_task(rig.call(account)) for account in ("ada", "bob"))
        await until(lambda: rig.peer.count("tools/call") == 2 and rig.peer.count("server/discover") == 2)
        began = monotonic()
        await rig.links.aclose()
        assert monotonic() - began < 10.0
        failed = await asyncio.gather(flying, opening, return_exceptions=True)
        assert [type(exc) for exc in failed] == [Lost, Unreachable]
        with pytest.raises(Unreachable):
            await rig.call("eve")
        await until(lambda: rig.peer.raw.open == 0)
        assert not [task for task in asyncio.all_tasks() if "of an account" in task.get_name()]


async def test_what_a_given_up_link_still_says_is_heard_by_nobody() -> None:
    async with accounts() as rig:
        link = await rig.links.opened("peer", "ada", 5.0)
        own = rig.links._owned["peer", "ada"]
        heard = rig.links._events_of(own)
        heard.notified("notifications/tools/list_changed", {})
        rig.links.drop("peer", "ada")
        heard.notified("notifications/tools/list_changed", {})
        assert rig.notified == [("peer", "ada", "notifications/tools/list_changed")]
        await until(lambda: not link.alive)
        assert await said(await rig.links.opened("peer", "ada", 5.0)) == "ada:1"
