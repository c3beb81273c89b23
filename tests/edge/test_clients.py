"""Real clients over real sockets: the SDK's legacy modes against sessions and HTTP+SSE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import TextContent

from hub.core.ports import Change
from hub.edge.http import HubApp
from hub.edge.mcp_legacy import LegacyEdge
from hub.edge.mcp_modern import ModernEdge
from hub.edge.mcp_sse import SseEdge
from hub.edge.ports import EdgePorts, Limits
from tests.edge.asgi import BOTH
from tests.edge.fakes import CLIENT_TOKEN, FakeChanges, FakePipeline, eventually, fake_ports, item
from tests.edge.harness import rest, served
from tests.edge.test_legacy import call, initialize, request

Road = Literal["http", "sse"]
ROADS: tuple[Road, ...] = ("http", "sse")
BEARER = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
README = "demo+file:///readme"
DEPRECATED = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


class Hub:
    def __init__(self, ports: EdgePorts, address: str) -> None:
        self.address = address
        assert isinstance(ports.handle, FakePipeline)
        assert isinstance(ports.changes, FakeChanges)
        self.pipeline, self.changes = ports.handle, ports.changes

    @asynccontextmanager
    async def client(self, road: Road, mode: Any = "legacy", path: str = "", **how: Any) -> AsyncIterator[Client]:
        if road == "sse":
            transport = sse_client(f"{self.address}{path}/sse", headers=BEARER)
            async with Client(transport, mode=mode, **how) as client:
                yield client
            return
        async with create_mcp_http_client(headers=BEARER) as http:
            transport = streamable_http_client(f"{self.address}{path}/mcp", http_client=http)
            async with Client(transport, mode=mode, **how) as client:
                yield client


@asynccontextmanager
async def hub(**overrides: Any) -> AsyncIterator[Hub]:
    ports = fake_ports(**{"limits": replace(Limits(), drain_s=1.0), **overrides})
    app = HubApp(ports, ModernEdge(ports), LegacyEdge(ports), SseEdge(ports), rest, metrics_open=False)
    async with served(app, ports.limits) as (host, port, _):
        yield Hub(ports, f"http://{host}:{port}")


def text(result: Any) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_real_client_lists_calls_reads_and_completes(road: Road, mode: str) -> None:
    async with hub() as h, h.client(road, mode) as client:
        assert (await client.list_tools()).tools[0].name == "demo__echo"
        assert text(await client.call_tool("demo__echo", {"text": "hi"})) == "hi"
        assert (await client.list_prompts()).prompts[0].name == "demo__greet"
        assert (await client.get_prompt("demo__greet", {})).messages
        assert str((await client.list_resources()).resources[0].uri) == README
        assert (await client.read_resource(README)).contents
        assert (await client.list_resource_templates()).resource_templates
        eras = {call.client.era for call in h.pipeline.calls}
        assert eras == {"legacy" if mode == "legacy" else "modern"}


@pytest.mark.parametrize("road", ROADS)
async def test_an_endpoint_of_its_own_path_is_served(road: Road) -> None:
    async with hub() as h, h.client(road, path="/team") as client:
        await client.list_tools()
        assert {call.endpoint for call in h.pipeline.calls} == {"team"}


@pytest.mark.parametrize("road", ROADS)
async def test_progress_reaches_a_real_client(road: Road) -> None:
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with hub() as h, h.client(road) as client:
        result = await client.call_tool("demo__talk", {}, progress_callback=on_progress)
        assert text(result) == "talked"
        await eventually(lambda: told == [1, 2, 3])


@DEPRECATED
@pytest.mark.parametrize("road", ROADS)
async def test_log_messages_reach_a_real_client_that_set_a_level(road: Road) -> None:
    told: list[Any] = []

    async def on_log(params: Any) -> None:
        told.append(params.data)

    async with hub() as h, h.client(road, logging_callback=on_log) as client:
        await client.session.set_logging_level("error")
        await client.call_tool("demo__talk", {})
        await eventually(lambda: told == ["step 3"])


@pytest.mark.parametrize("road", ROADS)
async def test_a_real_clients_cancellation_cancels_the_call(road: Road) -> None:
    async with hub() as h, h.client(road) as client:
        running = asyncio.create_task(client.call_tool("demo__hang", {}))
        await asyncio.wait_for(h.pipeline.hanging.wait(), 5)
        running.cancel()
        await asyncio.wait([running])
        await eventually(lambda: len(h.pipeline.cancelled) == 1)
        assert text(await client.call_tool("demo__echo", {"text": "still here"})) == "still here"


@DEPRECATED
@pytest.mark.parametrize("road", ROADS)
async def test_changes_reach_a_real_client(road: Road) -> None:
    told: list[str] = []

    async def on_message(message: Any) -> None:
        told.append(type(message).__name__)

    async with hub() as h, h.client(road, message_handler=on_message) as client:
        await client.session.subscribe_resource(README)
        await eventually(lambda: bool(h.changes.watchers))
        h.changes.emit(Change("tool"))
        h.changes.emit(Change("resource", item("resource", "file:///readme")))
        await eventually(lambda: len(told) == 2)
        assert told == ["ToolListChangedNotification", "ResourceUpdatedNotification"]


@pytest.mark.parametrize("road", ROADS)
async def test_refusals_reach_a_real_client_with_their_call_id(road: Road) -> None:
    async with hub() as h, h.client(road) as client:
        refused = await client.call_tool("demo__fail", {})
        assert refused.is_error
        assert refused.meta is not None
        assert refused.meta["io.mcp-hub/call"] == h.pipeline.calls[-1].id
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("demo__nothing", {})
        assert unknown.value.error.code == -32602


async def test_a_real_client_learns_that_its_session_is_gone() -> None:
    limits = replace(Limits(), drain_s=1.0, session_idle_s=-1.0)
    async with hub(limits=limits) as h, h.client("http") as client:
        with pytest.raises(MCPError, match="send initialize anew"):
            await client.call_tool("demo__echo", {})


async def test_a_legacy_client_that_hangs_up_does_not_cancel_its_call() -> None:
    async with hub() as h, create_mcp_http_client(headers={**BEARER, "Accept": BOTH}) as http:
        opening = await http.post(f"{h.address}/mcp", json=initialize())
        session = {"Mcp-Session-Id": opening.headers["mcp-session-id"]}
        posting = asyncio.create_task(http.post(f"{h.address}/mcp", json=call("hang"), headers=session))
        await asyncio.wait_for(h.pipeline.hanging.wait(), 5)
        posting.cancel()
        await asyncio.wait([posting])
        answer = await http.post(f"{h.address}/mcp", json=request("ping", id=2), headers=session)
        assert answer.json()["result"] == {}
        assert h.pipeline.cancelled == []
        h.pipeline.release.set()


async def test_a_listen_over_sse_is_told_of_changes() -> None:
    async with (
        hub() as h,
        h.client("sse", "2026-07-28") as client,
        client.listen(tools_list_changed=True, resource_subscriptions=[README]) as news,
    ):
        assert news.honored.resource_subscriptions == [README]
        h.changes.emit(Change("tool"))
        assert type(await asyncio.wait_for(anext(news), 5)).__name__ == "ToolsListChanged"
