"""An MCP server to be killed: server.py KIND NAME [PORT], with KIND modern, legacy, sse, stdio-modern or stdio-legacy.

Needs nothing but Python, so that it is up again in a moment. Every text it answers has its NAME before it, so that an
answer from the wrong server shows. Tools: `echo {text}`, `note {text}` (a write), `steps {text}` (three progress
notifications first) and `hold` (answered never). Over HTTP it prints "ready" once it listens.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any

MODERN, LEGACY, SSE_REVISION = "2026-07-28", "2025-11-25", "2024-11-05"
STEPS = 3
NEWS_S = 15.0  # between two claims that the lists changed, which they never do

Json = dict[str, Any]
Say = Callable[[Json], None]

_TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_READ = {"annotations": {"readOnlyHint": True}}
TOOLS: list[Json] = [
    {"name": "echo", "description": "Says what it is told", "inputSchema": _TEXT, **_READ},
    {"name": "note", "description": "Takes a note", "inputSchema": _TEXT},
    {"name": "steps", "description": "Says what it is told, in steps", "inputSchema": _TEXT, **_READ},
    {"name": "hold", "description": "Waits until it is cancelled", "inputSchema": {"type": "object"}, **_READ},
]
_CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


class Brain:
    """What the server answers, whatever carries it."""

    def __init__(self, name: str, revision: str) -> None:
        self._name, self._revision = name, revision
        self.is_modern = revision == MODERN

    def take(self, message: Json, say: Say) -> bool:
        """Say the answer to one message, and what comes before it. False when no answer will come."""
        if "id" not in message or "method" not in message:
            return False
        method, params = message["method"], message.get("params") or {}
        if method == "tools/call" and params["name"] == "hold":
            return False
        if method == "tools/call" and params["name"] == "steps":
            self._progress(params.get("_meta") or {}, say)
        result = self._result(method, params)
        answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if result is None:
            say({**answer, "error": {"code": -32601, "message": "Method not found"}})
        else:
            say({**answer, "result": {"resultType": "complete", **result} if self.is_modern else result})
        return True

    def _progress(self, meta: Json, say: Say) -> None:
        token = meta.get("progressToken")
        for step in range(1, STEPS + 1) if token is not None else ():
            params = {"progressToken": token, "progress": step, "total": STEPS}
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    def _result(self, method: str, params: Json) -> Json | None:
        told = {"tools": {"listChanged": not self.is_modern}}
        cached = {"ttlMs": 60_000, "cacheScope": "public"} if self.is_modern else {}
        if method == "server/discover" and self.is_modern:
            return {"supportedVersions": [MODERN], "capabilities": told, **cached}
        if method == "initialize" and not self.is_modern:
            info = {"name": self._name, "version": "1"}
            return {"protocolVersion": self._revision, "capabilities": told, "serverInfo": info}
        if method == "ping" and not self.is_modern:
            return {}
        if method == "tools/list":
            return {"tools": TOOLS, **cached}
        if method == "tools/call":
            return {"content": [{"type": "text", "text": f"{self._name}: {params['arguments']['text']}"}]}
        return None


class Http:
    """Streamable HTTP of either era, or HTTP+SSE."""

    def __init__(self, kind: str, brain: Brain) -> None:
        self._kind, self._brain = kind, brain
        self._sessions: set[str] = set()
        self._streams: dict[str, Say] = {}  # by session
        self._held: dict[tuple[str, Any], asyncio.Event] = {}

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                verb, path, _ = head[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._request(verb, path, headers, body, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the hub is gone from this connection
        finally:
            writer.close()

    async def _request(
        self,
        verb: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one. False when the connection is over."""
        session = headers.get("mcp-session-id", "")
        if verb == "GET" and self._kind != "modern":
            await self._standing(session, reader, writer)
            return False
        if verb == "DELETE":
            self._sessions.discard(session)
            return _respond(writer, "200 OK")
        if verb != "POST":
            return _respond(writer, "405 Method Not Allowed")
        message = json.loads(body)
        if self._kind == "sse":
            return self._posted(path, message, writer)
        if self._kind == "legacy":
            if message.get("method") == "initialize":
                session = secrets.token_hex(8)
                self._sessions.add(session)
            elif session not in self._sessions:
                return _respond(writer, "404 Not Found" if session else "400 Bad Request")
            if message.get("method") == "notifications/cancelled":
                held = self._held.get((session, message["params"]["requestId"]))
                if held is not None:
                    held.set()
        return await self._answer(session, message, reader, writer)

    async def _answer(
        self, session: str, message: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        more = f"Mcp-Session-Id: {session}\r\n" if session else ""
        said: list[Json] = []
        if self._brain.take(message, said.append):
            if len(said) == 1:
                return _respond(writer, "200 OK", said[0], more)
            _open_stream(writer, more)
            for each in said:
                _event(writer, json.dumps(each))
            writer.write(b"0\r\n\r\n")
            return True
        if "id" not in message:
            return _respond(writer, "202 Accepted", None, more)
        await self._hold((session, message["id"]), reader, writer)
        return False

    async def _hold(self, key: tuple[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until it is cancelled: by leaving in the modern era, by a notification in the older one."""
        _open_stream(writer)
        cancelled = self._held[key] = asyncio.Event()
        waits = {asyncio.create_task(reader.read(1)), asyncio.create_task(cancelled.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._held[key]
            for wait in waits:
                wait.cancel()
            writer.write(b"0\r\n\r\n")

    async def _standing(self, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _open_stream(writer)
        if self._kind == "sse":
            session = secrets.token_hex(8)
            self._streams[session] = lambda message: _event(writer, json.dumps(message))
            _event(writer, f"/messages?session_id={session}", "endpoint")
        gone = asyncio.create_task(reader.read(1))
        try:
            while not (await asyncio.wait({gone}, timeout=NEWS_S))[0]:
                _event(writer, json.dumps(_CHANGED))
        finally:
            gone.cancel()
            self._streams.pop(session, None)

    def _posted(self, path: str, message: Json, writer: asyncio.StreamWriter) -> bool:
        say = self._streams.get(path.partition("session_id=")[2])
        if say is None:
            return _respond(writer, "404 Not Found" if "?" in path else "405 Method Not Allowed")
        _respond(writer, "202 Accepted")
        self._brain.take(message, say)
        return True


def _respond(writer: asyncio.StreamWriter, status: str, body: Json | None = None, more: str = "") -> bool:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    return True


def _open_stream(writer: asyncio.StreamWriter, more: str = "") -> None:
    head = f"HTTP/1.1 200 OK\r\n{more}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())


def _event(writer: asyncio.StreamWriter, data: str, name: str = "message") -> None:
    text = f"event: {name}\ndata: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(text), text))


def stdio(brain: Brain) -> None:
    def say(message: Json) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        brain.take(json.loads(line), say)


async def http(kind: str, brain: Brain, port: int) -> None:
    server = await asyncio.start_server(Http(kind, brain).connection, "127.0.0.1", port, backlog=512)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    kind, name = sys.argv[1:3]
    revision = MODERN if kind.endswith("modern") else SSE_REVISION if kind == "sse" else LEGACY
    if kind.startswith("stdio"):
        stdio(Brain(name, revision))
    else:
        asyncio.run(http(kind, Brain(name, revision), int(sys.argv[3])))


if __name__ == "__main__":
    main()
