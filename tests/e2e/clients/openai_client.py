"""The MCP servers of OpenAI's Agents SDK."""

from __future__ import annotations

from typing import Any

from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp  # type: ignore[import-not-found]
from python_sdk import every, texts  # type: ignore[import-not-found]  # beside this file when it runs


def server(task: dict[str, Any]) -> Any:
    limit = {"client_session_timeout_seconds": 30}
    if task["road"] == "stdio":
        return MCPServerStdio({"command": task["command"][0], "args": task["command"][1:]}, **limit)
    made = MCPServerSse if task["road"] == "sse" else MCPServerStreamableHttp
    return made({"url": task["url"], "headers": {"Authorization": f"Bearer {task['token']}"}}, **limit)


async def did(task: dict[str, Any]) -> dict[str, Any]:
    async with server(task) as adapter:
        prompted = [await adapter.get_prompt(*get) for get in task["gets"]]
        return {
            "tools": [tool.name for tool in await adapter.list_tools()],
            "resources": [str(one.uri) for one in await every(adapter.list_resources, "resources")],
            "prompts": [prompt.name for prompt in (await adapter.list_prompts()).prompts],
            "called": [texts((await adapter.call_tool(*call)).content) for call in task["calls"]],
            "read": [texts((await adapter.read_resource(uri)).contents) for uri in task["reads"]],
            "prompted": [texts(message.content for message in result.messages) for result in prompted],
        }
