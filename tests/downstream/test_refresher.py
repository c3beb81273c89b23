"""When lists are asked for again, and how long they are taken for current."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from typing import Any

import pytest

from hub.core.call import Json, Kind
from hub.core.errors import Late
from hub.downstream.definitions import KINDS
from hub.downstream.link import ServerSpec
from hub.downstream.refresher import Pace, Refresher, Round
from tests.downstream.catalog_fakes import FAST, FakeLink, link, spec, tool, until

TOOLS: Json = {"tools": {}}
TOLD: Json = {"tools": {"listChanged": True}}
NEVER = replace(FAST, again_min_s=3600.0, again_s=3600.0)
SOON = replace(FAST, again_min_s=3600.0, again_s=0.01)  # for lists without a time
OVER = replace(FAST, again_min_s=0.01, again_s=3600.0)  # for lists whose time is over
HOUR = 3_600_000
TOOL: tuple[Kind, ...] = ("tool",)


@dataclass
class Taken:
    """What the owner of a refresher is given."""

    refresher: Refresher = field(init=False)
    rounds: list[Round] = field(default_factory=list)
    broken: int = 0  # so many rounds are not taken in
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, round: Round) -> None:
        await self.gate.wait()
        if self.broken:
            self.broken -= 1
            raise OSError("disk full")
        self.rounds.append(round)


@asynccontextmanager
async def refreshing(pace: Pace, of: ServerSpec | None = None) -> AsyncIterator[Taken]:
    taken = Taken()
    taken.gate.set()
    taken.refresher = Refresher(of or spec(), pace, taken)
    try:
        yield taken
    finally:
        await taken.refresher.aclose()


def modern(ttl_ms: int | None = None, capabilities: Json = TOOLS) -> FakeLink:
    made = link([tool()], capabilities=capabilities, era="modern")
    if ttl_ms is not None:
        made.ttls = dict.fromkeys(made.lists, ttl_ms)
    return made


def left_s(taken: Taken) -> float:
    return taken.refresher.left_s("tool")


async def test_before_any_link_nothing_is_current() -> None:
    async with refreshing(NEVER) as taken:
        assert [taken.refresher.left_s(kind) for kind in KINDS] == [0.0] * 4


async def test_what_is_left_is_counted_from_before_the_list_was_asked_for() -> None:
    async with refreshing(NEVER) as taken:
        up = modern(60_000)
        up.gates["tools/list"] = asyncio.Event()
        began = monotonic()
        taken.refresher.up(up)
        await until(lambda: up.count("tools/list") == 1)
        assert left_s(taken) == 0
        asked = monotonic()
        await asyncio.sleep(0.02)
        up.gates["tools/list"].set()
        await until(lambda: left_s(taken) > 0)
        before, left, after = monotonic(), left_s(taken), monotonic()
        assert began + 60 - after <= left <= asked + 60 - before


async def test_a_kind_that_is_not_offered_stays_as_it_is() -> None:
    async with refreshing(NEVER) as taken:
        taken.refresher.up(modern(60_000))
        await until(lambda: left_s(taken) > 0)
        assert taken.refresher.left_s("prompt") == inf


@pytest.mark.parametrize("ttl_ms", [2 * HOUR, 10**400])
async def test_no_promise_is_believed_for_more_than_an_hour(ttl_ms: int) -> None:
    async with refreshing(Pace()) as taken:
        taken.refresher.up(modern(ttl_ms))
        await until(lambda: left_s(taken) > 0)
        assert 3590 < left_s(taken) <= 3600


async def test_a_list_said_to_be_new_is_not_current_until_it_is_fetched() -> None:
    async with refreshing(NEVER) as taken:
        up = modern(60_000, {"tools": {}, "prompts": {}})
        taken.refresher.up(up)
        await until(lambda: left_s(taken) > 0)
        taken.refresher.changed(TOOL)
        assert left_s(taken) == 0
        assert taken.refresher.left_s("prompt") > 0
        await until(lambda: left_s(taken) > 0)
        assert up.count("tools/list") == 2


async def test_news_during_a_fetch_leaves_no_time_to_what_was_fetched() -> None:
    async with refreshing(NEVER) as taken:
        up = modern(60_000)
        taken.gate.clear()
        taken.refresher.up(up)
        await until(lambda: up.count("tools/list") == 1)
        taken.refresher.changed(TOOL)
        up.gates["tools/list"] = asyncio.Event()
        taken.gate.set()
        await until(lambda: up.count("tools/list") == 2)
        assert left_s(taken) == 0
        up.gates["tools/list"].set()
        await until(lambda: left_s(taken) > 0)


async def test_nothing_is_current_of_a_dead_link_or_before_a_new_one_is_asked() -> None:
    async with refreshing(NEVER) as taken:
        old, new = modern(60_000), modern(60_000)
        taken.refresher.up(old)
        await until(lambda: left_s(taken) > 0)
        old.alive = False
        assert left_s(taken) == 0
        taken.refresher.up(new)
        assert left_s(taken) == 0
        await until(lambda: left_s(taken) > 0)


async def test_what_was_not_taken_in_is_not_current() -> None:
    async with refreshing(replace(NEVER, retry_s=3600.0)) as taken:
        up = modern(60_000)
        taken.broken = 1
        taken.refresher.up(up)
        await until(lambda: taken.broken == 0)
        assert left_s(taken) == 0
        taken.refresher.changed(TOOL)
        await until(lambda: left_s(taken) > 0)


@pytest.mark.parametrize(
    ("of", "up"),
    [
        (spec(), lambda: link([tool()], capabilities=TOOLS)),
        (ServerSpec("srv", "http"), lambda: link([tool()], capabilities=TOLD)),
        (ServerSpec("srv", "http"), lambda: modern(0, TOLD)),
        (spec(), lambda: modern(None, TOLD)),
    ],
    ids=["announces nothing", "may refuse the stream", "stateless", "may refuse to be listened to"],
)
async def test_who_gives_no_time_and_may_tell_no_changes_is_asked_again_and_again(of: ServerSpec, up: Any) -> None:
    async with refreshing(SOON, of) as taken:
        asked = up()
        taken.refresher.up(asked)
        await until(lambda: asked.count("tools/list") >= 4)
        assert {frozenset(round.fetched) for round in taken.rounds[1:]} == {frozenset({"tool"})}


async def test_who_is_sure_to_tell_is_not_asked_again() -> None:
    async with refreshing(SOON) as taken:
        up = link([tool()], capabilities={"tools": {"listChanged": True}, "prompts": {}})
        taken.refresher.up(up)
        await until(lambda: up.count("prompts/list") >= 4)
        assert up.count("tools/list") == 1


async def test_a_list_whose_time_is_over_is_asked_for_again_and_others_are_not() -> None:
    async with refreshing(OVER) as taken:
        up = modern(capabilities={"tools": {"listChanged": True}, "prompts": {}})
        up.ttls = {"tools/list": 5, "prompts/list": HOUR}
        taken.refresher.up(up)
        await until(lambda: up.count("tools/list") >= 4)
        assert up.count("prompts/list") == 1


@pytest.mark.parametrize(("ttl_ms", "pace"), [(1, NEVER), (HOUR, OVER)], ids=["short times", "long times"])
async def test_no_list_is_asked_for_before_its_time_nor_too_often(ttl_ms: int, pace: Pace) -> None:
    async with refreshing(pace) as taken:
        up = modern(ttl_ms)
        taken.refresher.up(up)
        await until(lambda: len(taken.rounds) == 1)
        await asyncio.sleep(0.1)
        assert up.count("tools/list") == 1


async def test_servers_are_not_asked_all_at_once() -> None:
    async with refreshing(replace(SOON, jitter=1e6)) as taken:  # later by 5000 s on the average
        up = modern()
        taken.refresher.up(up)
        await until(lambda: len(taken.rounds) == 1)
        await asyncio.sleep(0.1)
        assert up.count("tools/list") == 1


async def test_a_dead_link_is_not_asked_and_the_next_one_is_asked_again_and_again() -> None:
    async with refreshing(SOON) as taken:
        old, new = modern(), modern()
        taken.refresher.up(old)
        await until(lambda: old.count("tools/list") >= 2)
        old.alive = False
        before = old.count("tools/list")
        await asyncio.sleep(0.05)
        assert old.count("tools/list") <= before + 1  # one may have been on its way
        taken.refresher.up(new)
        await until(lambda: new.count("tools/list") >= 3)


async def test_a_failure_when_asked_again_is_reported_and_tried_again() -> None:
    async with refreshing(SOON) as taken:
        up = modern()
        taken.refresher.up(up)
        await until(lambda: len(taken.rounds) == 1)
        up.answers["tools/list"] = [Late("srv", "no answer")]
        await until(lambda: any(round.failed == ("tool",) for round in taken.rounds))
        failed = len(taken.rounds)
        await until(lambda: len(taken.rounds) >= failed + 2)
        assert taken.rounds[-1].fetched["tool"].definitions == (tool(),)


async def test_a_failure_when_asked_again_waits_as_long_as_any_other() -> None:
    async with refreshing(replace(SOON, retry_s=3600.0)) as taken:
        up = modern()
        taken.refresher.up(up)
        await until(lambda: len(taken.rounds) == 1)
        up.answers["tools/list"] = [Late("srv", "no answer")]
        await until(lambda: any(round.failed == ("tool",) for round in taken.rounds))
        before = up.count("tools/list")
        await asyncio.sleep(0.1)
        assert up.count("tools/list") == before


async def test_closing_ends_the_asking() -> None:
    async with refreshing(SOON) as taken:
        up = modern()
        taken.refresher.up(up)
        await until(lambda: up.count("tools/list") >= 2)
        await taken.refresher.aclose()
        before = up.count("tools/list")
        await asyncio.sleep(0.05)
        assert up.count("tools/list") == before
