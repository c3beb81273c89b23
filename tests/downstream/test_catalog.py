"""The catalogue over live servers: fetching, staleness, cold lists, approvals, and what it stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from hub.core.errors import Late, Lost, Refused
from hub.core.ports import Endpoint
from hub.downstream.definitions import KINDS
from hub.downstream.health import State
from hub.downstream.refresher import Pace
from tests.downstream.catalog_fakes import (
    ALL,
    FAST,
    FakeLink,
    Hub,
    MemoryLists,
    MemoryPins,
    link,
    prompt,
    resource,
    spec,
    template,
    tool,
    until,
)

TOOLS_CHANGED = "notifications/tools/list_changed"


async def test_a_server_that_comes_up_is_listed_in_all_kinds() -> None:
    async with Hub() as hub:
        await hub.up(link([tool()], [prompt()], [resource()], [template()]))
        assert hub.names("tool") == ["srv__t"]
        assert hub.names("prompt") == ["srv__p"]
        assert hub.names("resource") == ["srv+doc://r"]
        assert hub.names("template") == ["srv+doc://{id}"]
        assert hub.catalog.resolve("", "tool", "srv__t") is hub.catalog.items("", "tool")[0]


async def test_only_declared_kinds_are_asked_for() -> None:
    async with Hub() as hub:
        up = link([tool()], capabilities={"tools": {}})
        await hub.up(up)
        assert [method for method, _ in up.asked] == ["tools/list"]
        assert hub.catalog.capabilities("") == {"tools": {"listChanged": True}}


async def test_the_kinds_of_a_server_are_fetched_at_the_same_time() -> None:
    async with Hub() as hub:
        up = link([tool()], [prompt()])
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            up.gates[method] = asyncio.Event()
        hub.catalog.on_up("srv", up)
        await until(lambda: len(up.asked) == 4)
        for gate in up.gates.values():
            gate.set()
        await until(lambda: hub.names() == ["srv__t"])


async def test_a_server_that_hangs_costs_only_its_own_items() -> None:
    async with Hub(spec("slow"), spec("quick")) as hub:
        slow = link([tool()])
        slow.gates["tools/list"] = asyncio.Event()
        hub.catalog.on_up("slow", slow)
        await hub.up(link([tool()]), "quick")
        assert hub.names() == ["quick__t"]


async def test_list_changed_fetches_that_kind_again_and_only_that() -> None:
    async with Hub() as hub:
        up = link([tool("a")], [prompt("p")])
        await hub.up(up)
        up.lists["tools/list"] = [tool("a"), tool("b")]
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: hub.names() == ["srv__a", "srv__b"])
        assert (up.count("tools/list"), up.count("prompts/list")) == (2, 1)
        assert hub.names("prompt") == ["srv__p"]


async def test_a_flood_of_list_changed_is_one_fetch() -> None:
    async with Hub(pace=Pace(debounce_s=0.05, gap_s=0.05, watch_s=0.001)) as hub:
        up = link([tool("a")])
        await hub.up(up)
        for _ in range(500):
            hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
            hub.catalog.on_notified("srv", "notifications/resources/list_changed", {})
        await until(lambda: up.count("resources/templates/list") == 2)
        assert up.count("tools/list") == 2


async def test_fetches_of_one_server_keep_their_distance() -> None:
    async with Hub(pace=Pace(debounce_s=0.001, gap_s=0.2, watch_s=0.001)) as hub:
        up = link([tool("a")])
        await hub.up(up)
        began = monotonic()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: up.count("tools/list") == 2)
        assert monotonic() - began >= 0.15


async def test_notifications_of_strangers_variants_and_other_kinds_are_ignored() -> None:
    async with Hub(spec(), spec("canary", variant_of="srv")) as hub:
        up = link([tool()])
        hub.catalog.on_up("nobody", up)
        hub.catalog.on_up("canary", up)
        hub.health("nobody", "ready")
        hub.catalog.on_notified("nobody", TOOLS_CHANGED, {})
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})  # before any link: nothing to ask
        hub.catalog.on_notified("srv", "notifications/message", {})
        hub.catalog.on_notified("srv", "notifications/resources/updated", {"uri": 5})
        await hub.up(link([tool()]))
        assert up.asked == []
        assert hub.names() == ["srv__t"]
        assert hub.catalog.status("canary") is None
        assert hub.catalog.problems("canary") == ()


async def test_a_failed_fetch_keeps_the_last_list_stale_and_is_tried_again() -> None:
    async with Hub() as hub:
        up = link([tool("a")])
        await hub.up(up)
        up.gates["tools/list"] = asyncio.Event()
        up.answers["tools/list"] = [Late("srv", "no answer"), {"tools": [tool("b")]}]
        up.gates["tools/list"].set()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: stale(hub))
        assert hub.names() == ["srv__a"]
        await until(lambda: hub.names() == ["srv__b"])
        assert not stale(hub)


async def test_no_more_tries_on_a_dead_link() -> None:
    async with Hub() as hub:
        up = link([tool("a")])
        up.answers["tools/list"] = [Lost("srv", "gone")]
        up.alive = False
        await hub.up(up)
        await asyncio.sleep(0.05)
        assert up.count("tools/list") == 1
        await hub.up(link([tool("a")]))
        assert hub.names() == ["srv__a"]


async def test_a_bug_while_taking_lists_in_leaves_what_stood_and_is_tried_again() -> None:
    pins = MemoryPins()
    async with Hub(pins=pins) as hub:
        up = link([tool("a")])
        await hub.up(up)
        pins.broken = 2
        up.lists["tools/list"] = [tool("a"), tool("b")]
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: pins.broken == 1)
        assert hub.names() == ["srv__a"]  # a definition whose approval is not durable is not shown
        await until(lambda: hub.names() == ["srv__a", "srv__b"])


async def test_a_new_link_during_a_fetch_is_fetched_from_too() -> None:
    async with Hub() as hub:
        old = link([tool("old")])
        old.gates["tools/list"] = asyncio.Event()
        hub.catalog.on_up("srv", old)
        await until(lambda: old.count("tools/list") == 1)
        hub.catalog.on_up("srv", link([tool("new")]))
        old.gates["tools/list"].set()
        await until(lambda: hub.names() == ["srv__new"])


@pytest.mark.parametrize("state", ["down", "needs_login", "starting"])
async def test_a_server_that_is_away_stays_listed_and_stale(state: State) -> None:
    async with Hub() as hub:
        await hub.up(link([tool()]))
        assert not stale(hub)
        hub.health("srv", state)
        assert hub.names() == ["srv__t"]
        assert stale(hub)


async def test_a_disabled_server_is_hidden_until_it_is_enabled() -> None:
    async with Hub() as hub:
        await hub.up(link([tool()]))
        hub.health("srv", "disabled")
        assert hub.names() == []
        assert hub.catalog.resolve("", "tool", "srv__t") is None
        assert hub.catalog.resolve("", "resource", "srv+x://y") is None
        hub.health("srv", "starting")
        assert hub.names() == ["srv__t"]


async def test_last_known_lists_outlive_a_restart() -> None:
    lists, pins = MemoryLists(), MemoryPins()
    async with Hub(lists=lists, pins=pins) as hub:
        await hub.up(link([tool()], [prompt()], [resource()], [template()]))
        await until(lambda: bool(lists.rows))
    lists.rows["gone"] = {"tool": [tool()]}
    async with Hub(lists=lists, pins=pins) as hub:
        assert hub.names() == ["srv__t"]
        assert stale(hub)
        assert hub.catalog.capabilities("")["completions"] == {}
        item = hub.catalog.resolve("", "resource", "srv+doc://9")
        assert item is not None
        assert item.definition == template()
        assert hub.names("prompt") == ["srv__p"]


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"tool": "junk", "peer": 5},
        {"tool": None, "peer": {"capabilities": None}},
        {"odd": 1, "peer": {"capabilities": {}, "era": "modern", "info": 1, "instructions": 2}},
    ],
)
async def test_what_another_version_stored_is_as_if_it_were_not(stored: Any) -> None:
    async with Hub(lists=MemoryLists({"srv": stored})) as hub:
        assert hub.names() == []


async def test_long_lists_are_taken_in_off_the_loop_with_the_same_result() -> None:
    async with Hub() as hub:
        await hub.up(link([tool(f"t{n:04}") for n in range(1000)]))
        assert len(hub.names()) == 1000
        assert hub.names() == sorted(hub.names())


async def test_endpoints_show_their_own_servers() -> None:
    only = Endpoint("only", frozenset({"b"}))
    bare = Endpoint("bare", frozenset({"b"}), "none")
    async with Hub(spec("a"), spec("b"), endpoints=(Endpoint(""), only, bare)) as hub:
        await hub.up(link([tool()]), "a")
        await hub.up(link([tool()]), "b")
        assert hub.names() == ["a__t", "b__t"]
        assert hub.names(endpoint="only") == ["b__t"]
        assert hub.catalog.resolve("only", "tool", "a__t") is None
        assert hub.catalog.resolve("bare", "tool", "t") is hub.catalog.items("bare", "tool")[0]
        assert hub.catalog.prefix("bare") == "none"


async def test_an_endpoint_that_is_not_configured_has_nothing() -> None:
    async with Hub() as hub:
        await hub.up(link([tool()]))
        assert hub.names(endpoint="nowhere") == []
        assert hub.catalog.resolve("nowhere", "tool", "srv__t") is None
        assert hub.catalog.capabilities("nowhere") == {}
        await hub.catalog.settled("nowhere", 5)


async def test_before_servers_are_up_their_capabilities_are_promised() -> None:
    async with Hub(spec(), spec("off", enabled=False)) as hub:
        assert set(hub.catalog.capabilities("")) == {"tools", "prompts", "resources", "completions", "logging"}
        await hub.up(link(capabilities={"tools": {}}))
        assert set(hub.catalog.capabilities("")) == {"tools"}


# Cold lists.


@pytest.mark.parametrize("endpoint", ["", None])
async def test_settled_waits_for_a_first_list(endpoint: str | None) -> None:
    async with Hub() as hub:
        waiting = asyncio.create_task(hub.catalog.settled(endpoint, 5))
        await asyncio.sleep(0)
        assert not waiting.done()
        await hub.up(link([tool()]))
        await asyncio.wait_for(waiting, 5)
        assert hub.names() == ["srv__t"]


@pytest.mark.parametrize("state", ["down", "needs_login", "disabled"])
async def test_settled_does_not_wait_for_a_first_start_that_failed(state: State) -> None:
    async with Hub(spec("a"), spec("b")) as hub:
        waiting = asyncio.create_task(hub.catalog.settled("", 60))
        await asyncio.sleep(0)
        hub.health("a", "starting")
        hub.health("a", state)
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.health("b", state)
        await asyncio.wait_for(waiting, 5)


async def test_settled_gives_up_on_a_hanging_start_and_later_lists_do_not_wait_again() -> None:
    async with Hub() as hub:
        began = monotonic()
        await hub.catalog.settled("", 0.1)
        waited = monotonic() - began
        assert 0.05 < waited < 2
        for _ in range(50):
            await hub.catalog.settled("", 0.1)
        assert monotonic() - began < waited + 1


async def test_settled_waits_for_no_server_of_another_endpoint() -> None:
    other = Endpoint("other", frozenset({"b"}))
    async with Hub(spec("a"), spec("b"), endpoints=(Endpoint(""), other)) as hub:
        await hub.up(link(), "b")
        await asyncio.wait_for(hub.catalog.settled("other", 60), 5)


async def test_last_known_lists_and_failed_first_fetches_count_as_settled() -> None:
    async with Hub(spec("a"), spec("b"), lists=MemoryLists({"a": {"tool": [tool()]}})) as hub:
        broken = link()
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            broken.answers[method] = [Refused("b", {"code": -32603, "message": "x"})] * 1000
        hub.catalog.on_up("b", broken)
        await asyncio.wait_for(hub.catalog.settled("", 60), 5)
        assert hub.names() == ["a__t"]


async def test_waiting_for_cold_lists_can_be_cancelled() -> None:
    async with Hub() as hub:
        waiting = asyncio.create_task(hub.catalog.settled("", 60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


# Approval of definitions.


async def changed_hub(hub: Hub) -> FakeLink:
    up = link([tool("t", description="old"), tool("u", description="old")])
    await hub.up(up)
    up.lists["tools/list"] = [tool("t", description="new"), tool("u", description="new"), tool("v")]
    before = hub.fetched_at()
    hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
    await until(lambda: hub.fetched_at() != before)
    return up


def hidden(hub: Hub) -> list[str]:
    return [item.native for item in hub.catalog.items("", "tool") if item.changed]


async def test_changed_definitions_wait_for_approval_and_new_items_do_not() -> None:
    async with Hub() as hub:
        await changed_hub(hub)
        assert hidden(hub) == ["t", "u"]
        assert [changed.native for changed in hub.catalog.pending()] == ["t", "u"]
        assert hub.catalog.pending("srv") == hub.catalog.pending()
        assert hub.catalog.pending("other") == ()
        status = hub.catalog.status("srv")
        assert status is not None
        assert (status.waiting, status.counts["tool"]) == (2, 3)


async def test_approval_is_durable_and_of_the_named_definitions_only() -> None:
    async with Hub() as hub:
        await changed_hub(hub)
        assert await hub.catalog.approve("srv", ["t", "nonsense"]) == ("t",)
        assert hidden(hub) == ["u"]
        assert hub.pins.rows["srv", "tool", "t"].definition == tool("t", description="new")
        assert await hub.catalog.approve("srv") == ("u",)
        assert hidden(hub) == []
        assert await hub.catalog.approve("srv") == ()
        assert await hub.catalog.approve("nobody") == ()
        lists, pins = hub.lists, hub.pins
    async with Hub(lists=lists, pins=pins) as hub:
        assert hidden(hub) == []


async def test_a_definition_swapped_after_it_was_read_is_not_approved_unread() -> None:
    async with Hub() as hub:
        up = await changed_hub(hub)
        seen = [changed.sha256 for changed in hub.catalog.pending()]
        up.lists["tools/list"] = [tool("t", description="evil"), tool("u", description="new")]
        before = hub.fetched_at()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: hub.fetched_at() != before)
        assert await hub.catalog.approve("srv", seen=seen) == ("u",)
        assert hidden(hub) == ["t"]


async def test_an_approval_that_is_not_durable_approves_nothing() -> None:
    pins = MemoryPins()
    async with Hub(pins=pins) as hub:
        await changed_hub(hub)
        pins.broken = 1
        with pytest.raises(OSError, match="disk full"):
            await hub.catalog.approve("srv")
        assert hidden(hub) == ["t", "u"]


async def test_a_vanished_item_keeps_its_pin() -> None:
    async with Hub() as hub:
        up = link([tool("t", description="old")])
        await hub.up(up)
        for listed in ([], [tool("t", description="new")]):
            up.lists["tools/list"] = listed
            before = hub.fetched_at()
            hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
            await until(lambda before=before: hub.fetched_at() != before)  # type: ignore[misc]
        assert hidden(hub) == ["t"]


async def test_a_changed_definition_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Hub() as hub:
        await changed_hub(hub)
        before = hub.fetched_at()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        await until(lambda: hub.fetched_at() != before)
    told = [record.getMessage() for record in caplog.records if "differs from what was approved" in record.message]
    assert len(told) == 2
    assert "srv__t of srv differs from what was approved and is hidden; see `mcp-hub servers diff srv`" in told


async def test_warn_lists_what_changed_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with Hub(spec(pins="warn")) as hub:
        await changed_hub(hub)
        assert hidden(hub) == []
        assert len(hub.catalog.pending()) == 2
    assert "differs from what was approved; see" in caplog.text


async def test_malformed_items_are_reported_for_the_operator() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("ok"), {"name": "bad"}]))
        assert hub.names() == ["srv__ok"]
        assert [problem.item for problem in hub.catalog.problems("srv")] == ["bad"]
        status = hub.catalog.status("srv")
        assert status is not None
        assert status.problems == hub.catalog.problems("srv")


async def test_closing_stops_every_task_in_the_middle_of_a_fetch() -> None:
    before = len(asyncio.all_tasks())
    async with Hub() as hub:
        up = link([tool()])
        up.gates["tools/list"] = asyncio.Event()
        hub.catalog.on_up("srv", up)
        await until(lambda: bool(up.asked))
    assert len(asyncio.all_tasks()) == before


def stale(hub: Hub, server: str = "srv") -> bool:
    status = hub.catalog.status(server)
    return status is not None and status.stale


def timed(ttl_ms: int | None = None, capabilities: Any = ALL) -> FakeLink:
    """A modern server that promises so much of every list."""
    up = link([tool()], [prompt()], [resource()], [template()], capabilities, "modern")
    up.ttls = {} if ttl_ms is None else dict.fromkeys(up.lists, ttl_ms)
    return up


def ttls(hub: Hub, endpoint: str = "") -> list[int]:
    return [hub.catalog.ttl_ms(endpoint, kind) for kind in KINDS]


async def test_a_list_may_be_kept_as_long_as_the_least_that_its_servers_promise() -> None:
    only = Endpoint("long", frozenset({"long"}))
    async with Hub(spec("long"), spec("short"), endpoints=(Endpoint(""), only)) as hub:
        await hub.up(timed(60_000), "long")
        await until(lambda: min(ttls(hub, "long")) > 50_000)
        assert ttls(hub) == [0] * 4  # the other has no list yet
        await hub.up(timed(30_000), "short")
        await until(lambda: min(ttls(hub)) > 20_000)
        assert max(ttls(hub)) <= 30_000 < min(ttls(hub, "long"))
        assert ttls(hub, "nowhere") == [0] * 4


async def test_no_list_may_be_kept_for_more_than_an_hour() -> None:
    async with Hub() as hub:
        await hub.up(timed(10**12))
        await until(lambda: min(ttls(hub)) > 0)
        assert max(ttls(hub)) <= 3_600_000


@pytest.mark.parametrize(
    "other", [timed, lambda: timed(0), lambda: link([tool()], [prompt()], [resource()], [template()])]
)
async def test_one_server_that_promises_nothing_leaves_nothing_to_keep(other: Callable[[], FakeLink]) -> None:
    async with Hub(spec("a"), spec("b"), endpoints=(Endpoint(""), Endpoint("a", frozenset({"a"})))) as hub:
        await hub.up(timed(60_000), "a")
        await hub.up(other(), "b")
        await until(lambda: min(ttls(hub, "a")) > 0)
        assert ttls(hub) == [0] * 4


async def test_servers_without_lists_of_a_kind_do_not_shorten_it_unless_all_are_without() -> None:
    async with Hub(spec("a"), spec("b")) as hub:
        await hub.up(timed(60_000, {"tools": {}, "prompts": {}}), "a")
        await hub.up(timed(60_000, {"tools": {}}), "b")
        await until(lambda: min(ttls(hub)[:2]) > 50_000)
        assert ttls(hub)[2:] == [0, 0]


async def test_news_of_a_list_leaves_nothing_of_it_until_it_is_fetched_again() -> None:
    async with Hub() as hub:
        up = timed(60_000)
        await hub.up(up)
        await until(lambda: min(ttls(hub)) > 0)
        up.gates["tools/list"] = asyncio.Event()
        hub.catalog.on_notified("srv", TOOLS_CHANGED, {})
        assert ttls(hub)[0] == 0
        assert min(ttls(hub)[1:]) > 0
        await until(lambda: up.count("tools/list") == 2)
        assert ttls(hub)[0] == 0
        up.gates["tools/list"].set()
        await until(lambda: min(ttls(hub)) > 0)


@pytest.mark.parametrize("state", ["down", "needs_login", "starting"])
async def test_nothing_of_a_server_that_is_away_may_be_kept_but_a_disabled_one_does_not_count(state: State) -> None:
    async with Hub(spec("a"), spec("b")) as hub:
        await hub.up(timed(60_000), "a")
        await hub.up(timed(60_000), "b")
        await until(lambda: min(ttls(hub)) > 0)
        hub.health("b", state)
        assert ttls(hub) == [0] * 4
        hub.health("b", "disabled")
        assert min(ttls(hub)) > 0


async def test_last_known_lists_promise_nothing() -> None:
    stored = MemoryLists()
    async with Hub(lists=stored) as hub:
        await hub.up(timed(60_000))
    async with Hub(lists=stored) as hub:
        assert hub.names() == ["srv__t"]
        hub.health("srv", "ready")
        assert ttls(hub) == [0] * 4


async def test_a_server_that_tells_no_changes_is_asked_again_and_a_failure_keeps_its_last_list() -> None:
    async with Hub(pace=replace(FAST, again_s=0.01)) as hub:
        up = link([tool("a")], capabilities={"tools": {}})
        await hub.up(up)
        up.lists["tools/list"] = [tool("b")]
        await until(lambda: hub.names() == ["srv__b"])
        up.gates["tools/list"] = asyncio.Event()
        up.answers["tools/list"] = [Late("srv", "no answer")] * 100
        up.gates["tools/list"].set()
        await until(lambda: stale(hub))
        assert hub.names() == ["srv__b"]
        up.answers.clear()
        await until(lambda: not stale(hub))


async def test_a_server_that_lists_the_same_again_keeps_its_very_items_and_one_that_does_not_gets_new_ones() -> None:
    async with Hub() as hub:
        await hub.up(link([tool("a"), tool("b")], [prompt()]))
        before = hub.catalog.items("", "tool")
        await hub.up(link([tool("b"), tool("a")], [prompt()]))
        assert hub.catalog.items("", "tool") == before, "items are equal when they are the same"
        await hub.up(link([tool("a"), tool("b", title="B")], [prompt()]))
        assert [item.shown.get("title") for item in hub.catalog.items("", "tool")] == [None, "B"]
        assert hub.lists.rows["srv"]["tool"] == [tool("a"), tool("b", title="B")]
