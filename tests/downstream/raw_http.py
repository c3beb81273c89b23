"""A raw HTTP server that says exactly the bytes a test wants, on connections it can count."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from hub.core.call import Json
from hub.downstream.link import Exchange, LinkEvents, ServerSpec, Timeouts
from hub.wire import jsonrpc

MODERN = "2026-07-28"
TOOLS: Json = {"tools": {}}


@dataclass(frozen=True, slots=True)
class Got:
    """One request as the server read it."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def message(self) -> dict[str, Any]:
        value: dict[str, Any] = jsonrpc.loads(self.body) if self.body else {}
        return value

    @property
    def method(self) -> str:
        return str(self.message.get("method", self.verb))


Say = Callable[[bytes], Awaitable[None]]
Handler = Callable[[Got, Say], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    port: int
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/mcp"

    def methods(self) -> list[str]:
        return [got.method for got in self.got]


class Hangup(Exception):
    """A handler's way to close the connection."""


async def _read(reader: asyncio.StreamReader, number: int) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    verb, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(verb, path, headers, body, number)


@asynccontextmanager
async def raw_server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    state = RawServer(0, tls=tls is not None)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        state.open += 1
        number = state.connections

        async def say(data: bytes) -> None:
            if writer.transport.is_closing():  # writing there is a fault of another kind with some loops
                raise ConnectionResetError("the other side is gone")
            writer.write(data)
            await writer.drain()

        try:
            while True:
                got = await _read(reader, number)
                state.got.append(got)
                await _until_gone(handler(got, say), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, Hangup):
            pass
        finally:
            state.open -= 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_gone(work: Awaitable[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run the handler; a client that closes meanwhile ends it, as a real server would notice."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.01)
            if reader.at_eof() or writer.transport.is_closing():
                break
        if task.done():
            task.result()
        else:
            raise ConnectionResetError
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- bytes


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", *, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


def result(got: Got, result: Any, **more: Any) -> bytes:
    return whole(jsonrpc.dumps({"jsonrpc": "2.0", "id": got.message["id"], "result": result, **more}))


def failure(got: Got, code: int, status: str = "200 OK", data: Any = None) -> bytes:
    return whole(jsonrpc.dumps(jsonrpc.error(got.message.get("id"), code, "no", data)), status)


def status(line: str, extra: str = "") -> bytes:
    return f"HTTP/1.1 {line}\r\ncontent-length: 0\r\n{extra}\r\n".encode()


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(message: Any, id: str | None = None, name: str = "message") -> bytes:
    data = message if isinstance(message, bytes) else jsonrpc.dumps(message)
    mark = f"id: {id}\n".encode() if id is not None else b""
    return chunk(b"event: " + name.encode() + b"\n" + mark + b"data: " + data + b"\n\n")


def discovery(got: Got, capabilities: Json = TOOLS, versions: tuple[str, ...] = (MODERN,)) -> bytes:
    info = {"io.modelcontextprotocol/serverInfo": {"name": "raw", "version": "1"}}
    return result(
        got,
        {
            "resultType": "complete",
            "supportedVersions": list(versions),
            "capabilities": capabilities,
            "instructions": "be kind",
            "_meta": info,
        },
    )


def initialized(
    got: Got, capabilities: Json = TOOLS, session: str | None = "s-1", revision: str = "2025-11-25"
) -> bytes:
    body = jsonrpc.dumps(
        jsonrpc.result(
            got.message["id"],
            {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": {"name": "raw", "version": "1"}},
        )
    )
    return whole(body, extra=f"mcp-session-id: {session}\r\n" if session else "")


# -- the hub's side


@dataclass(slots=True)
class Heard:
    """What a link told of its own accord."""

    notified: list[tuple[str, Json]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def events(self) -> LinkEvents:
        return LinkEvents(lambda m, p: self.notified.append((m, p)), self.closed.append, self.noise.append)


def spec(url: str, **more: Any) -> ServerSpec:
    given = {"timeouts": Timeouts(connect_s=2.0, initialize_s=2.0, list_s=2.0, call_s=2.0), **more}
    return ServerSpec("peer", "http", url=url, **given)


def exchange(timeout_s: float = 5.0, **more: Any) -> Exchange:
    return Exchange(timeout_s, monotonic() + 10.0, more.pop("max_bytes", 1 << 20), **more)


async def until(claim: Callable[[], object], within_s: float = 5.0) -> None:
    """Poll until the claim holds; fail when it does not in time."""
    end = monotonic() + within_s
    while not claim():
        assert monotonic() < end, "it never happened"
        await asyncio.sleep(0.002)
