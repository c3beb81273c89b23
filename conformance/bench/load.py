"""The load: keep-alive connections that ask one thing, every call with a text of its own, every answer checked.

    python -m conformance.bench.load URL --tool NAME --concurrency C [--era legacy] [--shape big|list]

For each number that comes in a line on stdin it makes so many calls, and prints one JSON object: calls, wrong,
first_wrong, seconds, p50_ms, p99_ms, own_cpu_us. For 0 it opens the connections that the other side has closed (at
first: all), and says `ready` once each stands and, in the legacy era, has its session: a run is made of calls alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import httptools
import uvloop

VERSION = "2026-07-28"
LEGACY = "2025-11-25"
KILOBYTES = 100
_SENTENCE = "please check the delivery of order 50212, the customer expects it before ten on Friday"

Shape = Literal["echo", "big", "list"]


@dataclass(slots=True)
class Task:
    """What to ask and how often; filled with what was seen."""

    host: str
    port: int
    path: str
    tool: str
    token: str
    left: int = 0
    era: Literal["modern", "legacy"] = "modern"
    shape: Shape = "echo"
    arguments: dict[str, Any] | None = None  # instead of a text of its own
    expected: int = 0  # of a list: how many items it has
    timeout_s: float = 120.0
    sent: int = 0
    wrong: int = 0
    latencies: list[float] = field(default_factory=list)
    first_wrong: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(3))  # no text comes twice, in whichever run

    @property
    def method(self) -> str:
        return "tools/list" if self.shape == "list" else "tools/call"


class Connection(asyncio.Protocol):
    """One caller: opens its session where the era has one, then asks when it was answered, while calls are left."""

    def __init__(self, task: Task, ready: asyncio.Future[None]) -> None:
        self._task, self.ready = task, ready
        self._done: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._text, self._began = bytearray(), b"", 0.0
        self._session, self.lost = "", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._task.era == "legacy":
            opening = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
            self._say({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening})
        else:
            self._is_ready()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        for waited in (self.ready, self._done):
            if waited is not None and not waited.done():
                waited.set_exception(ConnectionError("the connection was closed in mid-run"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"mcp-session-id":
            self._session = value.decode("ascii")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self.ready.done():
            self._check()
            self._ask()
        elif b'"result"' in self._body:
            self._body = bytearray()
            self._say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        elif self._parser.get_status_code() == 202:
            self._is_ready()
        else:
            self.ready.set_exception(ConnectionError(f"no session: {bytes(self._body[:300])!r}"))

    def start(self, done: asyncio.Future[None]) -> asyncio.Future[None]:
        """Ask until no call is left; then `done` is."""
        self._done = done
        if self.lost:
            done.set_exception(ConnectionError("the connection was closed while it was idle"))
        else:
            self._ask()
        return done

    def _ask(self) -> None:
        task = self._task
        self._body = bytearray()
        if task.left <= 0:
            if self._done is not None and not self._done.done():
                self._done.set_result(None)
            return
        task.left -= 1
        task.sent += 1
        text = f"{task.nonce}{task.sent:06d} {_SENTENCE}"
        self._text = b"" if task.shape == "list" or task.arguments is not None else text.encode()
        self._transport.write(self._head_to(request_body(task, task.sent, text)))
        self._began = time.perf_counter()

    def close(self) -> None:
        self._transport.close()

    def _is_ready(self) -> None:
        # what does not change from call to call is made once: the load must cost less than what it measures
        self._lines = head_lines(self._task, self._session)
        self.ready.set_result(None)

    def _check(self) -> None:
        task, body = self._task, self._body
        task.latencies.append(time.perf_counter() - self._began)
        right = self._parser.get_status_code() == 200 and b'"result"' in body and self._text in body
        if task.shape == "list":
            right = right and body.count(b'"inputSchema"') == task.expected
        elif right:
            tail = body[-200:]
            is_error = b'"isError":true' in tail or b'"isError": true' in tail
            right = not is_error and (task.shape != "big" or len(body) > KILOBYTES * 1024)
        if not right:
            task.wrong += 1
            task.first_wrong = task.first_wrong or bytes(body[:400]).decode(errors="replace")

    def _head_to(self, body: bytes) -> bytes:
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._lines, len(body), body)

    def _say(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        lines = head_lines(self._task, self._session)
        self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body))


def head_lines(task: Task, session: str) -> bytes:
    """The head of a POST but for its length; in the legacy era, of the session."""
    lines = [
        f"POST {task.path} HTTP/1.1",
        f"Host: {task.host}:{task.port}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        *([f"Authorization: Bearer {task.token}"] if task.token else []),
    ]
    if task.era == "modern":
        lines += [f"MCP-Protocol-Version: {VERSION}", f"Mcp-Method: {task.method}"]
        if task.method == "tools/call":
            lines.append(f"Mcp-Name: {task.tool}")
    elif session:
        lines += [f"MCP-Protocol-Version: {LEGACY}", f"Mcp-Session-Id: {session}"]
    return "\r\n".join(lines).encode() + b"\r\n"


def request_body(task: Task, id: int, text: str) -> bytes:
    params: dict[str, Any] = {}
    if task.method == "tools/call":
        given: dict[str, Any] = {"kilobytes": KILOBYTES, "text": text} if task.shape == "big" else {"text": text}
        params = {"name": task.tool, "arguments": given if task.arguments is None else task.arguments}
    if task.era == "modern":
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        }
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": task.method, "params": params}).encode()


def request(task: Task, id: int, arguments: dict[str, Any]) -> bytes:
    """One whole call of the modern era."""
    task.arguments = arguments
    body = request_body(task, id, "")
    return b"%bContent-Length: %d\r\n\r\n%b" % (head_lines(task, ""), len(body), body)


async def serve(task: Task, concurrency: int) -> None:
    """Do what the lines on stdin say."""
    loop = asyncio.get_running_loop()
    callers: list[Connection] = []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if int(line):
            print(json.dumps(await run(task, callers, int(line))), flush=True)
        else:
            callers = [caller for caller in callers if not caller.lost]
            callers += [await connected(task) for _ in range(concurrency - len(callers))]
            print("ready", flush=True)
    for caller in callers:
        caller.close()


async def connected(task: Task) -> Connection:
    loop = asyncio.get_running_loop()
    made = Connection(task, loop.create_future())
    await loop.create_connection(lambda: made, task.host, task.port)
    await asyncio.wait_for(made.ready, task.timeout_s)
    return made


async def run(task: Task, callers: list[Connection], calls: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    task.left, task.wrong, task.first_wrong, task.latencies = calls, 0, "", []
    began, cpu = time.perf_counter(), time.process_time()
    waits = [caller.start(loop.create_future()) for caller in callers]
    await asyncio.wait_for(asyncio.gather(*waits), task.timeout_s)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    taken = sorted(task.latencies)
    return {
        "calls": len(taken),
        "wrong": task.wrong,
        "first_wrong": task.first_wrong,
        "seconds": seconds,
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[min(len(taken) - 1, len(taken) * 99 // 100)] * 1000,
        "own_cpu_us": cpu / len(taken) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--tool", default="")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--token", default="")
    parser.add_argument("--era", choices=("modern", "legacy"), default="modern")
    parser.add_argument("--shape", choices=("echo", "big", "list"), default="echo")
    parser.add_argument("--args", default=None, help="fixed arguments as JSON; default: a text of its own per call")
    parser.add_argument("--expected", type=int, default=0, help="of a list: how many items it has")
    given = parser.parse_args()
    url = urlsplit(given.url)
    task = Task(
        host=url.hostname or "127.0.0.1",
        port=url.port or 80,
        path=url.path,
        tool=given.tool,
        token=given.token,
        era=given.era,
        shape=given.shape,
        arguments=None if given.args is None else json.loads(given.args),
        expected=given.expected,
    )
    uvloop.run(serve(task, given.concurrency))


if __name__ == "__main__":
    main()
