"""What each account sees where everybody has his own: its own lists, nobody else's, and what everybody sees."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hub.core.errors import NeedsLogin, Unreachable
from hub.core.ports import Change, Endpoint
from hub.downstream.refresher import Pace
from tests.downstream.catalog_fakes import FAST, MemoryPins, link, prompt, resource, spec, template, tool, until
from tests.downstream.own_fakes import ALL, ANNA, BEN, CARL, OwnHub, personal

TOOLS_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
CAN = {"tools": {}, "resources": {"subscribe": True}}


async def quiet() -> None:
    """Longer than every debounce of these tests: what was to be told has been told."""
    await asyncio.sleep(0.03)


async def test_two_accounts_see_each_its_own_lists_of_every_kind_by_list_and_by_call() -> None:
    async with OwnHub() as hub:
        for account, mark in ((ANNA, "a"), (BEN, "b")):
            lists = [tool(mark)], [prompt(mark)], [resource(f"{mark}://1")], [template(f"{mark}://{{x}}")]
            await hub.log_in(account, link(*lists))
        for account, mark, other in ((ANNA, "a", "b"), (BEN, "b", "a")):
            assert [hub.names(account, kind) for kind in ALL] == [
                [f"srv__{mark}"],
                [f"srv__{mark}"],
                [f"srv+{mark}://1"],
                [f"srv+{mark}://{{x}}"],
            ]
            for kind in ALL:
                (item,) = hub.own.items("", kind, account)
                assert hub.find(account, item.name, kind) is item
            assert hub.find(account, f"srv__{other}") is None
            assert hub.find(account, f"srv__{other}", "prompt") is None
            assert hub.find(account, f"srv+{other}://{{x}}", "template") is None
            unlisted = hub.find(account, f"srv+{other}://1", "resource")  # its own server is asked, which knows best
            assert unlisted is not None
            assert unlisted.definition == {}
        for nobody in ("", CARL):
            assert [hub.names(nobody, kind) for kind in ALL] == [[], [], [], []]
            assert hub.find(nobody, "srv__a") is None


async def test_its_own_list_stands_in_the_place_of_the_public_one_of_that_server_alone() -> None:
    async with OwnHub(personal(), spec("other")) as hub:
        await hub.base.up(link([tool("public")]))
        await hub.base.up(link([tool("o")]), "other")
        await hub.log_in(ANNA, link([tool("mine")]))
        assert hub.names(ANNA) == ["other__o", "srv__mine"]
        assert hub.names(BEN) == hub.names() == ["other__o", "srv__public"]
        assert hub.find(ANNA, "srv__public") is None
        assert hub.find(ANNA, "other__o") is hub.find("", "other__o")


async def test_without_servers_of_accounts_every_read_is_that_of_everybody() -> None:
    async with OwnHub(spec()) as hub:
        await hub.base.up(link([tool()], [prompt()]))
        assert hub.own.items("", "tool", ANNA) is hub.base.catalog.items("", "tool")
        assert hub.own.resolve("", "prompt", "srv__p", ANNA) is hub.base.catalog.resolve("", "prompt", "srv__p")
        assert hub.own.capabilities("", ANNA) is hub.base.catalog.capabilities("")
        assert hub.own.ttl_ms("", "tool", ANNA) == hub.base.catalog.ttl_ms("", "tool")
        await hub.own.settled("", 5.0, ANNA)
        assert hub.opened == []
        hub.own.begun("srv", ANNA)  # nobody can log in there
        hub.own.on_up("srv", ANNA, link([tool("mine")]))
        assert hub.names(ANNA) == ["srv__t"]


async def test_after_a_restart_the_first_who_asks_waits_for_his_own_list() -> None:
    async with OwnHub() as hub:
        mine = link([tool("mine")])
        mine.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, mine)
        hub.silent()
        waiting = asyncio.create_task(hub.own.settled("", 5.0, ANNA))
        await until(lambda: mine.count("tools/list") == 1)
        assert not waiting.done()
        mine.gates["tools/list"].set()
        await waiting
        assert hub.names(ANNA) == ["srv__mine"]
        assert hub.opened == [("srv", ANNA)]
        await hub.own.settled("", 5.0, ANNA)
        await hub.own.settled("", 5.0, BEN)
        assert hub.opened == [("srv", ANNA)]


async def test_a_server_that_hangs_holds_its_accounts_up_no_longer_than_they_wait() -> None:
    async with OwnHub() as hub:
        hanging = link([tool("mine")])
        hanging.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, hanging)
        hub.silent()
        async with asyncio.timeout(3):
            await hub.own.settled("", 0.01, ANNA)
        assert hub.names(ANNA) == []  # what it lists comes yet: nothing invites her to log in
        hanging.gates["tools/list"].set()
        await hub.shows(ANNA, "srv__mine")


async def test_a_link_that_does_not_open_is_no_news_to_others_and_tried_again_later() -> None:
    async with OwnHub() as hub:
        hub.silent()
        hub.connect(ANNA, Unreachable("srv", "is away"))
        await hub.own.settled("", 5.0, ANNA)
        await hub.own.settled("", 5.0, ANNA)
        assert hub.opened == [("srv", ANNA)]
        assert hub.names(ANNA) == []
        hub.links["srv", ANNA] = link([tool("mine")])
        hub.personal.drop("srv", ANNA)  # ends its own pause
        hub.clock.now += 60.0
        await hub.own.settled("", 5.0, ANNA)
        assert hub.names(ANNA) == ["srv__mine"]


async def test_those_who_watch_get_what_did_not_open_as_soon_as_the_server_answers() -> None:
    async with OwnHub() as hub:
        hub.connect(ANNA, Unreachable("srv", "is away"))
        await hub.own.settled("", 0.01, ANNA)
        await until(lambda: hub.opened == [("srv", ANNA)])
        told, _ = hub.watch(ANNA)
        hub.links["srv", ANNA] = link([tool("mine")])
        hub.personal.drop("srv", ANNA)
        hub.clock.now += 60.0
        hub.silent()
        await until(lambda: told == [Change("tool")])
        assert hub.names(ANNA) == ["srv__mine"]


async def test_a_logout_takes_the_list_away_at_once_and_is_told() -> None:
    async with OwnHub() as hub:
        await hub.log_in(ANNA, link([tool("mine")]))
        await hub.log_in(BEN, link([tool("his")]))
        await quiet()
        (hers, _), (his, _), (everybodys, _) = hub.watch(ANNA), hub.watch(BEN), hub.watch("")
        hub.log_out(ANNA)
        assert hub.names(ANNA) == []
        assert hub.find(ANNA, "srv__mine") is None
        await until(lambda: hers == [Change("tool")])
        await quiet()
        assert (his, everybodys) == ([], [])
        assert hub.names(BEN) == ["srv__his"]


async def test_what_is_fetched_when_the_login_ends_is_not_taken_in() -> None:
    async with OwnHub() as hub:
        mine = link([tool("mine")])
        mine.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, mine)
        hub.own.begun("srv", ANNA)
        await until(lambda: mine.count("tools/list") == 1)
        hub.log_out(ANNA)
        mine.gates["tools/list"].set()
        hub.own.on_up("srv", ANNA, mine)  # late, and of nobody
        await quiet()
        assert hub.names(ANNA) == []
        assert hub.find(ANNA, "srv__mine") is None


async def test_another_account_there_is_another_list() -> None:
    async with OwnHub() as hub:
        await hub.log_in(ANNA, link([tool("of_work")]))
        at_home = link([tool("of_home")])
        at_home.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, at_home)
        hub.personal.drop("srv", ANNA, now=True)
        hub.own.begun("srv", ANNA)
        assert hub.names(ANNA) == []
        at_home.gates["tools/list"].set()
        await hub.shows(ANNA, "srv__of_home")


async def test_list_changed_of_one_account_fetches_its_list_and_tells_it_alone() -> None:
    async with OwnHub() as hub:
        hers, his = link([tool("a")]), link([tool("b")])
        await hub.log_in(ANNA, hers)
        await hub.log_in(BEN, his)
        await quiet()
        (to_anna, _), (to_ben, _) = hub.watch(ANNA), hub.watch(BEN)
        hers.lists["tools/list"] = [tool("a"), tool("a2")]
        hub.notify(ANNA, TOOLS_CHANGED)
        await hub.shows(ANNA, "srv__a", "srv__a2")
        await until(lambda: to_anna == [Change("tool")])
        await quiet()
        assert (to_ben, his.count("tools/list"), hub.names(BEN)) == ([], 1, ["srv__b"])


async def test_a_change_of_what_everybody_sees_is_told_once_to_each() -> None:
    async with OwnHub(personal(), spec("other")) as hub:
        await hub.log_in(ANNA, link([tool("mine")]))
        await quiet()
        hers, stop = hub.watch(ANNA)
        bens, _ = hub.watch(BEN)
        await hub.base.up(link([tool("o")]), "other")
        await until(lambda: hers == [Change("tool")] and bens == [Change("tool")])
        assert hub.names(ANNA) == ["other__o", "srv__mine"]
        stop()
        await hub.base.up(link([tool("p")]), "other")
        await until(lambda: len(bens) == 2)
        await quiet()
        assert hers == [Change("tool")]


async def test_what_the_silent_link_lists_is_no_change_to_who_has_his_own() -> None:
    async with OwnHub() as hub:
        await hub.log_in(ANNA, link([tool("mine")]))
        await quiet()
        (hers, _), (bens, _) = hub.watch(ANNA), hub.watch(BEN)
        await hub.base.up(link([tool("public")]))
        await until(lambda: bens == [Change("tool")])
        await quiet()
        assert (hers, hub.names(ANNA), hub.names(BEN)) == ([], ["srv__mine"], ["srv__public"])


async def test_updates_of_resources_reach_those_whose_link_told_them() -> None:
    async with OwnHub(endpoints=(Endpoint(""), Endpoint("bare", frozenset({"srv"}), "none"))) as hub:
        for account in (ANNA, BEN):
            await hub.log_in(account, link(resources=[resource("doc://r")]))
        await hub.base.up(link(resources=[resource("doc://r")]))
        await quiet()
        (hers, _), (bare, _) = hub.watch(ANNA), hub.watch(ANNA, "bare")
        (his, _), (carls, _), (all_, _) = hub.watch(BEN), hub.watch(CARL), hub.watch("")
        hub.notify(ANNA, UPDATED, {"uri": "doc://r"})
        await until(lambda: len(hers) == len(bare) == 1)
        hub.base.catalog.on_notified("srv", UPDATED, {"uri": "doc://r"})
        await until(lambda: len(carls) == len(all_) == 1)
        hub.notify(ANNA, UPDATED, {"uri": 7})
        await quiet()
        assert (len(hers), len(bare), his) == (1, 1, [])
        assert hers[0].item is hub.find(ANNA, "srv+doc://r", "resource")
        assert carls[0].item is hub.find("", "srv+doc://r", "resource")


async def test_subscriptions_of_accounts_are_their_own_and_hold_over_reconnects() -> None:
    async with OwnHub() as hub:
        hers, his, silent = (link(resources=[resource("doc://r")], capabilities=CAN) for _ in range(3))
        await hub.log_in(ANNA, hers)
        await hub.log_in(BEN, his)
        await hub.base.up(silent)
        for account, up in ((ANNA, hers), (BEN, his), (CARL, silent), ("", silent)):
            item = hub.find(account, "srv+doc://r", "resource")
            assert item is not None
            assert await hub.own.subscribe(item, up, account)
        assert [up.count("resources/subscribe") for up in (hers, his, silent)] == [1, 1, 1]
        again = link(resources=[resource("doc://r")], capabilities=CAN)
        hub.own.on_up("srv", ANNA, again)
        await until(lambda: again.count("resources/subscribe") == 1)
        assert [up.count("resources/subscribe") for up in (his, silent)] == [1, 1]
        hub.log_out(BEN)
        third = link(resources=[resource("doc://r")], capabilities=CAN)
        await hub.log_in(BEN, third)
        await quiet()
        assert third.count("resources/subscribe") == 0


async def test_capabilities_and_times_are_those_of_ones_own_lists() -> None:
    async with OwnHub() as hub:
        await hub.base.up(link([tool()], capabilities={"tools": {}}))
        mine = link([tool("mine")], capabilities={"tools": {}, "prompts": {}}, era="modern")
        mine.ttls["tools/list"] = 60_000
        await hub.log_in(ANNA, mine)
        assert hub.own.capabilities("", ANNA) == {"tools": {"listChanged": True}, "prompts": {"listChanged": True}}
        assert hub.own.capabilities("", BEN) == hub.own.capabilities("") == {"tools": {"listChanged": True}}
        await until(lambda: 0 < hub.own.ttl_ms("", "tool", ANNA) <= 60_000)
        assert hub.own.ttl_ms("", "tool", BEN) == 0
        hub.notify(ANNA, TOOLS_CHANGED)
        assert hub.own.ttl_ms("", "tool", ANNA) == 0
        assert hub.own.capabilities("none", ANNA) == {}
        assert hub.own.ttl_ms("none", "tool", ANNA) == 0
        assert hub.own.items("none", "tool", ANNA) == ()


async def test_a_definition_that_differs_from_the_approved_one_is_hidden_until_it_is_approved() -> None:
    async with OwnHub() as hub:
        await hub.log_in(ANNA, link([tool("t", description="as approved")]))
        await hub.log_in(BEN, link([tool("t", description="another")]))
        assert [i.changed for i in hub.own.items("", "tool", ANNA)] == [False]
        assert [i.changed for i in hub.own.items("", "tool", BEN)] == [True]
        (waiting,) = hub.own.pending("srv")
        status = hub.own.status("srv")
        assert status is not None
        assert status.waiting == 1
        assert await hub.own.approve("srv", seen=["0" * 64]) == ()
        assert await hub.own.approve("srv", ["t"], seen=[waiting.sha256]) == ("t",)
        assert [i.changed for i in hub.own.items("", "tool", BEN)] == [False]
        assert [i.changed for i in hub.own.items("", "tool", ANNA)] == [True]


async def test_a_list_is_shown_only_when_its_first_sights_are_durable() -> None:
    pins = MemoryPins(broken=2)
    async with OwnHub(pins=pins) as hub:
        hub.connect(ANNA, link([tool("mine")]))
        hub.own.begun("srv", ANNA)
        await hub.shows(ANNA, "srv__mine")
        assert pins.broken == 0
        assert ("srv", "tool", "mine") in pins.rows


async def test_equal_lists_are_kept_once() -> None:
    async with OwnHub() as hub:
        for account in (ANNA, BEN):
            await hub.log_in(account, link([tool("same")], [prompt("p")]))
        await hub.log_in(CARL, link([tool("same")]))
        assert hub.own.items("", "tool", ANNA) is hub.own.items("", "tool", BEN)
        assert hub.own.items("", "tool", CARL)[0] is not hub.own.items("", "tool", ANNA)[0]


async def test_what_nobody_used_for_an_hour_is_forgotten_and_comes_back_when_asked_for() -> None:
    async with OwnHub() as hub:
        for account in (ANNA, BEN, CARL):
            await hub.log_in(account, link([tool("mine")], capabilities=CAN))
        _, stop = hub.watch(BEN)
        hub.clock.now = 3000.0
        assert hub.names(CARL) == ["srv__mine"]
        hub.clock.now = 3601.0
        hub.own.sweep()
        assert hub.find(ANNA, "srv__mine") is None
        assert hub.find(BEN, "srv__mine") is not None
        assert hub.find(CARL, "srv__mine") is not None
        await hub.own.settled("", 5.0, ANNA)
        assert hub.names(ANNA) == ["srv__mine"]
        stop()
        hub.clock.now = 9000.0
        hub.own.sweep()
        assert [hub.names(account) for account in (ANNA, BEN, CARL)] == [[], [], []]


async def test_more_lists_than_are_kept_cost_those_who_used_theirs_the_longest_ago() -> None:
    async with OwnHub(most=2) as hub:
        for at, account in enumerate((ANNA, BEN, CARL)):
            hub.clock.now = float(at)
            await hub.log_in(account, link([tool("mine")]))
        assert [hub.names(account) for account in (ANNA, BEN, CARL)] == [[], ["srv__mine"], ["srv__mine"]]


async def test_a_server_that_is_disabled_or_taken_out_takes_every_own_list_with_it() -> None:
    async with OwnHub(personal(), spec("other")) as hub:
        await hub.log_in(ANNA, link([tool("mine")]))
        hub.base.health("srv", "disabled")
        assert (hub.names(ANNA), hub.find(ANNA, "srv__mine")) == ([], None)
        hub.base.health("srv", "needs_login")
        assert hub.names(ANNA) == ["srv__mine"]
        told, _ = hub.watch(ANNA)
        endpoints = {"": Endpoint("")}
        await hub.base.catalog.apply([replace(personal(), enabled=False), spec("other")], endpoints)
        assert hub.names(ANNA) == []
        await until(lambda: told == [Change("tool")])
        await hub.base.catalog.apply([spec("other")], endpoints)
        assert (hub.names(ANNA), hub.find(ANNA, "srv__mine")) == ([], None)
        await hub.base.catalog.apply([personal(), spec("other")], endpoints)
        assert (hub.names(ANNA), hub.find(ANNA, "srv__mine")) == ([], None)


async def test_rules_that_change_are_in_force_before_anything_is_read_again() -> None:
    async with OwnHub(personal(pins="off")) as hub:
        await hub.log_in(ANNA, link([tool("t", description="as approved")]))
        await hub.base.catalog.apply([personal(pins="quarantine")], {"": Endpoint("")})
        await hub.own.settled("", 5.0, ANNA)
        assert [i.changed for i in hub.own.items("", "tool", ANNA)] == [False]
        await hub.base.catalog.apply([personal(pins="off")], {"": Endpoint("")})
        await hub.own.settled("", 5.0, ANNA)
        other = link([tool("t", description="another")])
        await hub.log_in(ANNA, other)
        assert [i.changed for i in hub.own.items("", "tool", ANNA)] == [False]
        await hub.base.catalog.apply([personal(pins="quarantine")], {"": Endpoint("")})
        assert all(item.changed for item in hub.own.items("", "tool", ANNA))
        await hub.own.settled("", 5.0, ANNA)
        assert [i.changed for i in hub.own.items("", "tool", ANNA)] == [True]


async def test_a_server_that_moves_is_listed_anew_to_those_who_watch() -> None:
    async with OwnHub() as hub:
        await hub.log_in(ANNA, link([tool("old")]))
        hub.watch(ANNA)
        hub.links["srv", ANNA] = link([tool("new")])
        moved = replace(personal(), url="https://elsewhere.test/mcp")
        await hub.base.catalog.apply([moved], {"": Endpoint("")}, lambda: hub.personal.apply([moved]))
        assert hub.find(ANNA, "srv__old") is None
        await hub.shows(ANNA, "srv__new")


async def test_endpoints_show_of_own_lists_what_they_show_of_their_server() -> None:
    points = (Endpoint(""), Endpoint("bare", frozenset({"srv"}), "none"), Endpoint("other", frozenset({"other"})))
    async with OwnHub(personal(), spec("other"), endpoints=points) as hub:
        await hub.log_in(ANNA, link([tool("mine")]))
        assert hub.find(ANNA, "mine", endpoint="bare") is not None
        assert hub.find(ANNA, "srv__mine", endpoint="bare") is None
        assert hub.names(ANNA, endpoint="other") == []
        told, _ = hub.watch(ANNA, "bare")
        await hub.base.catalog.apply([personal(), spec("other")], {"": Endpoint("")})
        await until(lambda: told == [Change("tool")])
        assert hub.names(ANNA, endpoint="bare") == []


@pytest.mark.parametrize("ends", [NeedsLogin("srv", "its login has ended"), Unreachable("srv", "is away")])
async def test_a_list_outlives_its_link(ends: Exception) -> None:
    async with OwnHub() as hub:
        mine = link([tool("mine")])
        await hub.log_in(ANNA, mine)
        mine.alive = False
        hub.links["srv", ANNA] = ends  # type: ignore[assignment]
        hub.silent()
        hub.clock.now += 60.0
        await hub.own.settled("", 5.0, ANNA)
        await until(lambda: len(hub.opened) == 2)
        await quiet()
        assert hub.names(ANNA) == ["srv__mine"]


async def test_closing_ends_all_that_is_under_way() -> None:
    before = len(asyncio.all_tasks())
    async with OwnHub(pace=Pace(watch_s=60.0, gap_s=FAST.gap_s, debounce_s=FAST.debounce_s)) as hub:
        mine = link([tool("mine")])
        mine.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, mine)
        hub.own.begun("srv", ANNA)
        hub.watch(ANNA)
        await until(lambda: mine.count("tools/list") == 1)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before
