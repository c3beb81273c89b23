"""What becomes of a request while its transport has no room for it."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.errors import Late
from tests.downstream.heard import exchange, until
from tests.downstream.test_correlate import Wire


async def test_request_that_finds_no_room_in_time_is_given_up_and_never_sent() -> None:
    wire = Wire()
    wire.stuck.clear()
    with pytest.raises(Late):
        await wire.ask(exchange(0.05))
    wire.stuck.set()
    await until(lambda: wire.sent != [])
    assert [message["method"] for message in wire.sent] == ["notifications/cancelled"]


async def test_sign_of_life_keeps_a_request_waiting_for_its_transport() -> None:
    wire = Wire()
    wire.stuck.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = wire.ask(exchange(0.6, heard=wire.heard))
    while loop.time() < began + 0.9:
        await asyncio.sleep(0.02)
        wire.tell("notifications/progress", progressToken=1, progress=loop.time())
    wire.stuck.set()
    await until(lambda: wire.sent != [])
    wire.answer(1, {"in": "time"})
    assert await task == {"in": "time"}


async def test_answer_that_comes_before_the_transport_took_the_request_is_its_answer() -> None:
    wire = Wire()
    wire.stuck.clear()
    task = wire.ask(exchange(0.05))
    await until(lambda: wire.correlator.in_flight == (1,))
    wire.answer(1, {"before": "it was asked"})
    assert await task == {"before": "it was asked"}
