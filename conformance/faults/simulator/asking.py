"""What clients ask, and what they make of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from conformance.faults.simulator.judge import code_of
from conformance.faults.simulator.people import Line, Question, Rules
from conformance.faults.simulator.setting import TRUSTED
from hub.core.call import Principal
from hub.edge.line_stream import LineStream

if TYPE_CHECKING:
    from conformance.faults.simulator.world import World

_ENVELOPE: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
_TOOLS: Final = ("get_one", "get_two", "put_one", "put_two", "get_new")
_LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_UNKNOWN: Final = "unknown_item"


class Asking:
    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        self._last_id = self._last_token = 0
        self._nothing: dict[str, str] = {}  # how what never was is answered, by era

    # Connections.

    def open(self, line: Line, who: Principal) -> None:
        hub = self._world.hub
        endpoint = hub.stdio.ports.endpoints[line.endpoint]

        def stands() -> bool:
            now = hub.parts.identities.verify(line.key, "mcp")
            return now is not None and now.credential == who.credential

        async def serve() -> None:
            try:
                await hub.stdio.serve(cast(LineStream, line), who, endpoint, stands=stands)
            except asyncio.CancelledError:
                raise
            except BaseException as exc:
                if not hub.ended:
                    self._world.judge.fault(f"a conversation ended with {exc!r}")
            line.over = True

        line.task = asyncio.create_task(serve(), name="a conversation")
        if line.era == "modern":
            line.ready = True
            return
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "sim", "version": "1"}}
        self._send(line, "initialize", hello, then=self._initialized)

    def _initialized(self, question: Question) -> None:
        line = question.line
        line.ready = True
        line.say({"method": "notifications/initialized"})
        if self._dice.random() < 0.5:
            self._send(line, "logging/setLevel", {"level": "debug"})

    def heard(self, line: Line, raw: bytes) -> None:
        question = self._world.judge.heard(line, raw)
        if question is not None and question.then is not None:
            question.then(question)

    def rules_changed(self) -> None:
        """Whoever waits for an answer may be judged by what was in force or by what is."""
        for line in self._world.lines:
            for question in line.questions.values():
                if question.rules:
                    question.rules.append(self._rules(line))

    # Acts.

    def ask(self) -> None:
        if (line := self._asker()) is not None:
            self._something(line)

    def burst(self) -> None:
        if (line := self._asker()) is not None:
            for _ in range(self._dice.randint(5, 25)):
                self._something(line)

    def cancel(self) -> None:
        line = self._asker()
        if line is not None and line.questions:
            question = self._dice.choice([*line.questions.values()])
            if question.method != "initialize":
                question.cancelled = True
                line.say({"method": "notifications/cancelled", "params": {"requestId": question.id}})

    def list_is_call(self) -> None:
        """What is listed can be called, and what is not is answered like what never was: asked in one breath."""
        line = self._asker()
        if line is None or not line.reads:
            return
        server = self._server()
        public = f"{server}__{self._dice.choice([*_TOOLS, 'never'])}"
        listing = self._send(line, "tools/list", {})
        calling = self._call(line, server, public)
        pair = [listing, calling]
        seen = self._seen(line)

        def then(question: Question) -> None:
            if all(each.answer is not None and not each.cancelled for each in pair) and seen == self._seen(line):
                self._compare(line, public, listing, calling)

        listing.then = calling.then = then

    def _compare(self, line: Line, public: str, listing: Question, calling: Question) -> None:
        listed, called = listing.answer or {}, calling.answer or {}
        if "result" not in listed or code_of(listed) or code_of(called) in ("audit_unavailable", "rate_limited"):
            return
        is_listed = any(tool["name"] == public for tool in listed["result"]["tools"])
        is_unknown = code_of(called) == _UNKNOWN
        self._world.judge.tally["list = call"] += 1
        if is_listed == is_unknown:
            words = "listed and unknown" if is_listed else "not listed and known"
            self._world.judge.fault(f"{public} is {words} to {line.person.name}: {json.dumps(called)[:300]}")
        if is_unknown:
            error = json.loads(json.dumps(called["error"]))
            del error["data"]["_meta"]["io.mcp-hub/call"]
            usual = self._nothing.setdefault(line.era, json.dumps(error))
            if json.dumps(error) != usual:
                self._world.judge.fault(f"{public} is unknown in other words than usual: {error}, not {usual}")

    # One request.

    def _asker(self) -> Line | None:
        lines = [line for line in self._world.lines if line.open and line.ready and len(line.questions) < 60]
        return self._dice.choice(lines) if lines else None

    def _granted(self, line: Line) -> tuple[str, str]:
        """A tool that may be called, and its server, where there is one."""
        rules = self._rules(line)
        shown = self._world.hub.parts.catalogue.items(line.endpoint, "tool")
        names = [(item.server, item.name) for item in shown if rules.allow(item.server, "tool", item.name)]
        return self._dice.choice(names or [("steady", "steady__never")])

    def _server(self) -> str:
        return self._dice.choice(["steady", "steady", *self._world.machine.servers])

    def _something(self, line: Line) -> None:
        server = self._server()
        dice = self._dice.random()
        if dice < 0.5:
            self._call(line, *self._granted(line))
        elif dice < 0.6:
            self._call(line, server, f"{server}__{self._dice.choice(_TOOLS)}")
        elif dice < 0.68:
            self._work(line, "prompts/get", server, f"{server}__ask", "prompt")
        elif dice < 0.78:
            self._work(line, "resources/read", server, "", "resource")
        elif dice < 0.82:
            self._work(line, "completion/complete", server, f"{server}__ask", "prompt")
        elif dice < 0.95:
            self._send(line, self._dice.choice(_LISTS), {})
        elif dice < 0.97 and line.era == "legacy":
            self._send(line, "resources/subscribe", {"uri": f"{server}+doc://{server}/1"})
        elif dice < 0.98 and line.era == "modern" and not line.listens:
            line.listens = True
            listen = self._send(line, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            listen.open_ended = True
        elif dice < 0.99:
            self._send(line, "tools/call", {"name": f"{server}__get_one", "arguments": {"token": 5}})
        else:
            self._send(line, self._dice.choice(["no/such", "server/discover", "ping"]), {})

    def _call(self, line: Line, server: str, public: str) -> Question:
        return self._work(line, "tools/call", server, public, "tool")

    def _work(self, line: Line, method: str, server: str, public: str, kind: str) -> Question:
        self._last_token += 1
        token = f"tok-{line.person.name}-{self._last_token}"
        params: dict[str, Any] = {"name": public, "arguments": {"token": token}}
        if method == "resources/read":
            public = f"{server}+item://{server}/{token}"
            params = {"uri": public}
        elif method == "completion/complete":
            params = {"ref": {"type": "ref/prompt", "name": public}, "argument": {"name": "token", "value": token}}
        question = self._send(line, method, params, token)
        question.server, question.kind, question.public = server, kind, public
        world = self._world
        enabled = [health.server for health in world.hub.parts.pool.health() if health.state == "ready"]
        if server == "steady" and "steady" in enabled and not line.stalled_once:
            native = public.partition("__")[2]
            known = method != "tools/call" or native in world.machine.servers["steady"].tools
            question.steady = known and question.may_reach("steady", kind, public)
        return question

    def _send(
        self,
        line: Line,
        method: str,
        params: dict[str, Any],
        token: str = "",
        then: Callable[[Question], None] | None = None,
    ) -> Question:
        world = self._world
        self._last_id += 1
        question = Question(self._last_id, line, method, world.clock.now, world.clock.wall(), token, then=then)
        question.rules = [self._rules(line)]
        line.questions[question.id] = question
        if token:
            world.judge.questions[token] = question
        meta: dict[str, Any] = dict(_ENVELOPE) if line.era == "modern" else {}
        if self._dice.random() < 0.3:
            meta["progressToken"] = f"p{question.id}"
        if line.era == "modern" and self._dice.random() < 0.3:
            meta["io.modelcontextprotocol/logLevel"] = "debug"
        line.say({"id": question.id, "method": method, "params": {**params, **({"_meta": meta} if meta else {})}})
        return question

    def _rules(self, line: Line) -> Rules:
        servers, tools = line.grants
        endpoint = self._world.hub.parts.current.config.endpoints[line.endpoint]
        return Rules(servers, tools, endpoint, TRUSTED)

    def _seen(self, line: Line) -> object:
        """What is the same as long as nothing about this endpoint has changed."""
        parts = self._world.hub.parts
        items = parts.catalogue.items(line.endpoint, "tool")
        shown = tuple([(item.name, item.sha256, item.changed) for item in items])
        return shown, parts.current.config.policy_version, id(parts)
