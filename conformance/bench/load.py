"""The load: keep-alive connections that call one tool, every call with a text of its own, every answer checked.

    python -m conformance.bench.load URL --tool NAME --calls N --concurrency C [--token T]

Prints one JSON object: calls, wrong, seconds, p50_ms, p99_ms, own_cpu_us.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

VERSION = "2026-07-28"
_SENTENCE = "please check the delivery of order 50212, the customer expects it before ten on Friday morn"  # 100 in all


@dataclass(slots=True)
class Task:
    """What to call and how often; filled with what was seen."""

    host: str
    port: int
    path: str
    tool: str
    arguments: dict[str, Any] | None  # None: {"text": a text of its own, 100 bytes}
    token: str
    left: int
    timeout_s: float = 60.0
    sent: int = 0
    wrong: int = 0
    latencies: list[float] = field(default_factory=list)
    first_wrong: str = ""


class Connection(asyncio.Protocol):
    """One caller: sends the next call when the last is answered."""

    def __init__(self, task: Task, done: asyncio.Future[None]) -> None:
        self._task, self._done = task, done
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._text, self._began = bytearray(), "", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("the connection was closed in mid-run"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        task = self._task
        task.latencies.append(time.perf_counter() - self._began)
        if self._text.encode() not in self._body or b'"isError":true' in self._body or b'"error"' in self._body:
            task.wrong += 1
            task.first_wrong = task.first_wrong or bytes(self._body[:400]).decode(errors="replace")
        self._next()

    def _next(self) -> None:
        task = self._task
        if task.left <= 0:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        task.left -= 1
        task.sent += 1
        self._body = bytearray()
        if task.arguments is None:
            self._text = f"{task.sent:08d} {_SENTENCE}"
            arguments: dict[str, Any] = {"text": self._text}
        else:
            self._text, arguments = "", task.arguments
        self._transport.write(request(task, task.sent, arguments))
        self._began = time.perf_counter()


def request(task: Task, id: int, arguments: dict[str, Any]) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    }
    params = {"name": task.tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    lines = [
        f"POST {task.path} HTTP/1.1",
        f"Host: {task.host}:{task.port}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {VERSION}",
        "Mcp-Method: tools/call",
        f"Mcp-Name: {task.tool}",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {task.token}"] if task.token else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def run(task: Task, concurrency: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    waits = []
    for _ in range(concurrency):
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda done=done: Connection(task, done), task.host, task.port)  # type: ignore[misc]
        waits.append(done)
    await asyncio.wait_for(asyncio.gather(*waits), task.timeout_s)
    seconds = time.perf_counter() - began
    taken = sorted(task.latencies)
    return {
        "calls": len(taken),
        "wrong": task.wrong,
        "first_wrong": task.first_wrong,
        "seconds": seconds,
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[min(len(taken) - 1, len(taken) * 99 // 100)] * 1000,
        "own_cpu_us": (time.process_time() - cpu) / len(taken) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--token", default="")
    parser.add_argument("--args", default=None, help="fixed arguments as JSON; default: a text of its own per call")
    given = parser.parse_args()
    url = urlsplit(given.url)
    task = Task(
        host=url.hostname or "127.0.0.1",
        port=url.port or 80,
        path=url.path,
        tool=given.tool,
        arguments=None if given.args is None else json.loads(given.args),
        token=given.token,
        left=given.calls,
    )
    print(json.dumps(uvloop.run(run(task, given.concurrency))), flush=True)


if __name__ == "__main__":
    main()
