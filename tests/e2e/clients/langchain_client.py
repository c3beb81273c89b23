"""LangChain's adapter: tools become LangChain tools, resources blobs, prompts messages."""

from __future__ import annotations

from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient  # type: ignore[import-not-found]


def connection(task: dict[str, Any]) -> dict[str, Any]:
    if task["road"] == "stdio":
        return {"transport": "stdio", "command": task["command"][0], "args": task["command"][1:]}
    transport = "sse" if task["road"] == "sse" else "streamable_http"
    return {"transport": transport, "url": task["url"], "headers": {"Authorization": f"Bearer {task['token']}"}}


async def did(task: dict[str, Any]) -> dict[str, Any]:
    client = MultiServerMCPClient({"hub": connection(task)})
    tools = {tool.name: tool for tool in await client.get_tools()}
    called = [await tools[name].ainvoke(arguments) for name, arguments in task["calls"]]
    read = [await client.get_resources("hub", uris=uri) for uri in task["reads"]]
    prompted = [await client.get_prompt("hub", name, arguments=arguments) for name, arguments in task["gets"]]
    return {
        "tools": list(tools),
        "resources": [str(blob.metadata["uri"]) for blob in await client.get_resources("hub")],
        "called": ["".join(block["text"] for block in blocks) for blocks in called],
        "read": ["".join(blob.as_string() for blob in blobs) for blobs in read],
        "prompted": ["".join(message.content for message in messages) for messages in prompted],
    }
