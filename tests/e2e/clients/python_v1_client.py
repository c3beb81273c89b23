"""The Python SDK's client of the first generation."""

from __future__ import annotations

import importlib
from typing import Any

from python_sdk import session_did  # type: ignore[import-not-found]  # beside this file when it runs


def transport(task: dict[str, Any]) -> Any:
    if task["road"] == "stdio":
        stdio = importlib.import_module("mcp.client.stdio")
        started = stdio.StdioServerParameters(command=task["command"][0], args=task["command"][1:])
        return stdio.stdio_client(started)
    bearer = {"Authorization": f"Bearer {task['token']}"}
    name, connect = ("sse", "sse_client") if task["road"] == "sse" else ("streamable_http", "streamablehttp_client")
    return getattr(importlib.import_module(f"mcp.client.{name}"), connect)(task["url"], headers=bearer)


async def did(task: dict[str, Any]) -> dict[str, Any]:
    mcp: Any = importlib.import_module("mcp")
    async with transport(task) as streams, mcp.ClientSession(*streams[:2]) as session:
        await session.initialize()
        await session.send_ping()
        said: dict[str, Any] = await session_did(session, task)
        return said
