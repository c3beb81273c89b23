"""The SDK's own servers over HTTP, each kind on a port of its own; prints {kind: port} on one line and serves.

A process of its own, because what the SDK leaves unclosed at its end would be held against the tests.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.sse import SseServerTransport
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

TOOLS = ("echo", "slow", "hang", "poke", "ask", "fail", "seen", "forget")
KINDS: dict[str, dict[str, Any]] = {
    "modern": {},
    "modern-json": {"json_response": True},
    "legacy": {},
    "legacy-json": {"json_response": True},
    "legacy-stateless": {"stateless_http": True},
    "sse": {},
}
BIG = 2**70


class Peer:
    """One server, and what happened inside it."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.seen: list[str] = []
        self.server: Server[Any] = Server(
            "real",
            version="9",
            instructions="handle with care",
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_set_logging_level=self.set_level,
            on_subscriptions_listen=ListenHandler(self.bus),
        )

    async def set_level(self, ctx: ServerRequestContext[Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
        self.seen.append(f"level {params.level}")
        return types.EmptyResult()

    async def list_tools(
        self, ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=n, input_schema={"type": "object"}) for n in TOOLS])

    async def call_tool(
        self, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        extra: dict[str, Any] = {}
        match params.name:
            case "slow":
                for step in (1, 2, 3):
                    await ctx.session.report_progress(step, 3, f"step {step}")
                await ctx.session.send_log_message("warning", "careful", related_request_id=ctx.request_id)
            case "hang":
                await self.hang()
            case "poke":
                await self.bus.publish(ToolsListChanged())
                await ctx.session.send_tool_list_changed()
            case "ask":
                await self.ask(ctx)
            case "fail":
                return types.CallToolResult(content=[types.TextContent(text="sorry")], is_error=True)
            case "seen":
                extra["seen"], self.seen = self.seen, []
                extra["sessions"] = self.sessions()
            case "forget":
                self.server.session_manager._server_instances.clear()
        structured = {"got": params.arguments, "big": BIG, **extra}
        return types.CallToolResult(content=[types.TextContent(text=params.name)], structured_content=structured)

    async def hang(self) -> None:
        self.seen.append("hanging")
        try:
            await anyio.sleep(30)
        except anyio.get_cancelled_exc_class():
            self.seen.append("cancelled")
            raise

    async def ask(self, ctx: ServerRequestContext[Any]) -> None:
        try:
            await ctx.session.send_ping()
            self.seen.append("pong")
            await ctx.session.elicit_form("who?", {"type": "object", "properties": {}})
        except Exception as exc:
            self.seen.append(f"refused: {exc}")

    def sessions(self) -> int:
        known = self.server.session_manager._server_instances.values() if self.server._session_manager else ()
        return sum(not transport.is_terminated for transport in known)


def sse_app(peer: Peer) -> Starlette:
    transport = SseServerTransport("/messages/")

    async def stream(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await peer.server.run(read, write, peer.server.create_initialization_options())
        return Response()

    return Starlette(
        routes=[Route("/mcp", stream, methods=["GET"]), Mount("/messages/", app=transport.handle_post_message)]
    )


async def login(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await Response(status_code=401)(scope, receive, send)


async def main() -> None:
    peers = {kind: Peer() for kind in KINDS}
    apps: dict[str, Any] = {
        kind: sse_app(peer) if kind == "sse" else peer.server.streamable_http_app(**KINDS[kind])
        for kind, peer in peers.items()
    }
    ports, servers = {}, []
    for kind, app in {**apps, "login": login}.items():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        ports[kind] = sock.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
        servers.append(uvicorn.Server(config)._serve([sock]))
    print(json.dumps(ports), flush=True)
    await asyncio.gather(*servers)


if __name__ == "__main__":
    asyncio.run(main())
