"""The lists follow the configuration: what is new is waited for, what is gone is gone, the rest never moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from hub.core.errors import HubError
from hub.core.ports import Change, Endpoint
from hub.downstream.catalog import Catalogue
from hub.downstream.link import ServerSpec
from tests.downstream.catalog_fakes import Hub, MemoryLists, link, spec, tool, until

ALL = {"": Endpoint("")}


async def test_a_new_server_is_listed_once_it_has_said_what_it_has() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        before = hub.catalog.items("", "tool")
        await hub.catalog.apply([spec(), spec("new")], ALL)
        assert hub.catalog.items("", "tool") == before
        await hub.up(link([tool("b")]), "new")
        assert hub.names() == ["new__b", "srv__a"]
        assert [item for item in hub.catalog.items("", "tool") if item.server == "srv"] == list(before)


async def test_a_list_waits_a_moment_for_a_server_that_was_just_added() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        await asyncio.sleep(0.05)
        await hub.catalog.apply([spec(), spec("new")], ALL)
        waiting = asyncio.create_task(hub.catalog.settled("", 5))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await hub.up(link([tool("b")]), "new")
        await asyncio.wait_for(waiting, 5)


async def test_a_server_that_hangs_costs_a_list_its_patience_and_no_more() -> None:
    async with Hub() as hub:
        await hub.catalog.apply([spec("hangs")], ALL)
        began = monotonic()
        await hub.catalog.settled("", 0.05)
        assert 0.04 < monotonic() - began < 2
        began = monotonic()
        await hub.catalog.settled("", 0.05)
        assert monotonic() - began < 0.04


async def test_a_removed_server_is_gone_with_its_stored_list_and_keeps_its_approvals() -> None:
    async with Hub(spec(), spec("other")) as hub:
        await hub.up(link([tool("a")]))
        await hub.up(link([tool("b")]), "other")
        await until(lambda: set(hub.lists.rows) == {"srv", "other"})
        await hub.catalog.apply([spec("other")], ALL)
        assert hub.names() == ["other__b"]
        assert hub.catalog.resolve("", "tool", "srv__a") is None
        assert hub.catalog.status("srv") is None
        assert set(hub.lists.rows) == {"other"}
        assert ("srv", "tool", "a") in hub.pins.rows
        hub.health("srv", "ready")  # late news of it are nobody's
        hub.catalog.on_up("srv", link())
        hub.catalog.on_notified("srv", "notifications/tools/list_changed", {})


async def test_a_server_that_comes_back_with_other_tools_meets_its_approvals() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a", description="first")]))
        await hub.catalog.apply([], ALL)
        await hub.catalog.apply([spec()], ALL)
        await hub.up(link([tool("a", description="swapped")]))
        assert [changed.native for changed in hub.catalog.pending("srv")] == ["a"]


async def test_what_is_fetched_over_a_link_of_before_is_not_taken_in() -> None:
    async with Hub() as hub:
        slow = link([tool("old")])
        slow.gates["tools/list"] = asyncio.Event()
        hub.catalog.on_up("srv", slow)
        await until(lambda: slow.count("tools/list") == 1)
        await hub.catalog.apply([spec(command=("other",))], ALL)
        slow.gates["tools/list"].set()
        await hub.up(link([tool("new")]))
        assert hub.names() == ["srv__new"]


async def test_a_changed_server_keeps_its_last_list_until_it_gives_a_new_one() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        await hub.catalog.apply([spec(command=("other",))], ALL)
        assert hub.names() == ["srv__a"]
        status = hub.catalog.status("srv")
        assert status is not None
        assert status.stale
        await hub.up(link([tool("a"), tool("b")]))
        assert hub.names() == ["srv__a", "srv__b"]


async def test_rules_of_a_server_apply_to_the_list_it_has() -> None:
    async with Hub(spec(pins="off")) as hub:
        reads = tool("a", annotations={"readOnlyHint": True})
        up = link([reads])
        await hub.up(up)
        assert hub.catalog.items("", "tool")[0].writes
        assert hub.pins.rows == {}
        await hub.catalog.apply([spec(trusted=True)], ALL)
        assert not hub.catalog.items("", "tool")[0].writes
        assert len(hub.pins.rows) == 1
        assert up.count("tools/list") == 1


async def test_disabling_hides_and_enabling_shows_at_once() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        await hub.catalog.apply([spec(enabled=False)], ALL)
        assert hub.names() == []
        await hub.catalog.apply([spec()], ALL)
        assert hub.names() == ["srv__a"]


async def test_a_disabled_server_that_was_just_added_is_not_waited_for() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        await hub.catalog.apply([spec(), spec("off", enabled=False)], ALL)
        async with asyncio.timeout(0.5):
            await hub.catalog.settled("", 60)
        await hub.catalog.apply([spec(), spec("off")], ALL)
        await hub.catalog.apply([spec(), spec("off", enabled=False)], ALL)
        async with asyncio.timeout(0.5):
            await hub.catalog.settled("", 60)


async def test_endpoints_come_change_and_go() -> None:
    async with Hub(spec(), spec("other")) as hub:
        await hub.up(link([tool("a")]))
        await hub.up(link([tool("b")]), "other")
        one = Endpoint("one", frozenset(("other",)), "none")
        await hub.catalog.apply([spec(), spec("other")], {**ALL, "one": one})
        assert [item.shown["name"] for item in hub.catalog.items("one", "tool")] == ["b"]
        assert hub.catalog.prefix("one") == "none"
        await hub.catalog.apply([spec(), spec("other")], {**ALL, "one": Endpoint("one", frozenset(("srv",)))})
        assert [item.shown["name"] for item in hub.catalog.items("one", "tool")] == ["srv__a"]
        await hub.catalog.apply([spec(), spec("other")], ALL)
        assert hub.catalog.items("one", "tool") == ()
        assert hub.catalog.resolve("one", "tool", "srv__a") is None
        assert hub.catalog.capabilities("one") == {}
        assert hub.catalog.prefix("one") == "server"  # what is in flight is answered under the names it was asked by


async def test_watchers_hear_of_it_where_their_list_differs_and_nowhere_else() -> None:
    ends = {**ALL, "one": Endpoint("one", frozenset(("other",)))}
    async with Hub(spec(), spec("other"), endpoints=tuple(ends.values())) as hub:
        await hub.up(link([tool("a")]))
        await hub.up(link([tool("b")]), "other")
        await asyncio.sleep(0.01)
        heard: list[tuple[str, str]] = []

        def hear(endpoint: str) -> Any:
            def on_change(change: Change) -> None:
                heard.append((endpoint, change.kind))

            return on_change

        for name in ends:
            hub.catalog.watch(name, hear(name))
        await hub.catalog.apply([spec("other")], ends)
        await until(lambda: heard == [("", "tool")])
        await hub.catalog.apply([spec("other")], {**ends, "one": replace(ends["one"], tools=("other__x",))})
        await until(lambda: heard[1:] == [("one", "tool")])  # the view is the same, but what is selected of it is not
        await hub.catalog.apply([spec("other")], ALL)
        await until(lambda: heard[2:] == [("one", "tool")])


async def test_all_is_in_force_in_one_step_with_what_swap_does() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a")]))
        seen: list[list[str]] = []
        await hub.catalog.apply([], ALL, lambda: seen.append(hub.names()))
        assert seen == [["srv__a"]]
        assert hub.names() == []


async def test_a_change_that_cannot_be_prepared_changes_nothing() -> None:
    async with Hub(spec(pins="off")) as hub:
        await hub.up(link([tool("a")]))
        hub.pins.broken = 1
        swapped: list[bool] = []
        with pytest.raises(OSError, match="disk full"):
            await hub.catalog.apply([spec()], {"x": Endpoint("x")}, lambda: swapped.append(True))
        assert swapped == []
        assert hub.names() == ["srv__a"]
        assert hub.catalog.items("x", "tool") == ()


class Stuck(MemoryLists):
    async def remove(self, tenant: str, server: str) -> None:
        raise HubError("hub.db cannot be written")


async def test_a_store_that_forgets_nothing_does_not_undo_a_removal() -> None:
    async with Hub(lists=Stuck()) as hub:
        await hub.up(link([tool("a")]))
        await hub.catalog.apply([], ALL)
        assert hub.names() == []


async def test_subscriptions_of_a_server_that_is_gone_are_not_renewed() -> None:
    async with Hub() as hub:
        first = link(resources=[], capabilities={"resources": {"subscribe": True}})
        hub.catalog.on_up("srv", first)
        item = hub.catalog.resolve("", "resource", "srv+a://1")
        if item is None:
            await until(lambda: hub.catalog.resolve("", "resource", "srv+a://1") is not None)
            item = hub.catalog.resolve("", "resource", "srv+a://1")
        assert item is not None
        await hub.catalog.subscribe(item, first)
        await hub.catalog.apply([], ALL)
        await hub.catalog.apply([spec()], ALL)
        second = link(capabilities={"resources": {"subscribe": True}})
        await hub.up(second)
        assert second.count("resources/subscribe") == 0


async def test_random_changes_never_touch_the_names_of_others() -> None:
    from random import Random

    dice = Random(4)
    async with Hub(spec("fixed")) as hub:
        await hub.up(link([tool("t1"), tool("t2")]), "fixed")
        fixed = hub.catalog.items("", "tool")
        pool: dict[str, ServerSpec] = {}
        for _ in range(200):
            id = f"s{dice.randrange(6)}"
            if id in pool and dice.random() < 0.4:
                del pool[id]
            else:
                pool[id] = spec(id, command=(str(dice.randrange(3)),), enabled=dice.random() < 0.8)
            await hub.catalog.apply([spec("fixed"), *pool.values()], ALL)
            if dice.random() < 0.5 and pool:
                up = dice.choice(sorted(pool))
                hub.catalog.on_up(up, link([tool("x")]))
                await asyncio.sleep(0)
            assert tuple(i for i in hub.catalog.items("", "tool") if i.server == "fixed") == fixed
            assert {i.server for i in hub.catalog.items("", "tool")} <= {"fixed"} | {
                id for id, each in pool.items() if each.enabled
            }


def test_the_catalogue_can_be_made_without_a_loop() -> None:
    Catalogue([spec()], ALL, Hub(spec()).pins, MemoryLists())
