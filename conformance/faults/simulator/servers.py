"""Downstream servers that exist only here: lines in, lines out, and as ill-behaved as the dice say.

They stand below everything the hub has for a child process but the process itself: era, framing of messages,
correlation, timeouts and restarts are the hub's own.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from hub.core.errors import Unreachable

TOKEN: Final = re.compile(r"tok-([a-z]+)-(\d+)")
LISTS: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
WORK: Final = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
FLOOD: Final = 300  # notifications at once
CALM: Final = {"answer": 1.0}
ROUGH: Final = {
    "answer": 60.0,
    "error": 6.0,
    "hop_error": 3.0,
    "is_error": 4.0,
    "late": 5.0,
    "never": 3.0,
    "double": 5.0,
    "garbage": 4.0,
    "no_object": 3.0,
    "foreign": 3.0,
    "progress": 5.0,
    "die": 1.5,
    "deaf": 1.0,
    "flood": 1.5,
}


@dataclass(frozen=True)
class Received:
    """One piece of work as it reached a server."""

    server: str
    method: str
    name: str  # the server's own name of the item, or its uri
    token: str
    principal: str
    writes: bool


@dataclass
class FakeServer:
    """What is installed: it outlives its processes, and the hub."""

    id: str
    era: str
    dice: random.Random
    on_work: Callable[[Received], None]
    temper: dict[str, float] = field(default_factory=lambda: CALM)
    version: int = 1  # of its first tool's definition
    tools: list[str] = field(default_factory=lambda: ["get_one", "get_two", "put_one", "put_two"])
    prompts: list[str] = field(default_factory=lambda: ["ask"])
    refuses_start: bool = False
    process: Process | None = None
    starts: int = 0

    def definitions(self, method: str) -> list[dict[str, Any]]:
        id = self.id
        match method:
            case "tools/list":
                return [self._tool(name) for name in self.tools]
            case "prompts/list":
                return [{"name": name, "arguments": [{"name": "token"}]} for name in self.prompts]
            case "resources/list":
                return [{"uri": f"doc://{id}/{number}", "name": f"doc {number}"} for number in (1, 2)]
            case _:
                return [{"uriTemplate": f"item://{id}/{{token}}", "name": "item"}]

    def change(self, method: str = "tools") -> None:
        """The first tool is another one from now on; a new one may come or go."""
        self.version += 1
        if self.dice.random() < 0.4:
            if "get_new" in self.tools:
                self.tools.remove("get_new")
            else:
                self.tools.append("get_new")
        if self.process is not None:
            self.process.tell({"method": "notifications/tools/list_changed"})

    def die(self, code: int = 1) -> None:
        if self.process is not None:
            self.process.exit(code)

    def _tool(self, name: str) -> dict[str, Any]:
        text = f"Does {name} on {self.id}." + (f" Version {self.version}." if name == self.tools[0] else "")
        schema = {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]}
        hints = {"readOnlyHint": name.startswith("get_")}
        return {"name": name, "description": text, "inputSchema": schema, "annotations": hints}


class _Child:
    """What the hub knows of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(self, grace_s: float) -> None:
        asyncio.get_running_loop().call_later(min(grace_s, 0.05), self._process.exit, -15)

    def kill(self) -> None:
        self._process.exit(-9)


