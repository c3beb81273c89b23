"""The MCP client of Strands Agents: synchronous, its session in a thread of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp import StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from python_sdk import texts  # type: ignore[import-not-found]  # beside this file when it runs
from strands.tools.mcp import MCPClient  # type: ignore[import-not-found]


def client_of(task: dict[str, Any]) -> Any:
    if task["road"] == "stdio":
        command, *args = task["command"]
        return MCPClient(lambda: stdio_client(StdioServerParameters(command=command, args=args)))
    bearer = {"Authorization": f"Bearer {task['token']}"}
    if task["road"] == "sse":
        return MCPClient(lambda: sse_client(task["url"], headers=bearer))
    return MCPClient(url=task["url"], headers=bearer)


def done(task: dict[str, Any]) -> dict[str, Any]:
    with client_of(task) as client:
        called = [client.call_tool_sync(str(index), *call) for index, call in enumerate(task["calls"])]
        return {
            "tools": [tool.tool_name for tool in client.list_tools_sync()],
            "resources": [str(resource.uri) for resource in client.list_resources_sync().resources],
            "prompts": [prompt.name for prompt in client.list_prompts_sync().prompts],
            "called": [result["content"][0]["text"] for result in called],
            "read": [texts(client.read_resource_sync(uri).contents) for uri in task["reads"]],
            "prompted": [texts(m.content for m in client.get_prompt_sync(*get).messages) for get in task["gets"]],
        }


async def did(task: dict[str, Any]) -> dict[str, Any]:
    return await asyncio.to_thread(done, task)
