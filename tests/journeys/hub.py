"""The assembled hub in this process, with a real modern server in another one behind it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.assembly import serve
from hub.config import load
from hub.running import Run

CLIENT: Final = "journey-client-token-0123456789abcdef"
ADMIN: Final = "journey-admin-token-0123456789abcdefg"
MODERN: Final = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


@asynccontextmanager
async def downstream(*flags: str) -> AsyncIterator[str]:
    """The bare server of the bench; its url."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "conformance.servers.echo", *flags, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(10):
            port = int(await child.stdout.readline())
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.kill()
        await child.wait()


@asynccontextmanager
async def running(folder: Path, config: Mapping[str, Any], *, sandbox: bool = False) -> AsyncIterator[Run]:
    path = folder / "hub.json"
    path.write_text(json.dumps({"listen": "127.0.0.1:0", "data_dir": str(folder / "data"), **config}))
    environ = {"HOME": str(folder), "MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": ADMIN}
    started: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
    hub = asyncio.create_task(serve(load(path, environ), announce=started.set_result, sandbox=sandbox))
    try:
        async with asyncio.timeout(10):
            await asyncio.wait((hub, started), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await hub
        yield await started
    finally:
        hub.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(hub, return_exceptions=True)


async def ask(run: Run, method: str, params: Mapping[str, Any], token: str = CLIENT, path: str = "/mcp") -> Answer:
    """One modern POST over a connection of its own."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "journey", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    body = json.dumps(message).encode()
    named = [f"Mcp-Name: {params['name']}"] if "name" in params else []
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {run.host}:{run.port}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {MODERN}",
        f"Mcp-Method: {method}",
        *named,
        f"Authorization: Bearer {token}",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    reader, writer = await asyncio.open_connection(run.host, run.port)
    try:
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(15):
            answer = await reader.read()
    finally:
        writer.close()
    lines, _, content = answer.partition(b"\r\n\r\n")
    status, *headers = lines.decode().split("\r\n")
    pairs = (line.partition(":") for line in headers)
    return Answer(int(status.split()[1]), {k.lower(): v.strip() for k, _, v in pairs}, json.loads(content))


async def call_tool(run: Run, name: str, arguments: Mapping[str, Any]) -> Answer:
    return await ask(run, "tools/call", {"name": name, "arguments": arguments})


async def listed(run: Run, name: str) -> None:
    """Returns when a tool of that name is listed."""
    async with asyncio.timeout(10):
        while True:
            answer = await ask(run, "tools/list", {})
            if name in [tool["name"] for tool in answer.body["result"]["tools"]]:
                return
