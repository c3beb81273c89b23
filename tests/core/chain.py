"""Stages, gates and logs of one idea each, for the claims about the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hub.core.call import (
    ANY,
    AnyArguments,
    Call,
    Client,
    Denied,
    Done,
    Item,
    Json,
    Listed,
    Listing,
    Obligation,
    Outcome,
    Principal,
    Target,
)
from hub.core.gate import GateStage
from hub.core.pipeline import Pipeline, Record
from hub.core.ports import Allowed, Next, Stage

PAY = Item("tool", "hr", "hr__pay", "pay", {}, {}, "a" * 64)
SEE = Item("tool", "hr", "hr__see", "see", {}, {}, "b" * 64, writes=False)
MASK = Obligation("mask", {"values": ["x"]})
WHO = Principal("local", "key:u", "key-1", frozenset({"mcp"}))


def a_call(params: Json | None = None, **change: Any) -> Call:
    given: Json = {"name": "hr__pay", "arguments": {}} if params is None else params
    call = Call("run-000001", WHO, "", "tools/call", given, Client("modern", "2026-07-28"), float("inf"))
    return replace(call, **change)


class Log:
    """Keeps what it is given, as the port promises: before its first await."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Target, Outcome | None]] = []
        self.records: list[Record] = []

    async def intent(self, record: Record) -> None:
        self.entries.append(("intent", record.call.target, None))

    async def finish(self, record: Record, outcome: Outcome) -> None:
        self.entries.append(("finish", record.call.target, outcome))
        self.records.append(record)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.entries]


class Find:
    """Resolves every call to the same target."""

    name = "resolve"

    def __init__(self, target: Target) -> None:
        self.target = target

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        return await next(replace(call, target=self.target))


class Reach:
    """A dispatch that answers what it was told to, and remembers who came."""

    name = "dispatch"

    def __init__(self, answer: Any = None) -> None:
        self.answer: Any = Done({}) if answer is None else answer
        self.seen: list[Call] = []

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        self.seen.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(call.target, Listing):
            return Listed((PAY, SEE))
        return self.answer  # type: ignore[no-any-return]


class Hang:
    """A dispatch that never answers."""

    name = "dispatch"

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = False

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError("an event nobody sets was set")


class Does:
    """A stage made of one function."""

    def __init__(self, act: Callable[[Call, Next], Any], name: str = "does") -> None:
        self.name, self._act = name, act

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        return await self._act(call, next)  # type: ignore[no-any-return]


class Judge:
    """A gate made of one function over (item, arguments)."""

    def __init__(self, rule: Callable[[Item, Json | AnyArguments], Allowed | Denied], name: str = "judge") -> None:
        self.name, self._rule = name, rule

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        return self._rule(item, arguments)


def small_sums(item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
    if arguments is ANY:
        return Allowed()
    return Allowed((MASK,)) if arguments.get("amount", 10**9) < 500 else Denied("policy", "too much", told="ask")


def hides_pay(item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
    return Denied("policy", "role", told="ask ops", retry_after_s=3.0) if item is PAY else Allowed()


def gate(rule: Callable[[Item, Json | AnyArguments], Allowed | Denied]) -> GateStage:
    return GateStage(Judge(rule))


async def run(
    stages: Sequence[Stage], reach: Stage, log: Log | None = None, call: Call | None = None, audit_s: float = 5.0
) -> Outcome:
    return await Pipeline(stages, reach, log or Log(), audit_s).handle(call or a_call())
