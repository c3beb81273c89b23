"""The tool that stands for a server before its login: who sees it, when, and that nothing else is taken for it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from mcp_types import Tool

from hub.core.connections import ServerAuth
from hub.core.errors import NeedsLogin
from hub.core.names import split_name
from hub.core.ports import Change, Endpoint
from hub.downstream.link import ServerSpec
from hub.downstream.login_tool import is_login_tool, login_tool
from policies.detectors.scan import RuleDetector
from policies.texts import strings
from tests.downstream.catalog_fakes import link, prompt, spec, tool, until
from tests.downstream.own_fakes import ALL, ANNA, BEN, OwnHub, personal

NAME = "srv__log_in"
POINTS = (Endpoint(""), Endpoint("bare", frozenset({"srv"}), "none"), Endpoint("other", frozenset({"other"})))


def test_it_takes_nothing_changes_nothing_and_says_when_to_call_it() -> None:
    item = login_tool(personal("notion"))
    assert (item.kind, item.server, item.name, item.native) == ("tool", "notion", "notion__log_in", "log_in")
    assert (item.writes, item.changed) == (False, False)
    assert split_name(item.name) == ("notion", "log_in")
    schema = item.definition["inputSchema"]
    assert (schema["type"], schema["properties"], schema["additionalProperties"]) == ("object", {}, False)
    read = Tool.model_validate(json.loads(json.dumps(item.definition)))
    assert read.annotations is not None
    assert read.annotations.open_world_hint is True
    assert read.description is not None
    assert "notion" in read.description
    assert "browser" in read.description
    assert login_tool(personal("notion")).sha256 == item.sha256 != login_tool(personal("linear")).sha256


def test_nothing_in_its_words_reads_like_an_attack() -> None:
    definition = login_tool(personal("notion")).definition
    assert RuleDetector().scan("\n".join(strings(definition)), "description") == ()


async def test_a_server_that_needs_a_login_invites_every_account_to_it() -> None:
    async with OwnHub(personal(), spec("other"), endpoints=POINTS) as hub:
        assert hub.names(ANNA) == []
        told, _ = hub.watch(ANNA)
        hub.silent()
        assert hub.names(ANNA) == [NAME]
        item = hub.find(ANNA, NAME)
        assert item is not None
        assert is_login_tool(item)
        assert item.shown["name"] == NAME
        assert hub.own.items("", "tool", ANNA) == (item,)
        assert hub.find(BEN, NAME) is item
        assert [hub.names(ANNA, kind) for kind in ALL[1:]] == [[], [], []]
        await until(lambda: told == [Change("tool")])


async def test_it_keeps_its_own_name_where_names_are_left_alone_and_is_not_where_its_server_is_not() -> None:
    async with OwnHub(personal(), spec("other"), endpoints=POINTS) as hub:
        hub.silent()
        item = hub.find(ANNA, "log_in", endpoint="bare")
        assert item is not None
        assert is_login_tool(item)
        assert (item.name, item.shown["name"]) == (NAME, "log_in")
        assert hub.find(ANNA, NAME, endpoint="bare") is None
        assert hub.names(ANNA, endpoint="other") == []
        assert hub.find(ANNA, NAME, endpoint="other") is None


async def test_whoever_sees_what_everybody_sees_does_not_see_it() -> None:
    async with OwnHub() as hub:
        hub.silent()
        assert hub.names("") == []
        assert hub.find("", NAME) is None


async def test_every_kind_is_promised_before_the_login() -> None:
    async with OwnHub() as hub:
        await hub.base.up(link(capabilities={"prompts": {}}))
        assert set(hub.own.capabilities("", ANNA)) == {"prompts"}
        hub.silent()
        assert {"tools", "prompts", "resources"} <= set(hub.own.capabilities("", ANNA))
        assert set(hub.own.capabilities("", "")) == {"prompts"}


async def test_it_gives_way_to_the_accounts_list_and_comes_back_without_it() -> None:
    async with OwnHub() as hub:
        hub.silent()
        told, _ = hub.watch(ANNA)
        await hub.log_in(ANNA, link([tool("mine")]))
        assert hub.names(ANNA) == ["srv__mine"]
        asked_before = hub.find(ANNA, NAME)  # its caller asks again once the login is made
        assert asked_before is not None
        assert is_login_tool(asked_before)
        assert hub.names(BEN) == [NAME]
        await until(lambda: told == [Change("tool")])
        hub.log_out(ANNA)
        assert hub.names(ANNA) == [NAME]
        await until(lambda: told == [Change("tool")] * 2)


async def test_an_own_list_of_nothing_invites_nobody() -> None:
    async with OwnHub() as hub:
        hub.silent()
        await hub.log_in(ANNA, link())
        assert hub.names(ANNA) == []


async def test_it_is_not_shown_while_a_list_is_on_its_way_but_when_the_login_has_ended() -> None:
    async with OwnHub() as hub:
        hub.silent()
        mine = link([tool("mine")])
        mine.gates["tools/list"] = asyncio.Event()
        hub.connect(ANNA, mine)
        hub.own.begun("srv", ANNA)
        assert hub.names(ANNA) == []
        mine.gates["tools/list"].set()
        await hub.shows(ANNA, "srv__mine")
        hub.connect(BEN, NeedsLogin("srv", "its login has ended"))
        await hub.own.settled("", 5.0, BEN)
        assert hub.names(BEN) == [NAME]


async def test_a_server_that_opens_to_all_and_lists_to_none_without_a_token_invites_too() -> None:
    """Some servers ask for a token at `tools/list` first; the link stands then, and no state says needs_login."""
    async with OwnHub() as hub:
        up = link([tool("t")], capabilities={"tools": {}})
        up.answers["tools/list"] = [NeedsLogin("srv", "answers with HTTP 401") for _ in range(1000)]
        hub.base.health("srv", "ready")
        hub.base.catalog.on_up("srv", up)
        await hub.shows(ANNA, NAME)
        up.answers.clear()  # it lists to all now
        await hub.shows(ANNA, "srv__t")


async def test_an_account_whose_own_lists_are_refused_is_invited() -> None:
    async with OwnHub() as hub:
        hub.silent()
        mine = link([tool("mine")], capabilities={"tools": {}})
        mine.answers["tools/list"] = [NeedsLogin("srv", "answers with HTTP 401") for _ in range(1000)]
        await hub.log_in(ANNA, mine)
        assert hub.names(ANNA) == [NAME]
        mine.answers.clear()
        await hub.shows(ANNA, "srv__mine")


async def test_who_lists_something_to_everybody_invites_nobody() -> None:
    async with OwnHub() as hub:
        await hub.base.up(link(prompts=[prompt("p")]))
        hub.silent()
        assert (hub.names(ANNA), hub.names(ANNA, "prompt")) == ([], ["srv__p"])


async def test_only_servers_where_everybody_has_his_own_account_invite() -> None:
    servers: list[ServerSpec] = [spec("srv"), replace(personal("shared"), auth=ServerAuth(account="shared"))]
    async with OwnHub(*servers) as hub:
        for server in servers:
            hub.silent(server.id)
        assert hub.names(ANNA) == []


async def test_a_server_that_is_down_or_disabled_or_changed_invites_nobody() -> None:
    async with OwnHub() as hub:
        for state in ("down", "disabled", "starting", "ready"):
            hub.silent()
            assert hub.names(ANNA) == [NAME]
            hub.base.health("srv", state)
            assert hub.names(ANNA) == [], state
        hub.silent()
        await hub.base.catalog.apply([replace(personal(), auth=None)], {"": Endpoint("")})
        assert hub.names(ANNA) == []


async def test_a_servers_own_tool_of_that_name_is_its_own_even_as_a_copy() -> None:
    copied: dict[str, Any] = json.loads(json.dumps(login_tool(personal()).definition))
    async with OwnHub() as hub:
        await hub.base.up(link([copied]))
        hub.silent()
        item = hub.find(ANNA, NAME)
        assert item is not None
        assert item.sha256 == login_tool(personal()).sha256
        assert not is_login_tool(item)
        assert hub.names(ANNA) == [NAME]
        await hub.log_in(BEN, link([copied]))
        own = hub.find(BEN, NAME)
        assert own is not None
        assert not is_login_tool(own)


async def test_the_same_item_stands_as_long_as_its_server_does() -> None:
    async with OwnHub(personal(), spec("other")) as hub:
        hub.silent()
        item = hub.find(ANNA, NAME)
        await hub.base.up(link([tool("o")]), "other")
        assert hub.find(ANNA, NAME) is item
        assert hub.names(ANNA) == ["other__o", NAME]
