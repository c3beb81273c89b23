"""The HTTP door over fake ports: called directly as ASGI, or served on a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hub.edge.http import HubApp
from hub.edge.mcp_modern import ModernEdge
from hub.edge.ports import EdgePorts, Limits
from hub.edge.request import Message, Receive, Request, Scope, Send, respond
from hub.edge.server import run_server
from hub.wire import jsonrpc
from tests.edge.fakes import CLIENT_TOKEN

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
MODERN_HEADERS = {
    "host": "127.0.0.1:8700",
    "authorization": f"Bearer {CLIENT_TOKEN}",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
}


@dataclass
class RecordingEdge:
    """Stands for the legacy edges: says which door a request came through."""

    seen: list[tuple[str, Request]] = field(default_factory=list)
    closed: bool = False

    async def _answer(self, door: str, request: Request, send: Send) -> None:
        self.seen.append((door, request))
        await respond(send, 200, jsonrpc.dumps({"door": door}))

    async def post(self, request: Request, receive: Receive, send: Send) -> None:
        await self._answer("post", request, send)

    async def get(self, request: Request, receive: Receive, send: Send) -> None:
        await self._answer("get", request, send)

    async def delete(self, request: Request, receive: Receive, send: Send) -> None:
        await self._answer("delete", request, send)

    async def open(self, request: Request, receive: Receive, send: Send) -> None:
        await self._answer("open", request, send)

    async def aclose(self) -> None:
        self.closed = True


async def rest(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for the admin app: says who it was told is calling."""
    who = scope.get("state", {}).get("principal")
    await respond(send, 200, jsonrpc.dumps({"path": scope["path"], "who": None if who is None else who.name}))


@dataclass
class Door:
    app: HubApp
    ports: EdgePorts
    modern: ModernEdge
    legacy: RecordingEdge
    sse: RecordingEdge


def door(ports: EdgePorts, *, rest_app: Any = rest, metrics_open: bool = False) -> Door:
    modern, legacy, sse = ModernEdge(ports), RecordingEdge(), RecordingEdge()
    return Door(HubApp(ports, modern, legacy, sse, rest_app, metrics_open=metrics_open), ports, modern, legacy, sse)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return jsonrpc.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The messages of an event stream, comments left out."""
        blocks = self.body.decode().split("\n\n")
        lines = [line for block in blocks for line in block.split("\n") if line.startswith("data: ")]
        return [jsonrpc.loads(line.removeprefix("data: ").encode()) for line in lines]


class Wire:
    """One ASGI request: what the app receives and what it has sent so far."""

    def __init__(self, *bodies: bytes) -> None:
        parts = bodies or (b"",)
        self._incoming: list[Message] = [
            {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
        ]
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._pushed = asyncio.Event()
        self.receives = 0

    def push(self, message: Message) -> None:
        """What the app receives next, though it may already be waiting."""
        self._incoming.append(message)
        self._pushed.set()

    async def receive(self) -> Message:
        self.receives += 1
        if not self._incoming:
            waiting = [asyncio.create_task(event.wait()) for event in (self.left, self._pushed)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
        if not self._incoming:
            return {"type": "http.disconnect"}
        self._pushed.clear()
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def answer(self) -> Answer:
        start = next(m for m in self.sent if m["type"] == "http.response.start")
        body = b"".join(m.get("body", b"") for m in self.sent if m["type"] == "http.response.body")
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], headers, body)


def scope(method: str, path: str, headers: Mapping[str, str] | list[tuple[str, str]], query: str = "") -> Scope:
    lines = headers.items() if isinstance(headers, Mapping) else headers
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines],
        "client": ("127.0.0.1", 4711),
    }


async def ask(
    app: HubApp,
    method: str = "POST",
    path: str = "/mcp",
    body: bytes | Any = b"",
    headers: Mapping[str, str] | list[tuple[str, str]] = MODERN_HEADERS,
) -> Answer:
    wire = Wire(body if isinstance(body, bytes) else jsonrpc.dumps(body))
    async with asyncio.timeout(5):
        await app(scope(method, path, headers), wire.receive, wire.send)
    return wire.answer


def modern(method: str, id: Any = 1, meta: Mapping[str, Any] = META, **params: Any) -> dict[str, Any]:
    """A modern request; `meta` is its whole envelope."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": dict(meta)}}


def modern_headers(method: str, name: str | None = None, **more: str) -> dict[str, str]:
    """What goes with it; more headers by their names with `_` for `-`."""
    named = {} if name is None else {"mcp-name": name}
    extra = {key.replace("_", "-"): value for key, value in more.items()}
    return {**MODERN_HEADERS, "mcp-method": method, **named, **extra}


async def ask_modern(app: HubApp, method: str, path: str = "/mcp", **params: Any) -> Answer:
    """One well-formed modern request, its name or uri repeated in the header."""
    named = params.get("name", params.get("uri"))
    return await ask(app, "POST", path, modern(method, **params), modern_headers(method, named))


@asynccontextmanager
async def served(app: Any, limits: Limits) -> AsyncIterator[tuple[str, int, asyncio.Event]]:
    """(host, port, stopping); ends the server on leaving, within 5 s."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    host, port = sock.getsockname()
    stopping = asyncio.Event()
    running = asyncio.create_task(run_server(app, sock, limits, stopping=stopping))
    try:
        yield host, port, stopping
    finally:
        stopping.set()
        async with asyncio.timeout(5 + limits.drain_s):
            await running
