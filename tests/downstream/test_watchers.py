"""Clients hear of a change once, when what they could see really differs, and of updated resources by their own uri."""

from __future__ import annotations

import asyncio

from hub.core.ports import Change, Endpoint
from hub.downstream import watchers as watchers_module
from hub.downstream.refresher import Pace
from tests.downstream.catalog_fakes import Hub, link, prompt, resource, spec, template, tool, until

TOOLS_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
BARE = Endpoint("bare", frozenset({"srv"}), "none")


async def quiet() -> None:
    """Longer than every debounce of these tests: what was to be told has been told."""
    await asyncio.sleep(0.03)


async def test_a_changed_list_is_told_once_per_kind() -> None:
    async with Hub() as hub:
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        await hub.up(link([tool()], [prompt()]))
        await until(lambda: len(told) == 2)
        await quiet()
        assert told == [Change("tool"), Change("prompt")]


async def test_resources_and_templates_are_one_change() -> None:
    async with Hub() as hub:
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        await hub.up(link(templates=[template()]))
        await until(lambda: bool(told))
        await quiet()
        assert told == [Change("resource")]


async def test_a_list_that_is_fetched_again_the_same_is_no_change() -> None:
    async with Hub() as hub:
        up = link([tool("a"), tool("b")])
        await hub.up(up)
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        up.lists["tools/list"] = [tool("b"), tool("a")]
        before = hub.fetched_at()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: hub.fetched_at() != before)
        await quiet()
        assert told == []


async def test_a_definition_that_becomes_hidden_and_is_approved_is_told_both_times() -> None:
    async with Hub() as hub:
        up = link([tool(title="old")])
        await hub.up(up)
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        up.lists["tools/list"] = [tool(title="new")]
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: len(told) == 1)
        await hub.catalog.approve("srv")
        await until(lambda: len(told) == 2)
        assert told == [Change("tool"), Change("tool")]


async def test_endpoints_hear_of_their_own_servers_only() -> None:
    only = Endpoint("only", frozenset({"b"}))
    async with Hub(spec("a"), spec("b"), endpoints=(Endpoint(""), only)) as hub:
        every: list[Change] = []
        some: list[Change] = []
        hub.catalog.watch("", every.append)
        hub.catalog.watch("only", some.append)
        await hub.up(link([tool()]), "a")
        await until(lambda: every == [Change("tool")])
        await quiet()
        assert some == []


async def test_many_changes_within_the_debounce_are_told_as_one() -> None:
    pace = Pace(debounce_s=0.001, gap_s=0.001, watch_s=0.05)
    async with Hub(spec("a"), spec("b"), spec("c"), pace=pace) as hub:
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        for server in "abc":
            await hub.up(link([tool()]), server)
        await until(lambda: bool(told))
        assert told == [Change("tool")]
        assert len(hub.names()) == 3


async def test_who_stopped_watching_hears_no_more_and_may_watch_again() -> None:
    async with Hub() as hub:
        told: list[Change] = []
        first, second = hub.catalog.watch("", told.append), hub.catalog.watch("", told.append)
        first()
        first()
        await hub.up(link([tool()]))
        await until(lambda: len(told) == 1)
        hub.catalog.on_notified("srv", UPDATED, {"uri": "x://y"})  # pending when the last one leaves
        second()
        await quiet()
        assert len(told) == 1
        hub.catalog.watch("", told.append)
        hub.health("srv", "disabled")
        await until(lambda: len(told) == 2)


async def test_a_watcher_that_raises_costs_only_itself() -> None:
    async with Hub() as hub:
        told: list[Change] = []

        def broken(change: Change) -> None:
            raise RuntimeError("bug")

        hub.catalog.watch("", broken)
        hub.catalog.watch("", told.append)
        await hub.up(link([tool()]))
        await until(lambda: told == [Change("tool")])


async def test_an_updated_resource_is_told_under_the_uri_of_each_endpoint() -> None:
    async with Hub(endpoints=(Endpoint(""), BARE)) as hub:
        await hub.up(link(resources=[resource("doc://r")]))
        told: dict[str, list[Change]] = {"": [], "bare": []}
        for endpoint, changes in told.items():
            hub.catalog.watch(endpoint, changes.append)
        for _ in range(3):
            hub.catalog.on_notified("srv", UPDATED, {"uri": "doc://r"})
        await until(lambda: all(told.values()))
        await quiet()
        uris = {name: [change.item.shown["uri"] for change in got if change.item] for name, got in told.items()}
        assert uris == {"": ["srv+doc://r"], "bare": ["doc://r"]}


async def test_updates_of_what_nobody_can_name_are_dropped() -> None:
    async with Hub() as hub:
        await hub.up(link(capabilities={"tools": {}}))
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        hub.catalog.on_notified("srv", UPDATED, {"uri": "x://y"})
        await quiet()
        assert told == []


async def test_a_flood_of_updates_is_bounded() -> None:
    async with Hub(pace=Pace(debounce_s=0.001, gap_s=0.001, watch_s=0.02)) as hub:
        await hub.up(link())
        told: list[Change] = []
        hub.catalog.watch("", told.append)
        for n in range(watchers_module.MAX_UPDATES + 500):
            hub.catalog.on_notified("srv", UPDATED, {"uri": f"x://{n}"})
        await until(lambda: bool(told))
        assert len(told) == watchers_module.MAX_UPDATES


async def test_an_endpoint_that_is_not_configured_can_be_watched_in_vain() -> None:
    async with Hub() as hub:
        stop = hub.catalog.watch("nowhere", lambda change: None)
        await hub.up(link([tool()]))
        stop()
