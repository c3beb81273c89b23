"""The reference client, at its newest revision, against the hub's own HTTP server over fake ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared.exceptions import MCPError

from hub.core.ports import Change, Endpoint
from hub.edge.ports import Limits
from tests.edge.fakes import CLIENT_TOKEN, FakeChanges, FakePipeline, eventually, fake_ports
from tests.edge.harness import Door, door, served

Mode = Literal["2026-07-28", "auto"]
MODES: tuple[Mode, ...] = ("2026-07-28", "auto")


@asynccontextmanager
async def connected(
    mode: Mode = "auto", token: str = CLIENT_TOKEN, **overrides: Any
) -> AsyncIterator[tuple[Client, Door]]:
    client_of = overrides.pop("client", {})
    it = door(fake_ports(limits=replace(Limits(), drain_s=1.0), **overrides))
    async with (
        served(it.app, it.ports.limits) as (host, port, _),
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"http://{host}:{port}/mcp", http_client=http), mode=mode, **client_of) as client,
    ):
        yield client, it


def pipeline_of(it: Door) -> FakePipeline:
    found: Any = it.ports.handle
    assert isinstance(found, FakePipeline)
    return found


@pytest.mark.parametrize("mode", MODES)
async def test_the_client_finds_the_modern_era_and_everything_that_is_offered(mode: Mode) -> None:
    async with connected(mode) as (client, it):
        tools = await client.list_tools()
        assert [tool.name for tool in tools.tools] == ["demo__echo", "demo__fail", "demo__hang", "demo__talk"]
        assert [p.name for p in (await client.list_prompts()).prompts] == ["demo__greet"]
        assert [r.uri for r in (await client.list_resources()).resources] == ["demo+file:///readme"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [t.uri_template for t in templates] == ["demo+file:///{path}"]
        assert {call.client.era for call in pipeline_of(it).calls} == {"modern"}
        assert it.legacy.seen == []


@pytest.mark.parametrize("mode", MODES)
async def test_the_client_calls_gets_and_reads(mode: Mode) -> None:
    async with connected(mode) as (client, _):
        result = await client.call_tool("demo__echo", {"text": "grüß"})
        assert result.content[0].text == "grüß"  # type: ignore[union-attr]
        assert (await client.get_prompt("demo__greet", {"who": "me"})).messages[0].role == "user"
        assert (await client.read_resource("demo+file:///readme")).contents[0].text == "read me"  # type: ignore[union-attr]


async def test_a_refused_call_is_a_result_and_an_unknown_tool_an_error() -> None:
    async with connected() as (client, _):
        refused = await client.call_tool("demo__fail", {})
        assert refused.is_error
        assert refused.meta is not None
        assert refused.meta["io.mcp-hub/code"] == "rate_limited"
        with pytest.raises(MCPError) as caught:
            await client.call_tool("demo__nothing", {})
        assert caught.value.error.code == -32602
        assert caught.value.error.data["_meta"]["io.mcp-hub/code"] == "unknown_item"


async def test_progress_arrives_in_order_before_the_result() -> None:
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with connected() as (client, _):
        result = await client.call_tool("demo__talk", {}, progress_callback=on_progress)
        assert result.content[0].text == "talked"  # type: ignore[union-attr]
        await eventually(lambda: told == [1, 2, 3])


async def test_log_messages_arrive_for_the_call_that_asked_for_them() -> None:
    told: list[Any] = []

    async def on_log(params: Any) -> None:
        told.append(params.data)

    asking: Any = {"io.modelcontextprotocol/logLevel": "error"}
    async with connected(client={"logging_callback": on_log}) as (client, _):
        await client.call_tool("demo__talk", {}, meta=asking)
        await eventually(lambda: told == ["step 3"])


async def test_a_cancelled_call_is_cancelled_in_the_pipeline() -> None:
    async with connected() as (client, it):
        pipeline = pipeline_of(it)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "demo__hang", {})
                await pipeline.hanging.wait()
                scope.cancel()
        await eventually(lambda: len(pipeline.cancelled) == 1)
        assert (await client.call_tool("demo__echo", {"text": "still here"})).is_error is False


async def test_a_list_in_pages_is_walked_to_its_end() -> None:
    async with connected(endpoints={"": Endpoint("", page_size=1)}) as (client, _):
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            names.extend(tool.name for tool in page.tools)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == ["demo__echo", "demo__fail", "demo__hang", "demo__talk"]


async def test_the_client_hears_of_changes_until_the_hub_closes_the_stream() -> None:
    changes = FakeChanges()
    async with connected(changes=changes) as (client, it):
        async with client.listen(tools_list_changed=True, prompts_list_changed=True) as subscription:
            assert subscription.honored.tools_list_changed is True
            changes.emit(Change("tool"))
            async with asyncio.timeout(5):
                assert isinstance(await anext(subscription), ToolsListChanged)
                it.modern.drain()
                assert [event async for event in subscription] == []
        await eventually(lambda: changes.watchers == {})


async def test_fifty_calls_at_once_are_all_answered_with_their_own_result() -> None:
    async with connected() as (client, _):
        results = await asyncio.gather(*(client.call_tool("demo__echo", {"text": str(n)}) for n in range(50)))
        assert [r.content[0].text for r in results] == [str(n) for n in range(50)]  # type: ignore[union-attr]


async def test_a_wrong_token_is_refused_before_anything_is_called() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with connected("2026-07-28", token="wrong") as (client, _):
            await client.list_tools()
    assert caught.group_contains(MCPError)
