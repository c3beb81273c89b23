"""A whole hub in this process, so that its tasks and descriptors can be counted, over servers in others."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.assembly import apps, making
from hub.assembly_live import Live
from hub.assembly_parts import Parts, open_parts
from hub.assembly_watch import watched
from hub.config import Listen, load
from hub.edge.server import run_server
from hub.running import DataDir, listen_on
from tests.downstream.processes import children

MODERN: Final = "2026-07-28"
ADMIN: Final = "live-admin-token-0123456789abcdefghijk"
CLIENT: Final = "live-client-token-0123456789abcdefghij"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "live", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class LiveHub:
    parts: Parts
    port: int
    path: Path  # of the configuration

    @property
    def live(self) -> Live:
        return self.parts.live

    def write(self, config: Mapping[str, Any]) -> None:
        """Replace the file whole, as editors do."""
        write(self.path, config)

    async def key(self, name: str) -> str:
        _, key = await self.parts.keys.create(name, ("mcp",), ("*",), None, None)
        return key

    async def names(self, endpoint: str = "", key: str = CLIENT) -> list[str]:
        async with connected(self.port, key) as caller:
            answer = await caller.ask("tools/list", {}, endpoint)
        return [tool["name"] for tool in answer["result"]["tools"]]


class Caller:
    """One client on one connection that is kept."""

    def __init__(self, port: int, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._key, self._reader, self._writer = port, key, reader, writer

    async def ask(self, method: str, params: Mapping[str, Any], endpoint: str = "") -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
        named = {"Mcp-Name": params["name"]} if "name" in params else {}
        path = f"/{endpoint}/mcp" if endpoint else "/mcp"
        found: dict[str, Any] = await self.send("POST", path, message, {"Mcp-Method": method, **named})
        return found

    async def send(self, verb: str, path: str, body: Any = None, more: Mapping[str, str] = {}) -> Any:
        data = json.dumps(body).encode() if body is not None else b""
        headers = {
            "Host": f"127.0.0.1:{self._port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {self._key}",
            "Content-Length": str(len(data)),
            **({"MCP-Protocol-Version": MODERN} if more else {}),
            **more,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"{verb} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        async with asyncio.timeout(30):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            size = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
            return json.loads(await self._reader.readexactly(size))


@asynccontextmanager
async def connected(port: int, key: str) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(port, key, reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


def write(path: Path, config: Mapping[str, Any]) -> None:
    text = json.dumps({"listen": "127.0.0.1:0", "data_dir": str(path.parent / "data"), **config}, indent=1)
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.replace(path)


@asynccontextmanager
async def live_hub(folder: Path, config: Mapping[str, Any], watch_s: float = 0.1) -> AsyncIterator[LiveHub]:
    path = folder / "hub.json"
    write(path, config)
    given = load(path, {"HOME": str(folder), "MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": ADMIN})
    data = DataDir(given.data_dir)
    data.lock("test")
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.callback(data.unlock)
        sock = listen_on("127.0.0.1", 0)
        port = sock.getsockname()[1]
        read = given.listening(Listen("127.0.0.1", port))
        parts = await open_parts(read, data, stack, making)
        app, stdio = apps(parts, data, "2026-01-01T00:00:00Z", lambda: True)
        stack.push_async_callback(stdio.aclose)
        await stack.enter_async_context(watched(parts.live, path, watch_s))
        serving = asyncio.create_task(run_server(app, sock, read.edge, stopping=stopping), name="http")
        try:
            yield LiveHub(parts, port, path)
        finally:
            stopping.set()
            async with asyncio.timeout(40):
                await serving


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def descendants() -> set[int]:
    """Every process below this one."""
    found: set[int] = set()
    wave = children(os.getpid())
    while wave:
        found.update(wave)
        wave = [child for pid in wave for child in _children(pid)]
    return found


def _children(pid: int) -> list[int]:
    try:
        return children(pid)
    except OSError:  # it ended meanwhile
        return []
