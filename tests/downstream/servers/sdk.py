"""A server on the SDK's own stdio transport, which serves both eras: a real peer."""

from typing import Any

import anyio
import mcp_types as types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

cancelled: list[str] = []


async def tools(ctx: ServerRequestContext[Any, Any], params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name=n, input_schema={"type": "object"}) for n in ("add", "hang")])


async def call(ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    given = params.arguments or {}
    if params.name == "hang":
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("hang")
    await ctx.session.report_progress(0.5, total=1, message="half")
    message = types.LoggingMessageNotificationParams(level="warning", data="adding")
    await ctx.session.send_notification(types.LoggingMessageNotification(params=message), ctx.request_id)
    total = {"sum": given["a"] + given["b"], "cancelled": len(cancelled)}
    return types.CallToolResult(content=[types.TextContent(type="text", text="sum")], structured_content=total)


async def level(ctx: ServerRequestContext[Any, Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


async def main() -> None:
    server: Server[Any] = Server("sdk", on_list_tools=tools, on_call_tool=call, on_set_logging_level=level)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


anyio.run(main)
