"""The MCP toolset of Google's Agent Development Kit. It knows resources by their names."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from mcp import StdioServerParameters
from python_sdk import texts  # type: ignore[import-not-found]  # beside this file when it runs

TIMEOUT_S = 30.0

# `google` is a namespace that other packages fill too: a type checker without the kit finds half of it.
ways: Any = importlib.import_module("google.adk.tools.mcp_tool.mcp_session_manager")
McpToolset: Any = importlib.import_module("google.adk.tools.mcp_tool.mcp_toolset").McpToolset
Instruction: Any = importlib.import_module("google.adk.agents.mcp_instruction_provider").McpInstructionProvider


def connection(task: dict[str, Any]) -> Any:
    if task["road"] == "stdio":
        started = StdioServerParameters(command=task["command"][0], args=task["command"][1:])
        return ways.StdioConnectionParams(server_params=started, timeout=TIMEOUT_S)
    kind = ways.SseConnectionParams if task["road"] == "sse" else ways.StreamableHTTPConnectionParams
    return kind(url=task["url"], headers={"Authorization": f"Bearer {task['token']}"}, timeout=TIMEOUT_S)


async def prompted(task: dict[str, Any]) -> list[str]:
    """Each prompt as an agent's instruction, whose arguments come from the agent's state."""
    found = []
    for name, arguments in task["gets"]:
        provider = Instruction(connection(task), name)
        try:
            found.append(await provider(SimpleNamespace(state=arguments)))
        finally:
            await provider._mcp_session_manager.close()  # it has no way of its own to end its session
    return found


async def did(task: dict[str, Any]) -> dict[str, Any]:
    adapter = McpToolset(connection_params=connection(task))
    try:
        tools = {tool.name: tool for tool in await adapter.get_tools()}
        context = SimpleNamespace(function_call_id="1")
        called = [await tools[name].run_async(args=args, tool_context=context) for name, args in task["calls"]]
        uris = {name: (await adapter.get_resource_info(name))["uri"] for name in await adapter.list_resources()}
        names = {str(uri): name for name, uri in uris.items()}
        return {
            "tools": list(tools),
            "resources": list(names),
            "called": ["".join(block["text"] for block in result["content"]) for result in called],
            "read": [texts(await adapter.read_resource(names[uri])) for uri in task["reads"]],
            "prompted": await prompted(task),
        }
    finally:
        await adapter.close()
