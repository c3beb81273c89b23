"""Endpoints over the admin API: made, shown, replaced and removed while the hub runs, each change in the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.admin.endpoints import MANY_TOKENS, MOST_ALIKE
from hub.core.ports import Conflict, RegistryRow
from hub.downstream.likeness import Likeness
from hub.wire import jsonrpc
from tests.admin.asking import CLIENT, READER, Api
from tests.admin.endpoint_parts import World
from tests.downstream.test_likeness import a_tool

ENTRY: dict[str, Any] = {"servers": ["time"], "tools": ["time__get_*"], "read_only": True, "instructions": "Be brief."}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def ask(world: World, method: str, path: str, body: Any = None, **given: Any) -> Any:
    return await Api(world.parts().ports()).ask(method, f"/api/v1{path}", body=body, **given)


async def test_an_endpoint_is_made_and_in_force_at_once(world: World) -> None:
    made = await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})
    assert made.status == 201
    assert made.headers["etag"] == '"1"'
    found = made.json
    assert world.live.config.endpoints["x"].tools == ("time__get_*",)
    assert (found["path"], found["sse"], found["provenance"], found["in_force"]) == (
        "/x/mcp",
        "/x/sse",
        "database",
        True,
    )
    assert found["offered"] == {"tool": 1, "prompt": 1, "resource": 0, "template": 0}
    assert found["schema_bytes"] == len(jsonrpc.dumps(world.offer.tools[0].shown))
    assert found["tokens"] == found["schema_bytes"] // 4
    assert found["warnings"] == []
    assert world.journal.events == [
        (
            "admin",
            "local:admin",
            "done",
            {"act": "endpoints.add", "endpoint": "x", "before": None, "after": ENTRY},
        )
    ]
    assert (await ask(world, "GET", "/endpoints/x")).json == found


async def test_every_endpoint_is_listed_with_its_origin(world: World) -> None:
    await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})
    found = (await ask(world, "GET", "/endpoints")).json
    assert [(row["path"], row["provenance"], row["version"]) for row in found["endpoints"]] == [
        ("/clock/mcp", "file", None),
        ("/mcp", "default", None),
        ("/x/mcp", "database", 1),
    ]
    assert found["next"] is None
    default = found["endpoints"][1]
    assert (default["offered"]["tool"], default["hidden"], default["servers"], default["tools"]) == (3, 1, None, None)
    one = (await ask(world, "GET", "/endpoints?limit=1")).json
    assert (one["next"], len(one["endpoints"])) == ("/clock/mcp", 1)


async def test_an_endpoint_is_replaced_by_who_saw_it_last(world: World) -> None:
    await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})
    assert (await ask(world, "PUT", "/endpoints/x", {})).status == 428
    done = await ask(world, "PUT", "/endpoints/x", {"page_size": 5}, headers={"If-Match": '"1"'})
    assert (done.status, done.headers["etag"], done.json["page_size"]) == (200, '"2"', 5)
    stale = await ask(world, "PUT", "/endpoints/x", {"page_size": 9}, headers={"If-Match": '"1"'})
    assert (stale.status, world.live.config.endpoints["x"].page_size) == (412, 5)
    assert world.journal.events[-1][3] == {
        "act": "endpoints.replace",
        "endpoint": "x",
        "before": ENTRY,
        "after": {"page_size": 5},
    }


async def test_an_endpoint_is_removed_by_who_saw_it_last(world: World) -> None:
    await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})
    assert (await ask(world, "DELETE", "/endpoints/x")).status == 428
    assert (await ask(world, "DELETE", "/endpoints/x", headers={"If-Match": '"7"'})).status == 412
    assert (await ask(world, "DELETE", "/endpoints/x", headers={"If-Match": '"1"'})).status == 204
    assert "x" not in world.live.config.endpoints
    assert world.journal.events[-1][3]["before"] == ENTRY
    assert (await ask(world, "GET", "/endpoints/x")).status == 404


async def test_the_default_endpoint_is_overlaid_and_comes_back(world: World) -> None:
    made = await ask(world, "POST", "/endpoints", {"name": "", "servers": ["wiki"]})
    assert (made.status, made.json["path"], made.json["sse"]) == (201, "/mcp", "/sse")
    assert (await ask(world, "DELETE", "/endpoints/-", headers={"If-Match": '"1"'})).status == 204
    found = (await ask(world, "GET", "/endpoints/-")).json
    assert (found["provenance"], found["servers"]) == ("default", None)
    builtin = await ask(world, "DELETE", "/endpoints/-", headers={"If-Match": '"1"'})
    assert (builtin.status, builtin.json["code"]) == (409, "built_in")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "x", "servers": ["nobody"]}, 422, "'nobody' is not in mcpServers"),
        ({"name": "x", "prefix": "none"}, 422, "exactly one server"),
        ({"name": "x", "tools": []}, 422, "body"),
        ({"name": "x", "tolls": ["*"]}, 422, "body"),
        ({"name": "UP"}, 422, "body"),
        ({"name": "x/y"}, 422, "body"),
        ({"servers": "*"}, 422, "body"),
        ({"name": "x", "page_size": 0}, 422, "body"),
        ({"name": "x", "instructions": "x" * 40_000}, 422, "body"),
        ({"name": "clock"}, 409, "is there already"),
    ],
)
async def test_what_no_endpoint_may_be_is_refused_and_changes_nothing(
    world: World, body: Any, status: int, words: str
) -> None:
    refused = await ask(world, "POST", "/endpoints", body)
    assert refused.status == status
    assert words in refused.json["detail"]
    assert world.live.rows() == ()
    assert world.journal.events == []


@pytest.mark.parametrize(("method", "body"), [("PUT", {}), ("DELETE", None)])
async def test_an_endpoint_of_the_file_is_changed_in_the_file(world: World, method: str, body: Any) -> None:
    refused = await ask(world, method, "/endpoints/clock", body, headers={"If-Match": '"1"'})
    assert (refused.status, refused.json["code"]) == (409, "from_file")
    assert (await ask(world, method, "/endpoints/nope", body, headers={"If-Match": '"1"'})).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/endpoints"),
        ("POST", "/endpoints"),
        ("GET", "/endpoints/x"),
        ("PUT", "/endpoints/x"),
        ("DELETE", "/endpoints/x"),
    ],
)
async def test_every_route_wants_the_admin_scope(world: World, method: str, path: str) -> None:
    assert (await ask(world, method, path, {}, who=None)).status == 401
    for who in (CLIENT, READER):
        assert (await ask(world, method, path, {}, who=who)).status == 403
    assert world.live.rows() == ()


async def test_what_cannot_be_logged_is_undone(world: World) -> None:
    world.journal.broken = True
    assert (await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})).status == 500
    assert "x" not in world.live.config.endpoints
    world.journal.broken = False
    await ask(world, "POST", "/endpoints", {"name": "x", **ENTRY})
    world.journal.broken = True
    answer = await ask(world, "PUT", "/endpoints/x", {"servers": "*"}, headers={"If-Match": '"1"'})
    assert (answer.status, "s3cret" in answer.body.decode()) == (500, False)
    assert world.live.config.endpoints["x"].servers == frozenset({"time"})
    assert (await ask(world, "DELETE", "/endpoints/x", headers={"If-Match": '"3"'})).status == 500
    assert "x" not in world.live.config.endpoints  # that only narrows


async def test_the_maker_is_warned_of_what_may_not_be_meant(world: World) -> None:
    entry = {"name": "x", "tools": ["time__set_*", "nope__*", "wiki__*"], "read_only": True}
    assert (await ask(world, "POST", "/endpoints", entry)).json["warnings"] == [
        "the pattern nope__* matches no tool",
        "wiki is not trusted, so none of its tools counts as read-only (trusted: true would believe it)",
        "old is disabled and offers nothing",
        "no tool is offered here now",
    ]
    default = (await ask(world, "GET", "/endpoints/-")).json
    assert "1 changed definitions are hidden until they are approved" in default["warnings"]


async def test_a_large_endpoint_and_tools_that_are_alike_are_warned_of(world: World) -> None:
    world.offer.tools = [a_tool("time", f"t{n}", "x" * 50_000) for n in range(3)] + [a_tool("wiki", "t0")]
    alike = tuple(Likeness("time", "time__t0", "near_name", "wiki__t0") for n in range(MOST_ALIKE + 2))
    world.offer.alike = (*alike, Likeness("time", "time__t1", "mentions", "gone__t"))
    found = (await ask(world, "GET", "/endpoints/-")).json
    assert found["tokens"] > MANY_TOKENS
    assert any(f"about {found['tokens']} tokens" in warning for warning in found["warnings"])
    assert found["warnings"].count(alike[0].text) == MOST_ALIKE
    assert found["warnings"][-1] == "and 2 more tools that are like another"
    clock = (await ask(world, "GET", "/endpoints/clock")).json
    assert not any("one character" in warning for warning in clock["warnings"])


async def test_an_endpoint_whose_server_is_gone_is_shown_as_set_aside_and_can_be_removed(world: World) -> None:
    row = RegistryRow("local", "endpoint", "y", {"servers": ["gone"]}, 4, "then", "then", "local:admin")
    await world.store.put(row, None)
    await world.live.load()
    [found] = [row for row in (await ask(world, "GET", "/endpoints")).json["endpoints"] if row["name"] == "y"]
    assert (found["in_force"], found["servers"], found["offered"]) == (False, ["gone"], None)
    shown = await ask(world, "GET", "/endpoints/y")
    assert "not in force" in shown.json["warnings"][0]
    assert (await ask(world, "POST", "/endpoints", {"name": "y"})).status == 409
    assert (await ask(world, "DELETE", "/endpoints/y", headers={"If-Match": shown.headers["etag"]})).status == 204
    assert world.live.rows() == ()


async def test_two_who_remove_at_once_are_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(world, "POST", "/endpoints", {"name": "x"})

    async def quicker(name: str, who: str, expected: int) -> None:
        raise LookupError("no endpoint is registered as 'x'")

    monkeypatch.setattr(world.live, "remove_endpoint", quicker)
    assert (await ask(world, "DELETE", "/endpoints/x", headers={"If-Match": '"1"'})).status == 404


async def test_a_name_is_checked_by_the_desk_too(world: World) -> None:
    with pytest.raises(Exception, match="lower case"):
        await world.desk.add("local:admin", "No Name", {})
    await world.desk.add("local:admin", "x", {})
    with pytest.raises(Conflict):
        await world.desk.replace("local:admin", "x", {}, 9)


async def test_prompts_of_a_selection_stay_and_hidden_ones_do_not_count(world: World) -> None:
    world.offer.tools = [replace(tool, changed=True) for tool in world.offer.tools]
    found = (await ask(world, "GET", "/endpoints/clock")).json
    assert (found["offered"]["tool"], found["offered"]["prompt"], found["hidden"]) == (0, 1, 2)
