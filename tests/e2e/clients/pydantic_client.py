"""The MCP toolset of Pydantic AI."""

from __future__ import annotations

import json
from typing import Any

from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]
from pydantic_ai.mcp import MCPToolset  # type: ignore[import-not-found]


def toolset(task: dict[str, Any]) -> Any:
    if task["road"] == "stdio":
        return MCPToolset(StdioTransport(command=task["command"][0], args=task["command"][1:]))
    return MCPToolset(task["url"], headers={"Authorization": f"Bearer {task['token']}"})


def text(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result)


async def did(task: dict[str, Any]) -> dict[str, Any]:
    async with toolset(task) as adapter:
        prompted = [await adapter.get_prompt(*get) for get in task["gets"]]
        return {
            "tools": [tool.name for tool in await adapter.list_tools()],
            "resources": [resource.uri for resource in await adapter.list_resources()],
            "prompts": [prompt.name for prompt in await adapter.list_prompts()],
            "called": [text(await adapter.direct_call_tool(*call)) for call in task["calls"]],
            "read": [text(await adapter.read_resource(uri)) for uri in task["reads"]],
            "prompted": ["".join(message.content.content for message in result.messages) for result in prompted],
        }
