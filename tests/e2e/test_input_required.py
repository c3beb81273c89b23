"""Questions of real modern servers, answered by the SDK's own client through a running hub, and by nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from tests.downstream.servers import asking
from tests.downstream.servers.asking import STATE
from tests.e2e.real import TOKEN, Hub, Json, Road, hub_over

pytestmark = pytest.mark.e2e

SERVER: Final = str(Path(asking.__file__))
MODERN: Final = "2026-07-28"
SERVERS: Final = ("pipe", "web")  # one behind stdio, one behind HTTP
ROADS: Final[tuple[Road, ...]] = ("modern", "stdio")
ADA: Final[Json] = {"action": "accept", "content": {"name": "Ada"}}
PARIS: Final[Json] = {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"}
ROOTS: Final[Json] = {"roots": [{"uri": "file:///home/ada"}]}
ANSWERS: Final[Json] = {"who": ADA}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    command = [sys.executable, SERVER, "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as web:
        assert web.stdout is not None
        url = f"http://127.0.0.1:{int(web.stdout.readline())}/mcp"
        servers: dict[str, Json] = {
            "pipe": {"command": sys.executable, "args": [SERVER], "trusted": True},
            "web": {"url": url, "trusted": True},
        }
        limits = {"limits": {"per_caller": {"per_minute": 6000, "burst": 1000}}}
        try:
            with hub_over(tmp_path_factory.mktemp("asking"), servers, **limits) as running:
                yield running
        finally:
            web.kill()


class User:
    """Answers everything, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def elicit(self, ctx: Any, params: Any) -> types.ElicitResult:
        self.asked.append(getattr(params, "url", None) or params.message)
        if params.mode == "url":
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(self, ctx: Any, params: Any) -> types.CreateMessageResult:
        self.asked.append(params.messages[0].content.text)
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Paris"), model="m")

    async def roots(self, ctx: Any) -> types.ListRootsResult:
        self.asked.append("roots")
        return types.ListRootsResult(roots=[types.Root.model_validate(ROOTS["roots"][0])])

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
        }


@asynccontextmanager
async def able(hub: Hub, token: str = TOKEN) -> AsyncIterator[Client]:
    """A client that can be asked anything, whoever it is."""
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        transport = streamable_http_client(f"{hub.url}/mcp", http_client=http)
        async with Client(transport, mode=MODERN, **User().callbacks) as client:
            yield client


async def call(client: Client, name: str, state: str | None = None, answers: Any = None, **arguments: Any) -> Any:
    """One round and no more."""
    responses: types.InputResponses | None = None
    if answers is not None:
        responses = {"who": types.ElicitResult.model_validate(answers)}
    return await client.session.call_tool(
        name, arguments, request_state=state, input_responses=responses, allow_input_required=True
    )


async def asked(client: Client, name: str, **arguments: Any) -> str:
    first = await call(client, name, **arguments)
    assert isinstance(first, types.InputRequiredResult)
    assert first.request_state is not None
    return first.request_state


async def refused(client: Client, name: str, state: str | None, **arguments: Any) -> None:
    with pytest.raises(MCPError) as caught:
        await call(client, name, state, ADA, **arguments)
    assert caught.value.error.code == -32602
    assert caught.value.error.data["_meta"]["io.mcp-hub/code"] == "state_refused"


async def seen(client: Client, server: str, name: str) -> list[Json]:
    """What this tool's server got, oldest first."""
    result = await client.call_tool(f"{server}__seen", {})
    assert result.structured_content is not None
    return [one for one in result.structured_content["got"] if one["name"] == name]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("road", ROADS)
async def test_every_kind_of_question_is_asked_answered_and_carried_out(hub: Hub, road: Road, server: str) -> None:
    user = User()
    async with hub.client(road, MODERN, **user.callbacks) as client:
        for name, got, questions in (
            ("form", {"who": ADA}, ["who?"]),
            ("sample", {"capital": PARIS}, ["capital of France?"]),
            ("roots", {"where": ROOTS}, ["roots"]),
            ("url", {"consent": {"action": "accept"}}, ["https://example.com/consent"]),
            ("all", {"who": ADA, "capital": PARIS, "where": ROOTS}, ["capital of France?", "roots", "who?"]),
            ("steps", {"two": ADA}, ["one?", "two?"]),
            ("wait", "waited", []),
            ("pay", {"who": ADA}, ["sure?"]),
            ("spend", {"who": ADA}, ["sure?"]),
        ):
            user.asked.clear()
            result = await client.call_tool(f"{server}__{name}", {})
            assert (name, result.structured_content) == (name, {"got": got})
            assert sorted(user.asked) == questions
        prompt = await client.get_prompt(f"{server}__ask")
        assert isinstance(prompt.messages[0].content, types.TextContent)
        assert prompt.messages[0].content.text == "from Ada"
        read = await client.read_resource(f"{server}+doc://ask")
        assert isinstance(read.contents[0], types.TextResourceContents)
        assert read.contents[0].text == "for Ada"
        rounds = (await seen(client, server, "steps"))[-3:]
        assert [one["state"] for one in rounds] == [None, STATE, STATE + "2"]
        can: Json = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
        assert all(one["declared"] == can for one in rounds)


