"""An HTTP MCP server that starts well and is hostile in its calls.

    python -m conformance.servers.hostile_http ERA [PEM]

ERA is modern, legacy or sse. With PEM (a key and its certificate) it speaks TLS. Prints its port. The tools are the
ways of `hostile_messages`, `repeats` (what it was sent), and over Streamable HTTP those of `hostile_answers`, which
break HTTP itself. `GET /requests` tells what came to a path that is not its own.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from conformance.servers.hostile_answers import ANSWERS, bomb
from conformance.servers.hostile_messages import MODERN, WAYS, Dies, Id, Parts, answer, greeting, tool

ERA: Final = sys.argv[1] if len(sys.argv) > 1 else "modern"
STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TOOLS: Final = [tool(name) for name in (*WAYS, "repeats", *(ANSWERS if ERA != "sse" else ()))]
SESSION: Final = "one"

_streams: dict[str, queue.Queue[Parts | None]] = {}
_strays: list[str] = []


def parts(name: str, id: Id, body: bytes) -> Parts:
    return iter([answer(id, body.decode())]) if name == "repeats" else WAYS[name](id)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/requests":
            self.reply(200, _strays)
        elif ERA == "sse" and self.path == "/sse":
            self.stream()
        else:
            self.stray()

    def do_DELETE(self) -> None:
        self.reply(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = json.loads(body)
        if ERA == "sse":
            self.post_to_stream(message, body)
        elif self.path != "/mcp":
            self.stray()
        elif "id" not in message:
            self.reply(202, None)
        elif ERA == "modern" and self.headers.get("MCP-Protocol-Version") != MODERN:
            error = {"code": -32022, "message": "version", "data": {"supported": [MODERN], "requested": ""}}
            self.reply(400, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        elif message["method"] == "tools/call":
            self.call(message, body)
        else:
            self.reply(200, greeting(message, ERA, TOOLS), {"Mcp-Session-Id": SESSION} if ERA == "legacy" else {})

    def call(self, message: dict[str, Any], body: bytes) -> None:
        name, id = message["params"]["name"], message["id"]
        self.close_connection = True
        with contextlib.suppress(OSError):  # the hub has had enough
            if name in ANSWERS:
                for part in ANSWERS[name](id, self.connection.getsockname()[1]):
                    self.wfile.write(part)
            else:
                self.wfile.write(STREAM)
                self.events(parts(name, id, body))
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def events(self, told: Parts) -> None:
        """Each message as one event."""
        begun = False
        try:
            for part in told:
                framed = b""
                *whole, rest = part.split(b"\n")
                for text in whole:
                    framed += (b"" if begun else b"data: ") + text + b"\n\n"
                    begun = False
                if rest:
                    framed += (b"" if begun else b"data: ") + rest
                    begun = True
                self.wfile.write(framed)
        except Dies:
            self.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError from None

    def stream(self) -> None:
        session = f"s{len(_streams)}"
        calls = _streams[session] = queue.Queue()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(STREAM + f"event: endpoint\ndata: /messages?session={session}\n\n".encode())
            while (told := calls.get()) is not None:
                self.events(told)

    def post_to_stream(self, message: dict[str, Any], body: bytes) -> None:
        session = self.path.partition("session=")[2]
        if session not in _streams:
            self.reply(404 if self.path != "/sse" else 405, None)
            return
        self.reply(202, None)
        if "id" not in message:
            return
        if message["method"] == "tools/call":
            _streams[session].put(parts(message["params"]["name"], message["id"], body))
        else:
            _streams[session].put(iter([json.dumps(greeting(message, ERA, TOOLS)).encode() + b"\n"]))

    def stray(self) -> None:
        if self.path not in ("/mcp", "/sse", "/"):
            _strays.append(f"{self.command} {self.path}")
        self.reply(405, None)

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    bomb()  # made before anybody waits for it
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
