"""What a server logs about a request that nobody waits for any more reaches no other caller."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.call import Era
from hub.core.errors import Late
from tests.downstream.heard import exchange
from tests.downstream.test_correlate import Wire


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_log_message_of_a_cancelled_request_is_kept_from_the_listener_that_is_left(era: Era) -> None:
    wire = Wire(era)
    cancelled, id = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    other, b = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    wire.tell("notifications/message", level="error", data="secret of the one that was cancelled")
    assert wire.heard.notices == []
    wire.answer(id)  # the server has ended it after all: nothing more is said about it
    wire.tell("notifications/message", level="error", data="x")
    assert [params["data"] for _, params in wire.heard.notices] == ["x"]
    wire.answer(b)
    await other


async def test_legacy_log_message_of_a_late_request_that_asked_for_none_reaches_no_listener() -> None:
    wire = Wire("legacy")
    late, _ = await wire.asked(exchange(0.01))
    with pytest.raises(Late):
        await late
    other, b = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    wire.tell("notifications/message", level="error", data="secret of the late one")
    assert wire.heard.notices == []
    wire.answer(b)
    await other


async def test_modern_request_that_asked_for_no_messages_silences_nobody_when_it_is_cancelled() -> None:
    wire = Wire("modern")
    cancelled, _ = await wire.asked(exchange(heard=wire.heard))
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    other, b = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    wire.tell("notifications/message", level="error", data="x")
    assert [params["data"] for _, params in wire.heard.notices] == ["x"]
    wire.answer(b)
    await other
