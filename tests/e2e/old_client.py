"""A client of the SDK before 2.0, run by a Python that has that SDK: lists, calls, reads, gets a prompt; prints JSON.

    python old_client.py http|sse URL TOKEN
    python old_client.py stdio COMMAND...       (the hub's own environment is this process's)

Imports nothing of this project: its environment holds only the SDK.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

SERVER = "every-stdio"
DOCUMENT = f"{SERVER}+demo://resource/static/document/features.md"


def transport(road: str, rest: list[str]) -> AbstractAsyncContextManager[Any]:
    if road == "stdio":
        stdio = importlib.import_module("mcp.client.stdio")
        started = stdio.StdioServerParameters(command=rest[0], args=rest[1:], env=dict(os.environ))
        client: AbstractAsyncContextManager[Any] = stdio.stdio_client(started)
        return client
    url, token = rest
    bearer = {"Authorization": f"Bearer {token}"}
    if road == "sse":
        client = importlib.import_module("mcp.client.sse").sse_client(url, headers=bearer)
    else:
        client = importlib.import_module("mcp.client.streamable_http").streamablehttp_client(url, headers=bearer)
    return client


async def said(session: Any) -> dict[str, Any]:
    started = await session.initialize()
    tools = await session.list_tools()
    called = await session.call_tool(f"{SERVER}__echo", {"message": "from an old client"})
    structured = await session.call_tool(f"{SERVER}__get-structured-content", {"location": "Chicago"})
    read = await session.read_resource(DOCUMENT)
    prompt = await session.get_prompt(f"{SERVER}__args-prompt", {"city": "Ulm"})
    await session.send_ping()
    return {
        "revision": started.protocolVersion,
        "server": started.serverInfo.name,
        "tools": [tool.name for tool in tools.tools],
        "called": called.content[0].text,
        "structured": structured.structuredContent,
        "read": [str(read.contents[0].uri), read.contents[0].text],
        "prompt": prompt.messages[0].content.text,
    }


async def main(road: str, rest: list[str]) -> None:
    mcp: Any = importlib.import_module("mcp")
    async with asyncio.timeout(60), transport(road, rest) as streams, mcp.ClientSession(*streams[:2]) as session:
        print(json.dumps(await said(session)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
