"""What stands below a stage in these tests: answers, remembers, fails or hangs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hub.core.call import Call, Client, Done, Item, Json, One, Outcome, Principal

WHO = Principal("local", "key:u", "key-1", frozenset({"mcp"}))


class Below:
    """A `next` that answers what it was told to."""

    def __init__(self, answer: Any = None) -> None:
        self.answer: Any = Done({}, 2) if answer is None else answer
        self.seen: list[Call] = []

    async def __call__(self, call: Call) -> Outcome:
        self.seen.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


class Hanging:
    """A `next` that never answers."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    async def __call__(self, call: Call) -> Outcome:
        self.entered.set()
        await asyncio.Event().wait()
        raise AssertionError("an event nobody sets was set")


def a_tool(definition: Json | None = None, *, sha256: str = "s", writes: bool = True, name: str = "hr__pay") -> Item:
    given: Json = {"name": "pay", "inputSchema": {"type": "object"}} if definition is None else definition
    return Item("tool", "hr", name, "pay", given, given, sha256, writes=writes)


def a_call(item: Item | None = None, arguments: Any = None, **given: Any) -> Call:
    params = given.pop("params", {"name": "hr__pay", "arguments": {} if arguments is None else arguments})
    call = Call("run-000001", WHO, "", "tools/call", params, Client("modern", "2026-07-28"), float("inf"))
    changes = {"target": One(item or a_tool()), **given}
    return replace(call, **changes)


async def cancelled(stage: Any, call: Call) -> None:
    """Run the stage over a `next` that hangs, cancel it there, and see that the cancellation comes through."""
    hanging = Hanging()
    task = asyncio.create_task(stage(call, hanging))
    await asyncio.wait_for(hanging.entered.wait(), 5)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done == {task}
    assert task.cancelled()
