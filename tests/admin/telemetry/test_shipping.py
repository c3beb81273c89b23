"""The queue to a collector that is slow, away, broken or fine: what is sent, what is dropped, and that nobody waits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from time import monotonic

import anyio
import pytest

from hub.admin.telemetry.shipping import Shipper


class Sends:
    """A collector: takes all, nothing, or hangs until it is released."""

    def __init__(self, takes: bool | Exception = True, gate: Event | None = None) -> None:
        self.takes, self.gate = takes, gate
        self.got: list[int] = []
        self.asked, self.released = Event(), 0

    def send(self, batch: Sequence[int]) -> bool:
        self.asked.set()
        if self.gate is not None:
            assert self.gate.wait(10)
        if isinstance(self.takes, Exception):
            raise self.takes
        if self.takes:
            self.got += batch
        return self.takes

    def release(self) -> None:
        self.released += 1
        if self.gate is not None:
            self.gate.set()


def shipper(sends: Sends, limit: int = 10, batch: int = 3, every_s: float = 60.0) -> Shipper[int]:
    return Shipper("traces", sends.send, sends.release, limit=limit, batch=batch, every_s=every_s)


async def until_asked(sends: Sends) -> None:
    assert await anyio.to_thread.run_sync(sends.asked.wait, 5)


async def test_all_that_was_put_is_sent_in_order_before_it_closes() -> None:
    sends = Sends()
    one = shipper(sends)
    for number in range(8):
        one.put(number)
    await one.aclose()
    assert (sends.got, one.dropped, sends.released) == (list(range(8)), 0, 1)


async def test_a_full_batch_is_sent_at_once_and_a_lone_item_soon() -> None:
    full, lone = Sends(), Sends()
    one, other = shipper(full), shipper(lone, every_s=0.01)
    for number in range(3):
        one.put(number)
    other.put(7)
    await until_asked(full)
    await until_asked(lone)
    await one.aclose()
    await other.aclose()
    assert (full.got, lone.got) == ([0, 1, 2], [7])


async def test_what_finds_no_room_is_dropped_and_counted_and_putting_never_waits() -> None:
    sends = Sends(gate=Event())
    one = shipper(sends, limit=4, batch=1)
    one.put(0)
    await until_asked(sends)  # it hangs with the first
    began = monotonic()
    for number in range(1, 1001):
        one.put(number)
    assert monotonic() - began < 1.0
    assert one.dropped == 1000 - 4
    assert sends.gate is not None
    sends.gate.set()
    await one.aclose()
    assert sends.got == [0, 1, 2, 3, 4]


async def test_closing_waits_no_longer_than_it_may_and_says_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    sends = Sends(takes=False, gate=Event())
    one = shipper(sends, batch=1)
    for number in range(3):
        one.put(number)
    began = monotonic()
    await one.aclose(0.1)
    assert monotonic() - began < 2.0
    assert sends.released == 1  # which ended its wait
    assert "did not reach the collector" in caplog.text


async def test_a_collector_that_is_away_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sends = Sends(takes=False)
    one = shipper(sends, batch=1, every_s=0.001)
    one.put(1)
    one.put(2)
    with anyio.fail_after(5):
        while one.dropped < 2:
            await anyio.sleep(0.001)
    sends.takes = True
    one.put(3)
    await one.aclose()
    told = [record.message for record in caplog.records]
    assert told == [
        "the collector does not take traces; they are dropped and counted until it does",
        "the collector takes traces again; 2 did not reach it",
        "2 traces did not reach the collector",
    ]
    assert sends.got == [3]


async def test_a_fault_in_one_batch_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    sends = Sends(takes=ValueError("x"))
    one = shipper(sends, batch=1)
    one.put(1)
    with anyio.fail_after(5):
        while one.dropped < 1:
            await anyio.sleep(0.001)
    sends.takes = True
    one.put(2)
    await one.aclose()
    assert (sends.got, one.dropped) == ([2], 1)
    assert "could not be sent" in caplog.text


async def test_closing_twice_is_closing_once_and_nothing_is_taken_after_it() -> None:
    sends = Sends()
    one = shipper(sends)
    await one.aclose()
    await one.aclose()
    one.put(1)
    assert (sends.released, sends.got, one.dropped) == (1, [], 1)
