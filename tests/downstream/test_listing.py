"""One list of one downstream: all its pages, within bounds whatever the other side does."""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

import pytest

from hub.core.call import Json
from hub.core.errors import Garbled, Late, Refused
from hub.downstream.link import Exchange, ServerSpec
from hub.downstream.listing import Fetched, fetch, offers, tells
from tests.downstream.catalog_fakes import FakeLink, peer, spec, tool


def pages(*answers: Any, method: str = "tools/list", era: Literal["modern", "legacy"] = "legacy") -> FakeLink:
    made = FakeLink(era=era)
    made.answers[method] = list(answers)
    return made


async def test_all_pages_are_fetched_in_their_order_and_an_empty_cursor_is_one() -> None:
    link = pages(
        {"tools": [tool("a")], "nextCursor": ""},
        {"tools": [tool("b")], "nextCursor": "2"},
        {"tools": [tool("c")]},
    )
    assert await fetch(spec(), link, "tool") == Fetched((tool("a"), tool("b"), tool("c")))
    assert link.asked == [("tools/list", {}), ("tools/list", {"cursor": ""}), ("tools/list", {"cursor": "2"})]


async def test_a_repeating_cursor_ends_the_list() -> None:
    link = pages(*({"tools": [tool(f"t{n}")], "nextCursor": "same"} for n in range(9)))
    assert len((await fetch(spec(), link, "tool")).definitions) == 2


@pytest.mark.parametrize("cursor", [None, 5, {}, ["x"]])
async def test_what_is_no_cursor_ends_the_list(cursor: Any) -> None:
    link = pages({"tools": [tool()], "nextCursor": cursor}, {"tools": [tool("b")]})
    assert (await fetch(spec(), link, "tool")).definitions == (tool(),)


class Endless(FakeLink):
    """A new cursor on every page."""

    def __init__(self, per_page: int) -> None:
        super().__init__()
        self.next = count()
        self.per_page = per_page

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        self.asked.append((method, params))
        exchange.size_bytes = self.size_bytes
        member = "resourceTemplates" if "templates" in method else "tools"
        return {member: [{}] * self.per_page, "nextCursor": str(next(self.next))}


async def test_a_list_without_end_is_cut_after_its_pages() -> None:
    link = Endless(1)
    fetched = await fetch(spec(), link, "tool")
    assert (len(fetched.definitions), fetched.cut) == (100, "only the first 100 pages are shown")


async def test_a_list_too_long_is_cut_and_said() -> None:
    fetched = await fetch(spec(), Endless(3000), "tool")
    assert (len(fetched.definitions), fetched.cut) == (10_000, "only the first 10000 are shown")
    assert len((await fetch(spec(), Endless(300), "template")).definitions) == 1000


async def test_all_pages_together_are_bounded_in_bytes() -> None:
    link = Endless(1)
    link.size_bytes = 400
    fetched = await fetch(spec(max_result_bytes=1000), link, "tool")
    assert (len(fetched.definitions), fetched.cut) == (3, "only the first 1000 bytes are shown")


@pytest.mark.parametrize("answer", [{}, {"tools": None}, {"tools": {}}, {"tools": "x"}, [], None])
async def test_an_answer_without_the_list_is_garbled(answer: Any) -> None:
    with pytest.raises(Garbled, match="no list 'tools'"):
        await fetch(spec(), pages(answer), "tool")


async def test_a_declared_kind_whose_method_is_missing_is_an_empty_list() -> None:
    refused = Refused("srv", {"code": -32601, "message": "Method not found"})
    link = pages(refused, method="resources/templates/list")
    assert await fetch(spec(), link, "template") == Fetched(())


@pytest.mark.parametrize(
    "answers",
    [
        (Refused("srv", {"code": -32603, "message": "x"}),),
        ({"tools": [tool()], "nextCursor": "1"}, Refused("srv", {"code": -32601, "message": "x"})),
        (Late("srv", "no answer"),),
    ],
)
async def test_a_list_that_fails_in_its_middle_is_no_list(answers: tuple[Any, ...]) -> None:
    with pytest.raises((Refused, Late)):
        await fetch(spec(), pages(*answers), "tool")


@pytest.mark.parametrize(
    ("told", "ttl"),
    [
        (({"ttlMs": 9000},), 9000),
        (({"ttlMs": 9000}, {"ttlMs": 500}, {"ttlMs": 7000}), 500),
        (({"ttlMs": 9000}, {}), 0),
        (({"ttlMs": 0},), 0),
        (({},), 0),
        (({"ttlMs": -1},), 0),
        (({"ttlMs": True},), 0),
        (({"ttlMs": 5.5},), 0),
        (({"ttlMs": "9000"},), 0),
    ],
)
async def test_a_list_is_promised_for_the_least_time_of_its_pages(told: tuple[Any, ...], ttl: int) -> None:
    answers = [{"tools": [], "nextCursor": str(n), **hint} for n, hint in enumerate(told)]
    del answers[-1]["nextCursor"]
    assert (await fetch(spec(), pages(*answers, era="modern"), "tool")).ttl_ms == ttl


async def test_a_legacy_server_promises_no_time_whatever_it_sends() -> None:
    assert (await fetch(spec(), pages({"tools": [], "ttlMs": 9000}), "tool")).ttl_ms == 0


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http", "sse", "inprocess"])
def test_changes_are_sure_to_be_told_only_where_no_stream_for_them_can_be_refused(era: Any, transport: Any) -> None:
    capabilities = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {}}
    by = ServerSpec("srv", transport)
    assert tells(by, peer(capabilities, era), "tool") is (era == "legacy" and transport != "http")
    assert not any(tells(by, peer(capabilities, era), kind) for kind in ("prompt", "resource", "template"))
    everything = peer({"resources": {"listChanged": True}}, "legacy")
    assert tells(spec(), everything, "template")


def test_a_kind_is_offered_when_its_capability_is_declared() -> None:
    assert offers(peer({"tools": {}}), "tool")
    assert offers(peer({"resources": {}}), "template")
    assert not offers(peer({"prompts": None}), "prompt")
    assert not offers(peer({}), "resource")
