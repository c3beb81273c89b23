"""An MCP server over HTTP in plain Python: raw_http.py PORT ERA, with ERA legacy, modern, sse, login or lost.

Prints "ready" once it listens. `login` answers everything with 401; `lost` forgets its sessions when it is told to.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT, ERA = int(sys.argv[1]), sys.argv[2]
MODERN = "2026-07-28"
STREAMS: dict[str, queue.Queue[Any]] = {}
SESSIONS: set[str] = set()
SEEN: list[dict[str, Any]] = []
CANCELLED: list[Any] = []
METHODS: list[str] = []

READ = {"annotations": {"readOnlyHint": True}}
OBJECT = {"type": "object", "properties": {"text": {"type": "string"}}}
PARAM = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
TOOLS = [
    {"name": "echo", "description": "Echo", "inputSchema": OBJECT, **READ},
    {"name": "headers", "description": "The headers of this request", "inputSchema": PARAM, **READ},
    {"name": "progress", "description": "Three steps", "inputSchema": OBJECT, **READ},
    {"name": "forget", "description": "Forget all sessions", "inputSchema": OBJECT, **READ},
    {"name": "wait", "description": "Wait until cancelled", "inputSchema": OBJECT, **READ},
    {"name": "state", "description": "What happened", "inputSchema": OBJECT, **READ},
    {"name": "break", "description": "Break the connection", "inputSchema": OBJECT},
    *({"name": name, "description": name, "inputSchema": OBJECT} for name in ("huge", "html", "fault", "redirect")),
    *({"name": name, "description": name, "inputSchema": OBJECT} for name in ("endless", "foreign", "twice", "halved")),
]


def result(message: dict[str, Any], headers: dict[str, str]) -> dict[str, Any] | None:
    """The result of a request, or None for a method that this era has not."""
    method, params = message["method"], message.get("params", {})
    METHODS.append(method)
    capabilities = {"tools": {"listChanged": False}}
    if method == "server/discover" and ERA == "modern":
        return {"supportedVersions": [MODERN], "capabilities": capabilities, "ttlMs": 0, "cacheScope": "private"}
    if method == "initialize" and ERA != "modern":
        revision = "2024-11-05" if ERA == "sse" else "2025-11-25"
        return {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": {"name": ERA, "version": "1"}}
    if method == "ping" and ERA != "modern":
        return {}
    if method == "tools/list":
        return {"tools": TOOLS, **({"ttlMs": 1000, "cacheScope": "private"} if ERA == "modern" else {})}
    if method == "tools/call":
        given = params.get("arguments", {})
        if params["name"] == "forget":
            SESSIONS.clear()
        told = {
            "headers": json.dumps(headers),
            "state": json.dumps({"cancelled": CANCELLED, "methods": METHODS}),
        }.get(params["name"], f"{params['name']}: {given.get('text', '')}")
        return {"content": [{"type": "text", "text": told}]}
    return None


def answered(message: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    found = result(message, headers)
    if found is None:
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
    return {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", **found}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        if ERA != "sse" or self.path != "/sse":
            self.reply(405)
            return
        session = f"s{len(STREAMS)}"
        events = STREAMS[session] = queue.Queue()
        self.begin_stream()
        self.event(f"/messages?session_id={session}", "endpoint")
        try:
            while True:
                self.event(json.dumps(events.get()))
        except OSError:
            return

    def do_DELETE(self) -> None:
        self.reply(200)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if ERA == "login":
            self.reply(401, {}, {"WWW-Authenticate": "Bearer"})
        elif ERA == "sse":
            self.sse(message, headers)
        elif "id" not in message:
            if message["method"] == "notifications/cancelled":
                CANCELLED.append("notified")
            self.reply(202)
        elif ERA == "modern":
            self.modern(message, headers)
        else:
            self.legacy(message, headers)

    def sse(self, message: dict[str, Any], headers: dict[str, str]) -> None:
        session = self.path.partition("session_id=")[2]
        if session not in STREAMS:
            self.reply(404 if self.path != "/sse" else 405)
            return
        self.reply(202)
        if "id" in message:
            STREAMS[session].put(answered(message, headers))

    def legacy(self, message: dict[str, Any], headers: dict[str, str]) -> None:
        if message["method"] == "initialize":
            session = f"session-{len(METHODS)}"
            SESSIONS.add(session)
            self.reply(200, answered(message, headers), {"Mcp-Session-Id": session})
        elif headers.get("mcp-session-id") not in SESSIONS:
            code = 404 if "mcp-session-id" in headers else 400
            self.reply(code, {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32600, "message": "session"}})
        else:
            self.answer(message, headers)

    def modern(self, message: dict[str, Any], headers: dict[str, str]) -> None:
        if headers.get("mcp-protocol-version") != MODERN:
            error = {"code": -32022, "message": "version", "data": {"supported": [MODERN], "requested": ""}}
            self.reply(400, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        else:
            self.answer(message, headers)

    def answer(self, message: dict[str, Any], headers: dict[str, str]) -> None:
        name = message.get("params", {}).get("name")
        token = message.get("params", {}).get("_meta", {}).get("progressToken")
        if name == "break":
            self.close_connection = True
        elif name == "progress":
            self.begin_stream()
            for step in (1, 2, 3):
                params = {"progressToken": token, "progress": step, "total": 3}
                self.event(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
            self.event(json.dumps(answered(message, headers)))
            self.close_connection = True
        elif name == "wait":
            self.wait()
        elif name == "huge":
            self.huge()
        elif name == "endless":
            self.endless()
        elif name in ("foreign", "twice"):
            self.begin_stream()
            for id in ("nobody", 987654) if name == "foreign" else ():
                self.event(json.dumps({**answered(message, headers), "id": id}))
            self.event(json.dumps(answered(message, headers)))
            self.event(json.dumps(answered(message, headers)))
            self.close_connection = True
        elif name == "html":
            self.text(200, "<html>Sign in to the coffee shop's Wi-Fi</html>")
        elif name == "fault":
            self.text(500, "Traceback (most recent call last): secret_internal_path")
        elif name == "halved":
            self.text(200, '{"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "te')
        elif name == "redirect":
            self.reply(307, None, {"Location": "http://169.254.169.254/latest/meta-data"})
        else:
            self.reply(200, answered(message, headers))

    def wait(self) -> None:
        METHODS.append("waiting")
        self.begin_stream()
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end and "notified" not in CANCELLED:
                self.wfile.write(b": waiting\n\n")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            CANCELLED.append("closed")
        self.close_connection = True

    def huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"')
            for _ in range(100):
                self.wfile.write(b"x" * 1_000_000)
        except OSError:
            pass
        self.close_connection = True

    def endless(self) -> None:
        """Alive, and never an answer."""
        self.begin_stream()
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                self.wfile.write(b": still there\n\n")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass
        self.close_connection = True

    def text(self, status: int, words: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if words.startswith("{") else "text/html")
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words.encode())

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def event(self, data: str, name: str = "message") -> None:
        self.wfile.write(f"event: {name}\ndata: {data}\n\n".encode())
        self.wfile.flush()

    def reply(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    threading.current_thread().name = ERA
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
