"""A bare modern MCP server for measuring: as little as a correct answer takes, in one process.

    python -m conformance.servers.echo --port 0 [--hang]

Tools: `echo {text}`, `sleep {ms}`, `big {kilobytes}`, `hang`. `GET /count` tells how many calls it answered, so that
a cache or a made-up answer cannot score. With --hang nothing is ever answered. The first line on stdout is the port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
import msgspec
import uvloop

VERSION: Final = "2026-07-28"
_ENVELOPE: Final = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
_TOOLS: Final = [
    {
        "name": "echo",
        "description": "Says what it is told",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "sleep",
        "description": "Answers after a while",
        "inputSchema": {"type": "object", "properties": {"ms": {"type": "integer"}}, "required": ["ms"]},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "big",
        "description": "Answers with that many kilobytes",
        "inputSchema": {"type": "object", "properties": {"kilobytes": {"type": "integer"}}, "required": ["kilobytes"]},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "hang",
        "description": "Never answers",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
]
_DISCOVER: Final = {
    **_ENVELOPE,
    "supportedVersions": [VERSION],
    "capabilities": {"tools": {}},
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "echo", "version": "1"}},
}
_PARAGRAPH: Final = "The quarterly figures of the warehouse are in the appendix, together with the delivery notes. "


class Counter:
    """How many tools/call have been answered."""

    def __init__(self, hang: bool) -> None:
        self.calls, self.hang = 0, hang


class Echo(asyncio.Protocol):
    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url, self._body = b"", bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, bytearray()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._counter.hang:
            return
        if self._url == b"/count":
            self._send(json.dumps(self._counter.calls).encode())
            return
        asked = msgspec.json.decode(self._body)
        if "id" in asked:
            self._answer(asked["id"], asked["method"], asked.get("params") or {})
        else:
            self._send(b"", b"202 Accepted")

    def _answer(self, id: Any, method: str, params: dict[str, Any]) -> None:
        if method == "server/discover":
            self._result(id, _DISCOVER)
        elif method == "tools/list":
            self._result(id, {**_ENVELOPE, "tools": _TOOLS})
        elif method == "tools/call":
            self._call(id, params["name"], params.get("arguments") or {})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": error}), b"404 Not Found")

    def _call(self, id: Any, name: str, arguments: dict[str, Any]) -> None:
        if name == "hang":
            return
        if name == "sleep":
            loop = asyncio.get_running_loop()
            loop.call_later(arguments["ms"] / 1000, self._text, id, "rested")
        elif name == "big":
            self._text(id, (_PARAGRAPH * (arguments["kilobytes"] * 1024 // len(_PARAGRAPH) + 1)))
        else:
            self._text(id, arguments["text"])

    def _text(self, id: Any, text: str) -> None:
        self._counter.calls += 1
        self._result(id, {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False})

    def _result(self, id: Any, result: dict[str, Any]) -> None:
        self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": result}))

    def _send(self, body: bytes, status: bytes = b"200 OK") -> None:
        if self._transport is not None:
            head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            self._transport.write(head + body)


async def serve(port: int, hang: bool, announce: Callable[[int], None]) -> None:
    counter = Counter(hang)
    server = await asyncio.get_running_loop().create_server(lambda: Echo(counter), "127.0.0.1", port, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hang", action="store_true", help="accept everything, answer nothing")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.hang, lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
