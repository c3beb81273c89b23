"""What the specification asks and no other test shows, through a whole hub over a real server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.live_hub import CLIENT, LiveHub, connected, live_hub

ICONS = [{"src": "https://icons.example/a.png", "mimeType": "image/png", "sizes": ["48x48"]}]
SERVER = f"""
import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import Icon, ListPromptsResult, ListResourcesResult, ListToolsResult, Prompt, Resource, Tool

icons = [Icon.model_validate(icon) for icon in {ICONS!r}]


async def tools(ctx, params):
    return ListToolsResult(tools=[Tool(name="drawn", input_schema={{"type": "object"}}, icons=icons)])


async def prompts(ctx, params):
    return ListPromptsResult(prompts=[Prompt(name="drawn", icons=icons)])


async def resources(ctx, params):
    return ListResourcesResult(resources=[Resource(name="drawn", uri="test://drawn", icons=icons)])


server = Server("drawn", on_list_tools=tools, on_list_prompts=prompts, on_list_resources=resources)


async def main():
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


anyio.run(main)
"""
LISTS = (("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources"))


async def modern_icons(hub: LiveHub) -> list[Any]:
    async with connected(hub.port, CLIENT) as caller:
        answers = [(await caller.ask(method, {}))["result"][key] for method, key in LISTS]
    return [item["icons"] for items in answers for item in items]


async def session_icons(hub: LiveHub) -> list[Any]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {CLIENT}"}, timeout=30) as http,
        Client(streamable_http_client(f"http://127.0.0.1:{hub.port}/mcp", http_client=http), mode="legacy") as client,
    ):
        lists = (await client.list_tools(), await client.list_prompts(), await client.list_resources())
    plain = [answer.model_dump(by_alias=True, exclude_none=True) for answer in lists]
    return [item["icons"] for answer, (_, key) in zip(plain, LISTS, strict=True) for item in answer[key]]


async def initialized(hub: LiveHub, http: httpx2.AsyncClient) -> dict[str, str]:
    """Open a session; the headers that name it."""
    said = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "gaps", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": said}
    answer = await http.post(f"http://127.0.0.1:{hub.port}/mcp", json=body)
    own = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(f"http://127.0.0.1:{hub.port}/mcp", json=note, headers=own)).status_code == 202
    return own


async def test_icons_reach_clients_of_both_eras_as_the_server_gave_them(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    entry = {"command": sys.executable, "args": [str(tmp_path / "server.py")]}
    async with live_hub(tmp_path, {"mcpServers": {"drawn": entry}}) as hub:
        await hub.parts.catalogue.settled("", 30)
        assert await modern_icons(hub) == [ICONS] * 3
        assert await session_icons(hub) == [ICONS] * 3


async def test_events_of_a_session_have_no_ids_and_a_last_event_id_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    entry = {"command": sys.executable, "args": [str(tmp_path / "server.py")]}
    common = {"Authorization": f"Bearer {CLIENT}", "Accept": "application/json, text/event-stream"}
    lines: list[str] = []
    async with (
        live_hub(tmp_path, {"mcpServers": {"drawn": entry}}) as hub,
        httpx2.AsyncClient(headers=common, timeout=30) as http,
    ):
        await hub.parts.catalogue.settled("", 30)
        own = await initialized(hub, http)
        where, more = f"http://127.0.0.1:{hub.port}/mcp", {**own, "Last-Event-ID": "made-up"}
        async with http.stream("GET", where, headers=more) as stream:
            assert stream.status_code == 200
            hub.write({"mcpServers": {"drawn": entry, "again": entry}})
            async with asyncio.timeout(30):
                async for line in stream.aiter_lines():
                    lines.append(line)
                    if "tools/list_changed" in line:
                        break
    assert [line for line in lines if line.startswith(("id:", "retry:"))] == []
