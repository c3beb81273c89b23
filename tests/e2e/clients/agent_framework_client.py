"""The MCP tool of Microsoft's Agent Framework: tools and prompts become functions."""

from __future__ import annotations

from typing import Any

import httpx2
from agent_framework import MCPStdioTool, MCPStreamableHTTPTool  # type: ignore[import-not-found]


def adapter_for(task: dict[str, Any], http: httpx2.AsyncClient, **loads: bool) -> Any:
    if task["road"] == "stdio":
        return MCPStdioTool("hub", task["command"][0], args=task["command"][1:], **loads)
    return MCPStreamableHTTPTool("hub", task["url"], http_client=http, **loads)


async def did(task: dict[str, Any]) -> dict[str, Any]:
    bearer = {"Authorization": f"Bearer {task['token']}"}
    async with httpx2.AsyncClient(headers=bearer) as http:
        async with adapter_for(task, http, load_prompts=False) as adapter:
            tools = [function.name for function in adapter.functions]
            called = [await adapter.call_tool(name, **arguments) for name, arguments in task["calls"]]
        async with adapter_for(task, http, load_tools=False) as adapter:
            prompts = [function.name for function in adapter.functions]
            prompted = [await adapter.get_prompt(name, **arguments) for name, arguments in task["gets"]]
    return {
        "tools": tools,
        "prompts": prompts,
        "called": ["".join(content.text for content in contents) for contents in called],
        "prompted": prompted,
    }