class Process:
    """One run of a server: the hub's `Pipes`, and the program at their other end."""

    def __init__(self, server: FakeServer, take: Callable[[Any], None], ended: Callable[[], None]) -> None:
        self._server, self._take, self._ended = server, take, ended
        self._loop = asyncio.get_running_loop()
        self._dice = server.dice
        self._waiting: dict[Any, list[asyncio.TimerHandle]] = {}
        self._arrives = 0.0
        self._deaf = asyncio.Event()
        self._deaf.set()
        self.child = _Child(self)
        self.alive = True

    # The hub's side.

    async def send(self, message: bytes) -> None:
        while not self._deaf.is_set():
            await self._deaf.wait()
        if not self.alive:
            raise Unreachable(self._server.id, "its process takes no more input")
        # in the order it was written, as pipes do
        self._arrives = max(self._arrives + 1e-6, self._loop.time() + self._dice.uniform(0.0005, 0.01))
        self._loop.call_at(self._arrives, self._read, message)

    def close_stdin(self) -> None:
        self._later(0.01, self.exit, 0)

    def close(self) -> None:
        self.exit(-9)

    # The program's side.

    def exit(self, code: int) -> None:
        if not self.alive:
            return
        self.alive = False
        self._deaf.set()
        for timers in self._waiting.values():
            for timer in timers:
                timer.cancel()
        if self._server.process is self:
            self._server.process = None
        self._loop.call_soon(self._ended)
        if not self.child.exited.done():
            self.child.exited.set_result(code)

    def tell(self, message: dict[str, Any]) -> None:
        if self.alive:
            self._take(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def _later(self, delay_s: float, what: Callable[..., None], *given: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(delay_s, what, *given)

    def _read(self, line: bytes) -> None:
        if not self.alive:
            return
        message = json.loads(line)
        id, method, params = message.get("id"), message.get("method"), message.get("params", {})
        if method == "notifications/cancelled":
            for timer in self._waiting.pop(params.get("requestId"), []):
                timer.cancel()
        elif id is None or method is None:
            return
        elif method in WORK:
            self._work(id, method, params)
        elif (answer := self._housekeeping(id, method)) is not None:
            self._reply(id, answer, self._dice.uniform(0.0005, 0.01))

    def _housekeeping(self, id: Any, method: str) -> dict[str, Any] | None:
        server, modern = self._server, self._server.era == "modern"
        kinds: dict[str, Any] = {kind: {"listChanged": True} for kind in ("tools", "prompts", "resources")}
        capabilities = {**kinds, "completions": {}, "logging": {}}
        absent = {"error": {"code": -32601, "message": "Method not found"}}
        if server.temper is not CALM and self._dice.random() < 0.03:
            return None  # it swallows a question now and then
        match method:
            case "server/discover" if modern:
                return {"result": {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, **self._seal()}}
            case "initialize" if not modern:
                hello = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
                return {"result": {**hello, "serverInfo": {"name": server.id, "version": "1"}}}
            case "ping" | "logging/setLevel" | "resources/subscribe":
                return {"result": {}}
            case "subscriptions/listen" if modern:
                self._waiting[id] = []
                return None
            case _ if method in LISTS:
                return {"result": {LISTS[method]: server.definitions(method), **self._seal()}}
        return absent

    def _seal(self) -> dict[str, Any]:
        return {"resultType": "complete"} if self._server.era == "modern" else {}

    def _work(self, id: Any, method: str, params: dict[str, Any]) -> None:
        server = self._server
        found = TOKEN.search(json.dumps(params))
        name = params.get("name") or params.get("uri") or json.dumps(params.get("ref"))
        token = found[0] if found else ""
        writes = method == "tools/call" and str(name).startswith("put_")
        server.on_work(Received(server.id, method, str(name), token, found[1] if found else "", writes))
        how = self._dice.choices([*server.temper], [*server.temper.values()])[0]
        self._chatter(id, params, token)
        answer = {"result": self._result(method, token)}
        delay_s = self._dice.uniform(0.001, 0.03)
        replaced: dict[str, dict[str, Any]] = {
            "error": {"error": {"code": 10, "message": f"no {token}"}},
            "hop_error": {"error": {"code": -32600, "message": f"hop {token}"}},
            "is_error": {"result": {**answer["result"], "isError": True}},
            "no_object": {"result": self._dice.choice([None, 5, "x", [token]])},
        }
        self._misbehave(how, id, answer, delay_s)
        if how == "flood":
            for step in range(1, FLOOD):
                self._progress(params, token, step)
        if how == "progress":
            self._slow_with_signs_of_life(id, params, token, answer)
        elif how == "late":
            self._reply(id, answer, self._dice.uniform(2.0, 20.0))
        elif how in ("never", "die"):
            self._waiting.setdefault(id, [])
        else:
            self._reply(id, replaced.get(how, answer), delay_s)

    def _misbehave(self, how: str, id: Any, answer: dict[str, Any], delay_s: float) -> None:
        """What it does beside the answer, or instead of one."""
        match how:
            case "double":
                self._later(delay_s * 2, self._say, id, answer)
            case "garbage":
                self._later(
                    delay_s / 2, self._raw, self._dice.choice([b"oops {", b"[]", b"5", b'{"jsonrpc":"1"}', b""])
                )
            case "foreign":
                self._later(delay_s / 2, self._say, self._dice.choice([10**6, "x", -1]), {"result": {}})
            case "die":
                self._later(delay_s, self.exit, 3)
            case "deaf":
                self._deaf.clear()
                self._later(self._dice.uniform(1.0, 15.0), self._deaf.set)

    def _result(self, method: str, token: str) -> dict[str, Any]:
        text = f"{self._server.id} says {token}"
        match method:
            case "tools/call":
                return {"content": [{"type": "text", "text": text}], **self._seal()}
            case "prompts/get":
                return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}], **self._seal()}
            case "resources/read":
                return {"contents": [{"uri": f"doc://{self._server.id}/1", "text": text}], **self._seal()}
            case _:
                return {"completion": {"values": [text]}, **self._seal()}

    def _chatter(self, id: Any, params: dict[str, Any], token: str) -> None:
        meta = params.get("_meta", {})
        asked = "io.modelcontextprotocol/logLevel" in meta or self._server.era == "legacy"
        for delay_s in (0.0, self._dice.uniform(0.0, 0.03), self._dice.uniform(0.0, 6.0)):
            if asked and self._dice.random() < 0.4:
                said = {"method": "notifications/message", "params": {"level": "error", "data": f"log {token}"}}
                self._waiting.setdefault(id, []).append(self._later(delay_s, self.tell, said))

    def _slow_with_signs_of_life(self, id: Any, params: dict[str, Any], token: str, answer: dict[str, Any]) -> None:
        steps = self._dice.randint(2, 8)
        timers = self._waiting.setdefault(id, [])
        for step in range(1, steps):
            timers.append(self._later(step * 2.0, self._progress, params, token, step))
        timers.append(self._later(steps * 2.0, self._say, id, answer))

    def _progress(self, params: dict[str, Any], token: str, step: int) -> None:
        given = params.get("_meta", {}).get("progressToken")
        if given is not None:
            said = {"progressToken": given, "progress": step, "message": f"at {token}"}
            self.tell({"method": "notifications/progress", "params": said})

    def _reply(self, id: Any, answer: dict[str, Any], delay_s: float) -> None:
        self._waiting.setdefault(id, []).append(self._later(delay_s, self._say, id, answer))

    def _say(self, id: Any, answer: dict[str, Any]) -> None:
        for timer in self._waiting.pop(id, []):
            timer.cancel()  # what belongs to a request is said before its answer
        self.tell({"id": id, **answer})

    def _raw(self, line: bytes) -> None:
        if self.alive:
            self._take(line)


class Machine:
    """Where the servers are installed; gives the hub its processes."""

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}

    async def launch(
        self, guard: Any, program: Any, words: Any, cap: int, take: Callable[[Any], None], ended: Callable[[], None]
    ) -> Process:
        """In place of `hub.downstream.pipes.launch`."""
        server = self.servers.get(program.server)
        await asyncio.sleep(0.002)
        if server is None or server.refuses_start:
            raise Unreachable(program.server, "its program is not there")
        process = server.process = Process(server, take, ended)
        server.starts += 1
        return process

    def die(self) -> None:
        """All processes end, as they do with the hub they belong to."""
        for server in self.servers.values():
            server.die(-9)
