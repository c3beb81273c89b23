"""The Python SDK's client of the second generation, in the mode it is told."""

from __future__ import annotations

from typing import Any

from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from python_sdk import session_did  # type: ignore[import-not-found]  # beside this file when it runs


async def did(task: dict[str, Any]) -> dict[str, Any]:
    bearer = {"Authorization": f"Bearer {task['token']}"}
    async with create_mcp_http_client(headers=bearer) as http:
        if task["road"] == "stdio":
            transport: Any = stdio_client(StdioServerParameters(command=task["command"][0], args=task["command"][1:]))
        elif task["road"] == "sse":
            transport = sse_client(task["url"], headers=bearer)
        else:
            transport = streamable_http_client(task["url"], http_client=http)
        async with Client(transport, mode=task["mode"]) as client:
            said: dict[str, Any] = await session_did(client, task)
            return said
