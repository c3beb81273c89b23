"""A virtual server from its making to its end, at a hub that runs: what is listed, called and told there."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from hub.audit.read import entries_of
from hub.cli.hub_client import api, seen
from hub.running import Run
from tests.journeys.hub import Answer, ask, downstream, listed, running


async def admin(run: Run, method: str, path: str, body: Any = None, **more: Any) -> Any:
    return await asyncio.to_thread(partial(api, run, method, path, body, **more))


async def names(run: Run, path: str) -> list[str]:
    answer = await ask(run, "tools/list", {}, path=path)
    return [tool["name"] for tool in answer.body["result"]["tools"]]


async def call(run: Run, path: str, name: str) -> Answer:
    return await ask(run, "tools/call", {"name": name, "arguments": {"text": "hello"}}, path=path)


async def test_an_endpoint_offers_what_it_was_made_for_and_nothing_else(tmp_path: Path) -> None:
    async with downstream() as url, running(tmp_path, {"mcpServers": {"echo": {"url": url, "trusted": True}}}) as run:
        await listed(run, "echo__echo")
        made = await admin(run, "POST", "/endpoints", {"name": "x", "tools": ["echo__e*"], "instructions": "Be kind."})
        assert made["offered"]["tool"] == 1
        assert await names(run, "/x/mcp") == ["echo__echo"]
        assert (await call(run, "/x/mcp", "echo__echo")).body["result"]["content"][0]["text"] == "hello"

        hidden = await call(run, "/x/mcp", "echo__sleep")
        never = await call(run, "/x/mcp", "echo__never")
        for answer in (hidden, never):
            del answer.body["error"]["data"]["_meta"]
        assert hidden.body == never.body
        [entry] = entries_of(tmp_path / "data" / "audit.db", hidden.headers["hub-call-id"])
        assert entry["outcome"] == "denied:unknown_item"

        told = await ask(run, "server/discover", {}, path="/x/mcp")
        assert told.body["result"]["instructions"] == "Be kind."
        assert len(await names(run, "/mcp")) == 5


async def test_an_endpoint_that_is_replaced_or_removed_is_so_at_once_and_survives_a_restart(tmp_path: Path) -> None:
    async with downstream() as url:
        config = {"mcpServers": {"echo": {"url": url, "trusted": True}}}
        async with running(tmp_path, config) as run:
            await listed(run, "echo__echo")
            await admin(run, "POST", "/endpoints", {"name": "x", "servers": ["echo"], "prefix": "none"})
            assert "echo" in await names(run, "/x/mcp")
            _, etag = await asyncio.to_thread(seen, run, "/endpoints/x")
            await admin(run, "PUT", "/endpoints/x", {"tools": ["echo__big"], "read_only": True}, if_match=etag)
            assert await names(run, "/x/mcp") == ["echo__big"]
        async with running(tmp_path, config) as run:
            assert await names(run, "/x/mcp") == ["echo__big"]
            _, etag = await asyncio.to_thread(seen, run, "/endpoints/x")
            await admin(run, "DELETE", "/endpoints/x", if_match=etag)
            assert (await ask(run, "tools/list", {}, path="/x/mcp")).status == 404


async def test_a_server_that_is_not_trusted_offers_nothing_on_a_read_only_endpoint(tmp_path: Path) -> None:
    config = {"endpoints": {"/x/mcp": {"read_only": True}}}
    async with downstream() as url, running(tmp_path, {"mcpServers": {"echo": {"url": url}}, **config}) as run:
        await listed(run, "echo__echo")
        assert await names(run, "/x/mcp") == []
        assert (await call(run, "/x/mcp", "echo__echo")).body["error"]["code"] == -32602
        shown = await admin(run, "GET", "/endpoints/x")
        assert any("echo is not trusted" in warning for warning in shown["warnings"])
