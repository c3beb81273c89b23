"""When likenesses are made anew, that they are logged once, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hub.core.call import Item
from hub.downstream import lookalikes
from hub.downstream.lookalikes import Lookalikes
from tests.downstream.catalog_fakes import Hub, link, spec, tool, until
from tests.downstream.test_likeness import a_tool


class Tools:
    """What the servers list now."""

    def __init__(self) -> None:
        self.now: dict[str, list[Item]] = {"a": [a_tool("a", "send_email")], "b": [a_tool("b", "read_file")]}
        self.asked = 0

    def __call__(self) -> dict[str, list[Item]]:
        self.asked += 1
        return self.now

    def clash(self) -> None:
        self.now = {**self.now, "b": [a_tool("b", "send-email")]}


async def test_lists_that_changed_are_compared_a_little_later_and_once() -> None:
    tools = Tools()
    made = Lookalikes(tools, delay_s=0.001)
    for _ in range(10):
        made.touch()
    await until(lambda: tools.asked == 1)
    tools.clash()
    made.touch()
    await until(lambda: made.of("a") != ())
    assert [each.other for each in made.of("b")] == ["a__send_email"]
    assert made.of("unknown") == ()
    await made.aclose()


async def test_who_asks_for_the_present_does_not_wait_for_the_timer() -> None:
    tools = Tools()
    made = Lookalikes(tools, delay_s=3600)
    made.touch()
    await made.renewed()
    tools.clash()
    await made.renewed()
    assert made.of("a") == ()  # nobody said that lists changed
    made.touch()
    await made.renewed()
    assert made.of("a") != ()
    await made.aclose()


async def test_a_change_in_the_midst_of_a_comparison_is_not_lost() -> None:
    tools = Tools()
    made = Lookalikes(tools, delay_s=3600)
    made.touch()
    first = asyncio.create_task(made.renewed())
    await until(lambda: tools.asked == 1)
    tools.clash()
    made.touch()
    await asyncio.gather(made.renewed(), first)
    assert made.of("a") != ()
    await made.aclose()


async def test_each_likeness_is_logged_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()
    tools.clash()
    made = Lookalikes(tools, delay_s=3600)
    with caplog.at_level(logging.WARNING, "hub.downstream.lookalikes"):
        for _ in range(3):
            made.touch()
            await made.renewed()
    assert [record.getMessage() for record in caplog.records] == [
        "a__send_email looks like b__send-email; see `mcp-hub servers test a`",
        "b__send-email looks like a__send_email; see `mcp-hub servers test b`",
    ]
    await made.aclose()


async def test_a_flood_of_likenesses_is_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()
    tools.now = {id: [a_tool(id, f"tool_{n * 7919}_of_many") for n in range(30)] for id in ("a", "b")}
    made = Lookalikes(tools, delay_s=3600)
    with caplog.at_level(logging.WARNING, "hub.downstream.lookalikes"):
        made.touch()
        await made.renewed()
    assert len(caplog.records) == lookalikes.LOGGED + 1
    assert "more such likenesses" in caplog.records[-1].getMessage()
    await made.aclose()


async def test_a_comparison_that_fails_costs_its_warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()
    tools.clash()
    made = Lookalikes(tools, delay_s=0.001)
    made.touch()
    await made.renewed()
    good, tools.now = tools.now, {"a": [None]}  # type: ignore[list-item]
    made.touch()
    await made.renewed()
    assert "failed" in caplog.text
    assert made.of("a") != ()
    tools.now = {"a": good["a"]}
    made.touch()
    await until(lambda: made.of("a") == ())
    await made.aclose()


async def test_nothing_is_made_after_the_end() -> None:
    tools = Tools()
    made = Lookalikes(tools, delay_s=0.001)
    made.touch()
    await made.aclose()
    made.touch()
    await asyncio.sleep(0.01)
    assert tools.asked == 0
    busy = Lookalikes(tools, delay_s=0.0)
    busy.touch()
    await until(lambda: tools.asked == 1)
    busy.touch()
    await busy.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "lookalikes"]


async def test_a_server_that_is_rarely_still_is_compared_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookalikes, "REST", 1_000_000)
    tools = Tools()
    made = Lookalikes(tools, delay_s=0.0)
    made.touch()
    await until(lambda: tools.asked == 1)
    made.touch()
    await asyncio.sleep(0.05)
    assert tools.asked == 1
    await made.renewed()
    assert tools.asked == 2
    await made.aclose()


async def test_the_catalogue_compares_what_enabled_servers_list() -> None:
    async with Hub(spec("a"), spec("b")) as hub:
        await hub.up(link([tool("send_email")]), "a")
        await hub.up(link([tool("send-email")]), "b")
        await hub.catalog.compared()
        assert [each.other for each in hub.catalog.likenesses("a")] == ["b__send-email"]
        hub.health("b", "disabled")
        await hub.catalog.compared()
        assert hub.catalog.likenesses("a") == ()
        hub.health("b", "ready")
        await hub.catalog.compared()
        assert len(hub.catalog.likenesses("a")) == 1
        await hub.catalog.apply([spec("a")], {})
        await hub.catalog.compared()
        assert hub.catalog.likenesses("a") == hub.catalog.likenesses("b") == ()
