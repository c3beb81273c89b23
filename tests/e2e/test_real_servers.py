"""Seven servers that nobody here wrote behind one hub: they offer and answer what they offer and answer without it.

Compared as JSON off the wire, under the same (no) client capabilities. What differs, and why, is said where it is
taken out of the comparison.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import ResourceUpdatedNotification

from tests.e2e.real import EVERYTHING, ROADS, Json, Road, World, ask, every, public, renamed, timeless, until

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

on_every_road = pytest.mark.parametrize("road", ROADS)
CALLS: Final[tuple[tuple[str, Json], ...]] = (
    ("echo", {"message": "hé, 漢字"}),
    ("get-sum", {"a": 0.5, "b": 9007199254740993}),
    ("get-structured-content", {"location": "Chicago"}),
    ("get-tiny-image", {}),
    ("get-annotated-message", {"messageType": "error", "includeImage": True}),
    ("get-resource-links", {"count": 3}),
    ("get-resource-reference", {"resourceType": "Blob", "resourceId": 2}),
    ("simulate-research-query", {"topic": "x"}),  # wants to be run as a task: an error of its own
)
PROMPTS: Final[tuple[tuple[str, Json], ...]] = (
    ("simple-prompt", {}),
    ("args-prompt", {"city": "Ulm", "state": "BW"}),
    ("completable-prompt", {"department": "Sales", "name": "Alice"}),
    ("resource-prompt", {"resourceType": "Text", "resourceId": "3"}),
)
RESOURCES: Final = (
    "demo://resource/static/document/features.md",
    "demo://resource/dynamic/text/4",
    "demo://resource/dynamic/blob/4",
)
TEMPLATE: Final = "demo://resource/dynamic/text/{resourceId}"
LISTS: Final[Mapping[str, tuple[str, str]]] = {
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}


@pytest.fixture(scope="module")
def direct(world: World) -> Mapping[str, tuple[list[Json], Json]]:
    """What each server lists and answers without the hub."""

    async def look() -> dict[str, tuple[list[Json], Json]]:
        found: dict[str, tuple[list[Json], Json]] = {}
        for id, server in world.servers.items():
            async with server.direct() as client:
                answer = await ask(client, "tools/call", {"name": server.tool, "arguments": server.arguments})
                found[id] = (await every(client, "tools/list", "tools"), answer)
        return found

    return anyio.run(look)


@on_every_road
async def test_every_tool_of_every_server_is_listed_with_its_own_schema(
    world: World, direct: Mapping[str, tuple[list[Json], Json]], road: Road
) -> None:
    expected = {}
    for id, (tools, _) in direct.items():
        for tool in tools:
            shown = {**tool, "name": f"{id}__{tool['name']}"}
            shown.pop("execution", None)  # it speaks of tasks, which the hub does not carry
            expected[shown["name"]] = shown
    async with world.hub.client(road) as client:
        listed = await every(client, "tools/list", "tools")
    assert {tool["name"]: tool for tool in listed} == expected
    assert [tool["name"] for tool in listed] == sorted(expected)
    assert len(expected) > 60


@on_every_road
async def test_a_tool_of_every_server_answers_as_it_does_without_the_hub(
    world: World, direct: Mapping[str, tuple[list[Json], Json]], road: Road
) -> None:
    async with world.hub.client(road) as client:
        for id, server in world.servers.items():
            params = {"name": f"{id}__{server.tool}", "arguments": server.arguments}
            answer = await ask(client, "tools/call", params)
            assert timeless(answer) == timeless(direct[id][1]), id
            assert server.says in answer["content"][0]["text"]


async def everything_said(client: Client, id: str | None) -> dict[str, Any]:
    """What one everything answers to one script, under its own names or (with an id) under the hub's."""

    def name(native: str) -> str:
        return native if id is None else f"{id}__{native}"

    def uri(native: str) -> str:
        return native if id is None else public(id, native)

    said: dict[str, Any] = {}
    for tool, arguments in CALLS:
        said[tool] = await ask(client, "tools/call", {"name": name(tool), "arguments": arguments})
    for prompt, arguments in PROMPTS:
        said[prompt] = await ask(client, "prompts/get", {"name": name(prompt), "arguments": arguments})
    for resource in RESOURCES:
        said[resource] = await ask(client, "resources/read", {"uri": uri(resource)})
    of_prompt = {"type": "ref/prompt", "name": name("completable-prompt")}
    argument = {"name": "department", "value": "S"}
    said["complete a prompt"] = await ask(client, "completion/complete", {"ref": of_prompt, "argument": argument})
    in_context = {"name": "name", "value": "E"}, {"arguments": {"department": "Sales"}}
    said["complete in context"] = await ask(
        client, "completion/complete", {"ref": of_prompt, "argument": in_context[0], "context": in_context[1]}
    )
    of_template = {
        "ref": {"type": "ref/resource", "uri": uri(TEMPLATE)},
        "argument": {"name": "resourceId", "value": "7"},
    }
    said["complete a template"] = await ask(client, "completion/complete", of_template)
    with pytest.raises(MCPError) as refused:
        await ask(client, "resources/read", {"uri": uri("demo://resource/dynamic/text/x")})
    said["an error of its own"] = (refused.value.error.code, refused.value.error.message)
    return said


