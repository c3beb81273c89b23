"""A bare MCP server for measuring: as little as a correct answer takes, in one process.

    python -m conformance.servers.echo --port 0 [--hang] [--legacy] [--tools N [--bare]]

Tools: `echo {text}`, `sleep {ms}`, `big {kilobytes, text}`, `hang`. `GET /count` tells how many calls it answered, so
that a cache or a made-up answer cannot score. With --hang nothing is ever answered; with --legacy it speaks
2025-11-25 in sessions, else 2026-07-28; with --tools it lists so many more tools, all of which echo, and
with --bare nothing else. Every path is answered alike: one process can stand for many servers. The first line on
stdout is the port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from functools import lru_cache
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
        "inputSchema": {
            "type": "object",
            "properties": {"kilobytes": {"type": "integer"}, "text": {"type": "string"}},
            "required": ["kilobytes"],
        },
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "hang",
        "description": "Never answers",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
]
_COUNT: Final = {
    "name": "count",
    "description": "Says how many calls were answered",
    "inputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True},
}
_INITIALIZED: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "echo", "version": "1"},
}
_DISCOVER: Final = {
    **_ENVELOPE,
    "supportedVersions": [VERSION],
    "capabilities": {"tools": {}},
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "echo", "version": "1"}},
}
_PARAGRAPH: Final = "The quarterly figures of the warehouse are in the appendix, together with the delivery notes. "


class Echo:
    """What is answered, whatever carries it. Counts the calls of tools it has answered, `count` itself apart."""

    def __init__(self, legacy: bool = False, tools: int = 0, bare: bool = False) -> None:
        self.calls, self.legacy = 0, legacy
        self._tools = [*(() if bare else (*_TOOLS, _COUNT)), *(_one_of_many(number) for number in range(tools))]

    def result(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """None: there is no such method."""
        if method == "tools/call":
            return self.called(params["name"], params.get("arguments") or {})
        if method == "tools/list":
            return {"tools": self._tools} if self.legacy else {**_ENVELOPE, "tools": self._tools}
        if method == "server/discover" and not self.legacy:
            return _DISCOVER
        if self.legacy and method in ("initialize", "ping"):
            return _INITIALIZED if method == "initialize" else {}
        return None

    def called(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if name == "count":
            return self.said(str(self.calls))
        self.calls += 1
        if name == "big":
            return self.said(given.get("text", "") + _words(given["kilobytes"]))
        return self.said("rested" if name == "sleep" else given["text"])

    def said(self, text: str) -> dict[str, Any]:
        content = [{"type": "text", "text": text}]
        if self.legacy:
            return {"content": content, "isError": False}
        return {"resultType": "complete", "content": content, "isError": False}


@lru_cache(maxsize=4)
def _words(kilobytes: int) -> str:
    return _PARAGRAPH * (kilobytes * 1024 // len(_PARAGRAPH) + 1)


def _one_of_many(number: int) -> dict[str, Any]:
    """A tool of the usual size."""
    texts = {name: {"type": "string", "description": f"The {name} of record {number}"} for name in ("text", "place")}
    return {
        "name": f"record_{number:03d}",
        "description": f"Reads record {number} of the warehouse and tells what it says, with its place and its date",
        "inputSchema": {"type": "object", "properties": texts, "required": ["text"]},
        "annotations": {"readOnlyHint": True},
    }


class Connection(asyncio.Protocol):
    def __init__(self, echo: Echo, hang: bool) -> None:
        self._echo, self._hang = echo, hang
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
        if self._hang:
            return
        if self._url == b"/count":
            self._send(json.dumps(self._echo.calls).encode())
        elif self._parser.get_method() != b"POST":  # no standing stream; a session may always be ended
            self._send(b"", b"200 OK" if self._parser.get_method() == b"DELETE" else b"405 Method Not Allowed")
        else:
            asked = msgspec.json.decode(self._body)
            if "id" in asked:
                self._answer(asked["id"], asked["method"], asked.get("params") or {})
            else:
                self._send(b"", b"202 Accepted")

    def _answer(self, id: Any, method: str, params: dict[str, Any]) -> None:
        if method == "tools/call" and params["name"] == "hang":
            return
        if method == "tools/call" and params["name"] == "sleep":
            after = params["arguments"]["ms"] / 1000
            asyncio.get_running_loop().call_later(after, self._result, id, method, params)
        else:
            self._result(id, method, params)

    def _result(self, id: Any, method: str, params: dict[str, Any]) -> None:
        result = self._echo.result(method, params)
        if result is None:
            error = {"code": -32601, "message": "Method not found"}
            self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": error}), b"404 Not Found")
        else:
            session = b"mcp-session-id: bench\r\n" if method == "initialize" else b""
            self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": result}), more=session)

    def _send(self, body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> None:
        if self._transport is not None:
            head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
            self._transport.write(head % (status, more, len(body)) + body)


async def serve(port: int, echo: Echo, hang: bool, announce: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(echo, hang), "127.0.0.1", port, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hang", action="store_true", help="accept everything, answer nothing")
    parser.add_argument("--legacy", action="store_true", help="speak 2025-11-25 in sessions")
    parser.add_argument("--tools", type=int, default=0, metavar="N", help="list so many more tools")
    parser.add_argument("--bare", action="store_true", help="list none but those")
    given = parser.parse_args()
    echo = Echo(given.legacy, given.tools, given.bare)
    uvloop.run(serve(given.port, echo, given.hang, lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