@pytest.mark.parametrize("server", SERVERS)
async def test_nobody_is_asked_for_what_he_did_not_declare(hub: Hub, server: str) -> None:
    async with hub.client("modern", MODERN) as client:
        for name, needed in (("rogue", {"elicitation": {"form": {}}}), ("lacking", {"sampling": {}})):
            with pytest.raises(MCPError) as caught:
                await client.call_tool(f"{server}__{name}", {})
            assert caught.value.error.code == -32021
            assert caught.value.error.data["requiredCapabilities"] == needed
        assert (await seen(client, server, "rogue"))[-1]["declared"] == {}


async def test_a_legacy_client_is_told_that_it_cannot_be_asked(hub: Hub) -> None:
    async with hub.client("legacy", "legacy", **User().callbacks) as client:
        result = await client.call_tool("web__form", {})
        assert result.is_error is True
        assert result.meta is not None
        assert result.meta["io.mcp-hub/code"] == "input_required"


@pytest.mark.parametrize("server", SERVERS)
async def test_a_state_serves_its_own_call_once_and_no_other(hub: Hub, server: str) -> None:
    async with able(hub) as client:
        state = await asked(client, f"{server}__spend", sum=1)
        before = len(await seen(client, server, "spend"))
        await refused(client, f"{server}__spend", state + "-TAMPERED", sum=1)
        await refused(
            client, f"{server}__spend", state[:-6] + ("AAAAAA" if state[-6:] != "AAAAAA" else "BBBBBB"), sum=1
        )
        await refused(client, f"{server}__spend", STATE, sum=1)  # the server's own, which a client never saw
        await refused(client, f"{server}__spend", None, sum=1)
        await refused(client, f"{server}__spend", state, sum=1_000_000)
        await refused(client, f"{server}__pay", state, sum=1)
        assert len(await seen(client, server, "spend")) == before
        done = await call(client, f"{server}__spend", state, ADA, sum=1)
        assert done.structured_content == {"got": ANSWERS}
        await refused(client, f"{server}__spend", state, sum=1)
        assert len(await seen(client, server, "spend")) == before + 1


async def test_a_state_is_worth_nothing_to_another_caller(hub: Hub) -> None:
    made = json.loads(hub.told("keys", "create", "--name", "bob", "--server", "*", "--json").stdout)
    async with able(hub) as ada, able(hub, made["key"]) as bob:
        state = await asked(ada, "web__spend")
        await refused(bob, "web__spend", state)
        mine = await asked(bob, "web__spend")
        await refused(ada, "web__spend", mine)
        assert (await call(ada, "web__spend", state, ADA)).structured_content == {"got": ANSWERS}
        assert (await call(bob, "web__spend", mine, ADA)).structured_content == {"got": ANSWERS}


async def test_every_round_is_in_the_log_and_so_is_each_refusal(hub: Hub) -> None:
    async with able(hub) as client:
        state = await asked(client, "web__pay", mark=7)
        await refused(client, "web__pay", "forged", mark=7)
        await call(client, "web__pay", state, ADA, mark=7)
    lines = hub.told("audit", "tail", "--limit", "12", "--json").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    told = [one["outcome"] for one in entries if one["item"] == "web__pay" and one["kind"] == "call"]
    assert told[-3:] == ["asked", "denied:state_refused", "done"]
    assert state not in "".join(lines)
    assert "Ada" not in "".join(lines)


async def test_a_question_outlives_the_hub_that_asked_it(hub: Hub) -> None:
    keys = hub.data_dir / "keys" / "request-state"
    assert keys.stat().st_mode & 0o777 == 0o600
    async with able(hub) as client:
        state = await asked(client, "web__spend", restart=True)
    hub.stop()
    hub.start()
    async with able(hub) as client:
        assert (await call(client, "web__spend", state, ADA, restart=True)).structured_content == {"got": ANSWERS}
    hub.stop()
    keys.unlink()
    hub.start()
    async with able(hub) as client:
        state = await asked(client, "web__spend", restart=True)
        assert (await call(client, "web__spend", state, ADA, restart=True)).structured_content == {"got": ANSWERS}
