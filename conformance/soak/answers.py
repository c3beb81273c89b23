"""Is this answer right? Every call has a text of its own; a failure is right only while its server was down."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from conformance.soak.server import STEPS

DOWN: Final = frozenset({"downstream_down", "downstream_lost"})  # what a caller is told of a server that was killed
TOLD: Final = 20  # wrong answers that are kept in words
_CODE: Final = "io.mcp-hub/code"

Json = Mapping[str, Any]


class Outages:
    """When each server was not to be relied on: from its kill until the first right answer after it."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = {}
        self.kills = 0
        self.longest_s = 0.0

    def begin(self, server: str) -> None:
        self.kills += 1
        self._spans.setdefault(server, []).append((monotonic(), float("inf")))
        del self._spans[server][:-4]

    def end(self, server: str) -> None:
        began, _ = self._spans[server][-1]
        now = monotonic()
        self._spans[server][-1] = (began, now)
        self.longest_s = max(self.longest_s, now - began)

    def excuses(self, server: str, began: float, ended: float) -> bool:
        return any(start <= ended and began <= end for start, end in self._spans.get(server, ()))

    def rested(self, server: str, seconds: float) -> bool:
        spans = self._spans.get(server)
        return not spans or monotonic() - spans[-1][1] > seconds


@dataclass(slots=True)
class Asked:
    """One call that was made."""

    server: str
    tool: str
    text: str
    began: float

    @property
    def name(self) -> str:
        return f"{self.server}__{self.tool}"


@dataclass(slots=True)
class Book:
    """What was asked and what came of it."""

    outages: Outages
    dice: random.Random
    sent: int = 0  # tools/call, whether answered or not
    right: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    wrong_words: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.right["call"] + sum(self.excused.values())

    def ask(self, servers: Sequence[str]) -> Asked:
        self.sent += 1
        tool = self.dice.choices(("echo", "note", "steps"), (85, 7, 8))[0]
        return Asked(self.dice.choice(servers), tool, f"{self.sent:08x} {self.dice.getrandbits(64):016x}", monotonic())

    def probe(self, server: str) -> Asked:
        self.sent += 1
        return Asked(server, "echo", f"{self.sent:08x} are you there", monotonic())

    def fault(self, words: str) -> None:
        self.wrong += 1
        if len(self.wrong_words) < TOLD:
            self.wrong_words.append(words)

    def judge(self, asked: Asked, id: int, messages: Sequence[Json], from_where: str) -> bool:
        """`messages`: what came for this call, its answer last. Whether the server itself answered it, and right."""
        before = self.right["call"]
        fault = self._fault(asked, id, messages)
        if fault:
            self.fault(f"{from_where}, {asked.name} {asked.text!r}: {fault}")
        return self.right["call"] > before

    def _fault(self, asked: Asked, id: int, messages: Sequence[Json]) -> str:
        answer = messages[-1] if messages else {}
        result = answer.get("result")
        if answer.get("id") != id or not isinstance(result, Mapping):
            return f"no result: {str(answer)[:300]}"
        text = "".join(part.get("text", "") for part in result.get("content", ()))
        if result.get("isError"):
            code = result.get("_meta", {}).get(_CODE, "tool_error")
            if code not in DOWN or f"'{asked.server}'" not in text:
                return f"an error that no killed server explains: {str(result)[:300]}"
            if not self.outages.excuses(asked.server, asked.began, monotonic()):
                return f"{code}, but the server was up"
            self.excused[code] += 1
            return ""
        if text != f"{asked.server}: {asked.text}":
            return f"another call's answer, or none: {text[:300]!r}"
        steps = [m["params"].get("progress") for m in messages[:-1] if m.get("method") == "notifications/progress"]
        if asked.tool == "steps" and steps != [*range(1, STEPS + 1)]:
            return f"progress {steps}"
        self.right["call"] += 1
        return ""

    def judge_list(self, servers: Sequence[str], messages: Sequence[Json], from_where: str) -> None:
        """All tools of the caller's servers, and no other; a server that is down keeps its place."""
        answer = messages[-1] if messages else {}
        listed = {tool["name"] for tool in answer.get("result", {}).get("tools", ())}
        wanted = {f"{server}__{tool}" for server in servers for tool in ("echo", "note", "steps", "hold")}
        if listed == wanted:
            self.right["list"] += 1
        else:
            self.fault(f"{from_where}, tools/list: missing {wanted - listed}, not the caller's {listed - wanted}")