@on_every_road
@pytest.mark.parametrize("id", EVERYTHING)
async def test_calls_prompts_resources_and_completions_differ_in_names_alone(world: World, id: str, road: Road) -> None:
    async with world.servers[id].direct() as client:
        without = await everything_said(client, None)
    async with world.hub.client(road) as client:
        through = await everything_said(client, id)
    for what, answer in without.items():
        assert timeless(through[what]) == timeless(renamed(id, answer)), what
    links = through["get-resource-links"]["content"][1:]
    assert [link["uri"].startswith(f"{id}+demo://") for link in links] == [True] * 3


@on_every_road
@pytest.mark.parametrize("id", EVERYTHING)
async def test_prompts_resources_and_templates_are_listed_as_declared(world: World, id: str, road: Road) -> None:
    for method, (key, named_by) in LISTS.items():
        async with world.servers[id].direct() as client:
            declared = await every(client, method, key)
        async with world.hub.client(road) as client:
            listed = await every(client, method, key)
        separator = "__" if named_by == "name" else "+"
        expected = [{**one, named_by: f"{id}{separator}{one[named_by]}"} for one in declared]
        mine = [one for one in listed if one[named_by].startswith(f"{id}{separator}")]
        assert mine == sorted(expected, key=lambda one: str(one[named_by]))
        assert mine


@on_every_road
@pytest.mark.parametrize("id", EVERYTHING)
async def test_progress_crosses(world: World, id: str, road: Road) -> None:
    told: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total))

    async with world.hub.client(road) as client:
        name = f"{id}__trigger-long-running-operation"
        done = await client.call_tool(name, {"duration": 0.2, "steps": 4}, progress_callback=on_progress)
        assert not done.is_error
        await until(lambda: told == [(1, 4), (2, 4), (3, 4), (4, 4)], "progress")


@on_every_road
@pytest.mark.parametrize("id", EVERYTHING)
async def test_log_messages_cross_to_a_client_that_wants_them(world: World, id: str, road: Road) -> None:
    told: list[str] = []

    async def on_log(params: Any) -> None:
        told.append(params.data)

    # A legacy server says nothing of the call that made it log: the message has to come before the call's answer,
    # which it does on one stream, and on the two streams of Streamable HTTP nearly always.
    async with world.hub.client(road, logging_callback=on_log, log_level="debug") as client:
        if client.session.protocol_version != "2026-07-28":
            await client.session.set_logging_level("debug")
        for _ in range(10):
            for expected in ("Started", "Stopped"):
                answer = await ask(client, "tools/call", {"name": f"{id}__toggle-simulated-logging", "arguments": {}})
                assert answer["content"][0]["text"].startswith(expected)
            if told:
                break
        await until(lambda: bool(told), "a log message")
        assert all("message" in data for data in told)


async def test_log_messages_do_not_cross_to_a_client_that_asked_for_none(world: World) -> None:
    told: list[str] = []

    async def on_log(params: Any) -> None:
        told.append(params.data)

    async with world.hub.client("legacy", logging_callback=on_log) as client:
        for _ in range(2):
            await ask(client, "tools/call", {"name": "every-stdio__toggle-simulated-logging", "arguments": {}})
    assert told == []


@on_every_road
async def test_concurrent_calls_to_all_servers_get_each_their_own_answer(world: World, road: Road) -> None:
    answers: dict[tuple[str, int], Json] = {}

    async def call(client: Client, id: str, number: int) -> None:
        params = {"name": f"{id}__echo", "arguments": {"message": f"{id} {number}"}}
        answers[id, number] = await ask(client, "tools/call", params)

    async with world.hub.client(road) as client, anyio.create_task_group() as tasks:
        for number in range(20):
            for id in EVERYTHING:
                tasks.start_soon(functools.partial(call, client, id, number))
    assert len(answers) == 60
    for (id, number), answer in answers.items():
        assert answer == {"content": [{"type": "text", "text": f"Echo: {id} {number}"}]}


@asynccontextmanager
async def subscribed(client: Client, uri: str, told: list[str]) -> AsyncIterator[None]:
    """Updates of one resource, as the era of this client asks for them."""
    if client.session.protocol_version != "2026-07-28":
        await client.session.subscribe_resource(uri)
        yield
        return

    async def read(news: Any) -> None:
        async for one in news:
            told.append(str(one.uri))

    async with client.listen(resource_subscriptions=[uri]) as news, anyio.create_task_group() as tasks:
        tasks.start_soon(read, news)
        yield
        tasks.cancel_scope.cancel()


@on_every_road
@pytest.mark.parametrize("id", EVERYTHING)
async def test_updates_of_a_resource_cross_under_its_public_uri(world: World, id: str, road: Road) -> None:
    told: list[str] = []

    async def on_message(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told.append(str(message.params.uri))

    uri = public(id, RESOURCES[0])
    toggle = {"name": f"{id}__toggle-subscriber-updates", "arguments": {}}
    async with world.hub.client(road, message_handler=on_message) as client, subscribed(client, uri, told):
        started = await ask(client, "tools/call", toggle)
        try:
            assert started["content"][0]["text"].startswith("Started")
            await until(lambda: bool(told), "an update")
        finally:
            await ask(client, "tools/call", toggle)
    assert set(told) == {uri}
