"""A legacy MCP server that starts well and then rots: rotten.py stdio WAY, or rotten.py http PORT.

Over stdio one process rots in one WAY: silent, exits, garbage (from its start), or in the tool `rot`: hangs, dies,
floods, endless, deaf, noisy. Over HTTP the tool is named by its way: hangs, dies, floods.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FLOOD = json.dumps(
    {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 900}}
)


def answer(message: dict[str, Any], tools: list[str]) -> dict[str, Any]:
    """What a good server says."""
    made: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    match message["method"]:
        case "initialize":
            info = {"name": "rotten", "version": "1"}
            made["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            made["result"] = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in tools]}
        case "tools/call":
            made["result"] = {"content": [{"type": "text", "text": "well"}]}
        case _:
            made["error"] = {"code": -32601, "message": "no such method"}
    return made


def stdio(way: str) -> None:
    if way == "silent":
        time.sleep(3600)
    if way == "exits":
        sys.exit("this server exits at once")
    while way == "garbage":
        print("no JSON, " * 100, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") is None:
            continue
        if message["method"] == "tools/call":
            rot(way)
        print(json.dumps(answer(message, ["rot"])), flush=True)


def rot(way: str) -> None:
    if way == "dies":
        os._exit(3)
    while way == "floods":
        print(FLOOD, flush=True)
    while way == "endless":
        sys.stdout.write("x" * 65536)
    while way == "hangs":
        time.sleep(3600)
    for _ in range(20_000 if way == "noisy" else 0):
        print("a word too many " * 10, file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message.get("id") is None:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if message["method"] == "tools/call":
            self._rot(message["params"]["name"])
            return
        body = json.dumps(answer(message, ["dies", "floods", "hangs"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _rot(self, way: str) -> None:
        self.close_connection = True
        if way == "hangs":
            time.sleep(3600)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            while way == "floods":
                self.wfile.write(f"data: {FLOOD}\n\n".encode())
        except OSError:
            pass  # the hub has had enough

    def log_message(self, format: str, *args: Any) -> None:
        return None


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        stdio(sys.argv[2])
    else:
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
        server.daemon_threads = True
        server.serve_forever()
