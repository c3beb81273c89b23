from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.edge.back import PassBack, QueueBack, pass_back, queue_back

PROGRESS = "notifications/progress"
LOG = "notifications/message"


async def drained(back: QueueBack) -> list[tuple[str, Any]]:
    back.close()
    found = []
    while (told := await back.next()) is not None:
        found.append(told)
    return found


async def test_progress_carries_the_clients_own_token() -> None:
    back = QueueBack(8, token=7)
    back.notify(PROGRESS, {"progress": 1, "total": 2, "message": "half"})
    assert await drained(back) == [(PROGRESS, {"progress": 1, "total": 2, "message": "half", "progressToken": 7})]


async def test_progress_that_does_not_increase_is_dropped() -> None:
    back = QueueBack(8, token="t")
    for value in (1, 1, 0.5, 2, 2.0, 3):
        back.notify(PROGRESS, {"progress": value})
    assert [params["progress"] for _, params in await drained(back)] == [1, 2, 3]


@pytest.mark.parametrize("value", [None, "1", True, [1]])
async def test_progress_that_is_no_number_is_dropped(value: Any) -> None:
    back = QueueBack(8, token="t")
    back.notify(PROGRESS, {"progress": value})
    assert await drained(back) == []


async def test_progress_nobody_asked_for_is_dropped() -> None:
    back = QueueBack(8, level="debug")
    back.notify(PROGRESS, {"progress": 1})
    assert await drained(back) == []


async def test_nothing_is_taken_after_close() -> None:
    back = QueueBack(8, token="t", level="debug")
    back.close()
    back.notify(PROGRESS, {"progress": 1})
    back.notify(LOG, {"level": "error", "data": "late"})
    assert await back.next() is None


async def test_log_messages_below_the_clients_level_are_dropped() -> None:
    back = QueueBack(8, level="warning")
    for level in ("debug", "info", "notice", "warning", "error", "emergency", "loud", None):
        back.notify(LOG, {"level": level, "data": 1})
    assert [params["level"] for _, params in await drained(back)] == ["warning", "error", "emergency"]


async def test_without_a_level_no_log_message_is_taken() -> None:
    back = QueueBack(8, token="t")
    back.notify(LOG, {"level": "emergency", "data": 1})
    assert await drained(back) == []


async def test_other_notifications_are_not_passed_on() -> None:
    back = QueueBack(8, token="t", level="debug")
    back.notify("notifications/tools/list_changed", {})
    assert await drained(back) == []
    assert back.dropped == 0


async def test_a_slow_client_loses_what_does_not_fit_and_it_is_counted() -> None:
    back = QueueBack(2, token="t")
    for value in range(5):
        back.notify(PROGRESS, {"progress": value})
    assert back.dropped == 3
    assert len(await drained(back)) == 2


async def test_the_reader_wakes_for_what_comes_later_and_for_the_end() -> None:
    back = QueueBack(2, token="t")
    waiting = asyncio.create_task(back.next())
    await asyncio.sleep(0)
    back.notify(PROGRESS, {"progress": 1})
    assert (await asyncio.wait_for(waiting, 5)) is not None
    waiting = asyncio.create_task(back.next())
    await asyncio.sleep(0)
    back.close()
    assert await asyncio.wait_for(waiting, 5) is None


async def test_a_cancelled_reader_loses_nothing() -> None:
    back = QueueBack(2, token="t")
    waiting = asyncio.create_task(back.next())
    await asyncio.sleep(0)
    waiting.cancel()
    back.notify(PROGRESS, {"progress": 1})
    await asyncio.wait([waiting])
    assert len(await drained(back)) == 1


def test_what_is_passed_on_at_once_is_a_whole_message() -> None:
    sent: list[Any] = []

    def take(message: Any) -> bool:
        sent.append(message)
        return True

    back = PassBack(take, token="t")
    back.notify(PROGRESS, {"progress": 1})
    back.close()
    back.notify(PROGRESS, {"progress": 2})
    assert sent == [{"jsonrpc": "2.0", "method": PROGRESS, "params": {"progress": 1, "progressToken": "t"}}]


def test_what_the_channel_does_not_take_is_counted() -> None:
    back = PassBack(lambda message: False, token="t")
    back.notify(PROGRESS, {"progress": 1})
    back.notify(LOG, {"level": "error"})
    assert back.dropped == 1


@pytest.mark.parametrize(
    ("params", "level", "wanted"),
    [
        ({}, None, False),
        ({"_meta": {}}, None, False),
        ({"_meta": "no object"}, None, False),
        ({"_meta": {"progressToken": "t"}}, None, True),
        ({"_meta": {"progressToken": 0}}, None, True),
        ({"_meta": {"progressToken": True}}, None, False),
        ({"_meta": {"io.modelcontextprotocol/logLevel": "info"}}, None, True),
        ({"_meta": {"io.modelcontextprotocol/logLevel": ["info"]}}, None, False),
        ({}, "info", True),
    ],
)
async def test_a_way_back_exists_only_for_clients_that_want_one(params: Any, level: str | None, wanted: bool) -> None:
    assert (queue_back(params, 4, level) is not None) is wanted
    assert (pass_back(params, lambda message: True, level) is not None) is wanted
