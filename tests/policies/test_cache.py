"""Kept answers."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import Asked, Call, Denied, Done, Listing
from policies.cache import Cache
from tests.policies.below import Below, a_call, a_tool, cancelled

SEE = a_tool(writes=False)


class Shelf:
    def __init__(self, kept: Done | None = None, failure: Exception | None = None) -> None:
        self.kept, self.failure = kept, failure
        self.put_there: list[Done] = []

    async def get(self, call: Call) -> Done | None:
        if self.failure is not None:
            raise self.failure
        return self.kept

    async def put(self, call: Call, done: Done) -> None:
        self.put_there.append(done)


async def test_an_answer_is_kept_and_the_kept_one_answers() -> None:
    shelf, below = Shelf(), Below()
    assert await Cache(shelf)(a_call(SEE), below) == Done({}, 2)
    assert shelf.put_there == [Done({}, 2)]
    kept = Done({"kept": True}, 13)
    assert await Cache(Shelf(kept))(a_call(SEE), below) is kept
    assert len(below.seen) == 1


@pytest.mark.parametrize(
    "call",
    [a_call(a_tool(writes=True)), a_call(target=Listing("tool"))],
    ids=["write", "list"],
)
async def test_writes_and_lists_always_go_down(call: Call) -> None:
    below, shelf = Below(), Shelf(Done({"kept": True}))
    assert await Cache(shelf)(call, below) == Done({}, 2)
    assert len(below.seen) == 1
    assert not shelf.put_there


@pytest.mark.parametrize("more", [{"requestState": "s"}, {"inputResponses": {}}])
async def test_a_later_round_is_neither_answered_from_the_cache_nor_kept(more: Any) -> None:
    """What one user answered must not be another's result."""
    below, shelf = Below(), Shelf(Done({"kept": True}))
    call = a_call(SEE, params={"name": "hr__pay", "arguments": {}, **more})
    assert await Cache(shelf)(call, below) == Done({}, 2)
    assert Cache(shelf).passes(call)
    assert not shelf.put_there


@pytest.mark.parametrize(
    "answer",
    [Done({"isError": True}), Asked({}, None), Denied("downstream_down", "down")],
    ids=lambda a: type(a).__name__,
)
async def test_only_a_good_answer_is_kept(answer: Any) -> None:
    shelf = Shelf()
    assert await Cache(shelf)(a_call(SEE), Below(answer)) is answer
    assert not shelf.put_there


async def test_without_a_cache_every_call_goes_down() -> None:
    assert await Cache(None)(a_call(SEE), Below()) == Done({}, 2)


async def test_a_cache_that_fails_refuses() -> None:
    below = Below()
    with pytest.raises(OSError, match="gone"):
        await Cache(Shelf(failure=OSError("gone")))(a_call(SEE), below)
    assert not below.seen


async def test_a_cancelled_call_stays_cancelled_and_keeps_nothing() -> None:
    shelf = Shelf()
    await cancelled(Cache(shelf), a_call(SEE))
    assert not shelf.put_there
