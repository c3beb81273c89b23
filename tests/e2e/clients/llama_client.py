"""LlamaIndex's MCP client, and the tools that its tool spec makes of it."""

from __future__ import annotations

from typing import Any

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec  # type: ignore[import-not-found]
from python_sdk import texts  # type: ignore[import-not-found]  # beside this file when it runs


async def did(task: dict[str, Any]) -> dict[str, Any]:
    if task["road"] == "stdio":
        client = BasicMCPClient(task["command"][0], args=task["command"][1:])
    else:
        client = BasicMCPClient(task["url"], headers={"Authorization": f"Bearer {task['token']}"})
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    called = [(await tools[name].acall(**arguments)).raw_output for name, arguments in task["calls"]]
    prompts = (await client.list_prompts()).prompts
    prompted = [await client.get_prompt(*get) for get in task["gets"]]
    return {
        "tools": list(tools),
        "resources": [str(resource.uri) for resource in (await client.list_resources()).resources],
        "prompts": [prompt.name for prompt in prompts],
        "called": [texts(result.content) for result in called],
        "read": [texts((await client.read_resource(uri)).contents) for uri in task["reads"]],
        "prompted": ["".join(message.content for message in messages) for messages in prompted],
    }
