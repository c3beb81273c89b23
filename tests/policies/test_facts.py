"""Facts are looked up once, added and never replaced by their absence; without them nothing is guessed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from hub.core.call import Call, Client, Done, Json, Outcome, Principal
from policies.facts import Facts

CALL = Call(
    "1",
    Principal("local", "u", "c", frozenset()),
    "",
    "tools/call",
    {},
    Client("modern", "2026-07-28"),
    float("inf"),
    facts={"a": 1},
)


@dataclass
class Attributes:
    found: Json | Exception = field(default_factory=dict)
    asked: int = 0

    async def of(self, call: Call) -> Json:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@dataclass
class Below:
    seen: list[Call] = field(default_factory=list)

    async def __call__(self, call: Call) -> Outcome:
        self.seen.append(call)
        return Done({})


async def test_without_a_source_the_very_call_passes() -> None:
    below = Below()
    assert await Facts(None)(CALL, below) == Done({})
    assert below.seen[0] is CALL


async def test_what_is_found_is_added_once() -> None:
    below, attributes = Below(), Attributes({"b": 2})
    await Facts(attributes)(CALL, below)
    assert below.seen[0].facts == {"a": 1, "b": 2}
    assert attributes.asked == 1
    assert CALL.facts == {"a": 1}


async def test_a_failed_look_up_lets_nothing_pass() -> None:
    below = Below()
    with pytest.raises(OSError, match="gone"):
        await Facts(Attributes(OSError("gone")))(CALL, below)
    assert not below.seen


async def test_a_cancelled_look_up_lets_nothing_pass() -> None:
    class Hanging:
        async def of(self, call: Call) -> Json:
            await asyncio.Event().wait()
            return {}

    below = Below()
    asking = asyncio.ensure_future(Facts(Hanging())(CALL, below))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not below.seen
