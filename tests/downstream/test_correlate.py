"""Answers find their requests, and nothing else does, whatever the other side sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Era, Json
from hub.core.errors import DownstreamError, Garbled, Late, Lost, Oversize, Refused, Unreachable
from hub.downstream.correlate import MAX_IN_FLIGHT, MAX_SIDE_SENDS, REMEMBERED, Correlator
from hub.downstream.link import Exchange, Peer
from hub.wire import jsonrpc
from tests.downstream.heard import Heard, exchange, until


class Wire:
    """The bytes that were sent, decoded; `stuck` makes every send wait."""

    def __init__(self, era: Era = "legacy") -> None:
        self.sent: list[dict[str, Any]] = []
        self.heard = Heard()
        self.stuck = asyncio.Event()
        self.stuck.set()
        self.broken: DownstreamError | None = None
        self.correlator = Correlator("s", self.send, self.heard.events, era=era)

    def send(self, message: bytes) -> Awaitable[None] | None:
        if not self.stuck.is_set():
            return self._send_later(message)
        self._accept(message)
        return None

    async def _send_later(self, message: bytes) -> None:
        await self.stuck.wait()
        self._accept(message)

    def _accept(self, message: bytes) -> None:
        if self.broken is not None:
            raise self.broken
        self.sent.append(jsonrpc.loads(message))

    def ask(self, given: Exchange | None = None, method: str = "tools/call", params: Json = {}) -> asyncio.Task[Json]:
        return asyncio.create_task(self.correlator.request(method, params, given or exchange()))

    async def asked(self, given: Exchange | None = None, method: str = "tools/call") -> tuple[asyncio.Task[Json], int]:
        before = len(self.sent)
        task = self.ask(given, method)
        await until(lambda: any(m.get("method") == method for m in self.sent[before:]))
        return task, next(m["id"] for m in reversed(self.sent) if m["method"] == method)

    def answer(self, id: Any, result: Any = {}, size: int = 10) -> None:
        self.correlator.feed({"jsonrpc": "2.0", "id": id, "result": result}, size)

    def tell(self, method: str, **params: Any) -> None:
        self.correlator.feed({"jsonrpc": "2.0", "method": method, "params": params})


def peer(era: Era, **capabilities: Any) -> Peer:
    return Peer(era, "2026-07-28" if era == "modern" else "2025-06-18", capabilities, {}, None)


async def test_answers_in_any_order_reach_their_own_requests() -> None:
    wire = Wire()
    first, a = await wire.asked()
    second, b = await wire.asked()
    wire.answer(b, {"for": "second"})
    wire.answer(a, {"for": "first", "big": 2**80, "null": None})
    assert await first == {"for": "first", "big": 2**80, "null": None}
    assert await second == {"for": "second"}


async def test_size_of_the_answer_is_noted() -> None:
    wire, given = Wire(), exchange()
    task, id = await wire.asked(given)
    wire.answer(id, {}, size=321)
    await task
    assert given.size_bytes == 321


async def test_id_sent_back_as_text_is_recognised() -> None:
    wire = Wire()
    task, id = await wire.asked()
    wire.answer(str(id), {"ok": 1})
    assert await task == {"ok": 1}


async def test_modern_request_carries_envelope_and_own_token_and_keeps_other_meta() -> None:
    wire = Wire("modern")
    given = exchange(heard=wire.heard, log_level="info")
    given.trace = {"traceparent": "00-a"}
    params = {"name": "x", "_meta": {"acme/key": 1, "progressToken": "client's"}}
    task = wire.ask(given, params=params)
    await until(lambda: bool(wire.sent))
    message = wire.sent[0]
    assert message["params"]["_meta"] == {
        "acme/key": 1,
        "traceparent": "00-a",
        "progressToken": message["id"],
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "mcp-hub", "version": "0.1.0"},
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": "info",
    }
    assert params["_meta"] == {"acme/key": 1, "progressToken": "client's"}
    wire.answer(message["id"])
    await task


async def test_legacy_request_without_need_has_no_meta() -> None:
    wire = Wire()
    task, id = await wire.asked()
    assert wire.sent[0]["params"] == {}
    wire.answer(id)
    await task


async def test_silent_server_is_late_and_told_to_stop() -> None:
    wire = Wire()
    with pytest.raises(Late, match="tools/call"):
        await wire.correlator.request("tools/call", {}, exchange(0.01))
    await until(lambda: len(wire.sent) == 2)
    assert wire.sent[1]["method"] == "notifications/cancelled"
    assert wire.sent[1]["params"]["requestId"] == wire.sent[0]["id"]


async def test_handshake_is_never_cancelled() -> None:
    wire = Wire()
    with pytest.raises(Late):
        await wire.correlator.request("initialize", {}, exchange(0.01))
    task, id = await wire.asked()
    assert [m["method"] for m in wire.sent] == ["initialize", "tools/call"]
    wire.answer(id)
    await task


async def test_cancelled_caller_leaves_nothing_and_server_is_told() -> None:
    wire = Wire()
    task, id = await wire.asked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.correlator.in_flight == ()
    await until(lambda: len(wire.sent) == 2)
    assert wire.sent[1]["params"]["requestId"] == id


async def test_cancelling_does_not_wait_for_a_stuck_server() -> None:
    wire = Wire()
    wire.stuck.clear()
    task = wire.ask()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await task
    wire.correlator.fail(Lost("s", "over"))


async def test_stuck_send_ends_with_the_silence_deadline() -> None:
    wire = Wire()
    wire.stuck.clear()
    with pytest.raises(Late):
        await wire.correlator.request("tools/call", {}, exchange(0.01))
    wire.correlator.fail(Lost("s", "over"))


async def test_late_duplicate_and_foreign_answers_are_counted_and_reach_nobody() -> None:
    wire = Wire()
    with pytest.raises(Late):
        await wire.correlator.request("tools/call", {}, exchange(0.01))
    late_id = wire.sent[0]["id"]
    task, id = await wire.asked()
    wire.answer(late_id, {"secret": "of the first caller"})
    wire.answer(late_id, {"secret": "of the first caller"})
    for foreign in (10**9, "abc", -1, "١", 0):
        wire.answer(foreign, {"who": "knows"})
    wire.answer(id, {"mine": True})
    wire.answer(id, {"mine": False})
    assert await task == {"mine": True}
    assert wire.heard.noise == {"late": 1, "duplicate": 2, "foreign": 5}


async def test_error_without_id_ends_no_request() -> None:
    wire = Wire()
    task, id = await wire.asked()
    wire.correlator.feed({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}})
    assert wire.heard.noise["foreign"] == 1
    wire.answer(id)
    await task


async def test_abandoned_ids_are_remembered_within_a_bound() -> None:
    wire = Wire()
    tasks = [wire.ask() for _ in range(REMEMBERED // 2)] + [wire.ask() for _ in range(REMEMBERED // 2)]
    await until(lambda: len(wire.sent) == REMEMBERED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(Late):
        await wire.correlator.request("tools/call", {}, exchange(0.001))
    wire.answer(1)
    wire.answer(2)
    assert wire.heard.noise["duplicate"] == 1
    assert wire.heard.noise["late"] == 1
    wire.correlator.fail(Lost("s", "over"))


async def test_requests_in_flight_are_bounded() -> None:
    wire = Wire()
    tasks = [wire.ask() for _ in range(MAX_IN_FLIGHT)]
    await until(lambda: len(wire.sent) == MAX_IN_FLIGHT)
    with pytest.raises(Unreachable, match="in flight"):
        await wire.correlator.request("tools/call", {}, exchange())
    wire.correlator.fail(Lost("s", "over"))
    assert all(isinstance(e, Lost) for e in await asyncio.gather(*tasks, return_exceptions=True))


async def test_lost_connection_fails_all_and_refuses_new_ones() -> None:
    wire = Wire()
    first, _ = await wire.asked()
    second, _ = await wire.asked()
    wire.correlator.fail(Lost("s", "it exited"))
    wire.correlator.fail(Lost("s", "again"))
    errors = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(e, Lost) and e.text == "it exited" for e in errors)
    assert errors[0] is not errors[1]
    with pytest.raises(Unreachable, match="it exited"):
        await wire.correlator.request("tools/call", {}, exchange())


async def test_server_error_is_passed_whole() -> None:
    wire = Wire()
    task, id = await wire.asked()
    error = {"code": -32050, "message": "no", "data": {"x": [1]}, "more": True}
    wire.correlator.feed({"jsonrpc": "2.0", "id": id, "error": error})
    with pytest.raises(Refused) as caught:
        await task
    assert caught.value.error == error


@pytest.mark.parametrize(
    "answer",
    [
        {"result": []},
        {"result": None},
        {"error": "words"},
        {"error": {"code": "1", "message": "x"}},
        {"error": {"code": True, "message": "x"}},
        {"error": {"code": 1}},
        {"result": {"resultType": "task", "taskId": "1"}},
        {"result": {"resultType": 7}},
    ],
)
async def test_answer_that_is_no_answer_is_garbled(answer: dict[str, Any]) -> None:
    wire = Wire("modern")
    task, id = await wire.asked()
    wire.correlator.feed({"jsonrpc": "2.0", "id": id, **answer})
    with pytest.raises(Garbled):
        await task


@pytest.mark.parametrize(("method", "may"), [("tools/call", True), ("resources/read", True), ("tools/list", False)])
async def test_only_calls_prompts_and_reads_may_be_answered_with_a_question(method: str, may: bool) -> None:
    wire = Wire("modern")
    task, id = await wire.asked(method=method)
    question = {"resultType": "input_required", "requestState": "s", "odd": 1}
    wire.answer(id, question)
    if may:
        assert await task == question
    else:
        with pytest.raises(Garbled, match="question"):
            await task


async def test_a_request_declares_the_capabilities_of_its_own_client() -> None:
    wire, given = Wire("modern"), exchange()
    can: Json = {"sampling": {}}
    given.capabilities = can
    await wire.asked(given)
    await wire.asked()
    declared = [m["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] for m in wire.sent]
    assert declared == [can, {}]


async def test_legacy_result_may_have_a_field_named_result_type() -> None:
    wire = Wire()
    task, id = await wire.asked()
    wire.answer(id, {"resultType": "input_required"})
    assert await task == {"resultType": "input_required"}


async def test_answer_beyond_the_cap_is_oversize() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(max_bytes=100))
    wire.answer(id, {}, size=101)
    with pytest.raises(Oversize, match="101"):
        await task


async def test_one_request_can_be_failed_alone() -> None:
    wire = Wire()
    first, a = await wire.asked()
    second, b = await wire.asked()
    assert wire.correlator.fail_one(a, Oversize("s", "too large"))
    assert not wire.correlator.fail_one(a, Oversize("s", "too large"))
    with pytest.raises(Oversize):
        await first
    wire.answer(b)
    await second


async def test_progress_goes_to_its_request_without_a_token_and_only_when_it_grows() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(heard=wire.heard))
    for progress in (1, 2, 2, 1.5, 3):
        wire.tell("notifications/progress", progressToken=id, progress=progress, message="m")
    wire.answer(id)
    await task
    assert [params["progress"] for _, params in wire.heard.notices] == [1, 2, 3]
    assert all("progressToken" not in params for _, params in wire.heard.notices)
    wire.tell("notifications/progress", progressToken=id, progress=4)
    assert len(wire.heard.notices) == 3
    assert wire.heard.noise == {"late": 1}


@pytest.mark.parametrize("token", [True, "x", None, 10**9, -1, [1]])
async def test_progress_of_a_foreign_token_reaches_nobody(token: Any) -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(heard=wire.heard))
    wire.tell("notifications/progress", progressToken=token, progress=1)
    wire.tell("notifications/progress", progressToken=id, progress="1")
    wire.tell("notifications/progress", progressToken=id, progress=True)
    assert wire.heard.notices == []
    assert wire.heard.noise == {"foreign": 1, "garbage": 2}
    wire.answer(id)
    await task


async def test_progress_restarts_the_silence_deadline_but_not_the_hard_one() -> None:
    wire = Wire()
    given = exchange(0.15, heard=wire.heard, hard_s=0.4)
    task, id = await wire.asked(given)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not task.done():
        wire.tell("notifications/progress", progressToken=id, progress=loop.time())
        await asyncio.sleep(0.02)
    with pytest.raises(Late):
        await task
    assert 0.3 < loop.time() - began < 2


async def test_log_message_goes_to_the_only_request_that_asked_for_it_from_its_level_on() -> None:
    wire = Wire("modern")
    task, id = await wire.asked(exchange(heard=wire.heard, log_level="warning"))
    other, b = await wire.asked(exchange(heard=wire.heard))
    for level in ("debug", "error", 7):
        wire.tell("notifications/message", level=level, data="x")
    assert [params["level"] for _, params in wire.heard.notices] == ["error"]
    assert wire.heard.notified == []
    wire.answer(id)
    wire.answer(b)
    await task
    await other
    wire.tell("notifications/message", level="error", data="y")
    assert wire.heard.notified == [("notifications/message", {"level": "error", "data": "y"})]


async def test_legacy_log_message_goes_to_the_only_listener_and_to_the_owner() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(heard=wire.heard, log_level="info"))
    wire.tell("notifications/message", level="info", data="x")
    assert wire.heard.notices == wire.heard.notified == [("notifications/message", {"level": "info", "data": "x"})]
    wire.answer(id)
    await task


async def test_progress_that_comes_with_the_timeout_does_not_revive_the_request() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(0.05, heard=wire.heard))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.05

    def progress() -> None:
        wire.tell("notifications/progress", progressToken=id, progress=1)

    def after_the_timer() -> None:
        while loop.time() < deadline + 0.02:
            pass
        loop.call_soon(lambda: loop.call_soon(progress))  # the loop runs the due timer in between

    loop.call_later(0.03, after_the_timer)
    with pytest.raises(Late):
        await task
    wire.correlator.fail(Lost("s", "over"))


async def test_legacy_log_message_is_kept_from_the_listener_while_others_are_in_flight() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    other, b = await wire.asked()
    wire.tell("notifications/message", level="error", data="secret of the other caller")
    assert wire.heard.notices == []
    for pending, of in ((task, id), (other, b)):
        wire.answer(of)
        await pending


async def test_log_message_that_could_belong_to_two_requests_goes_to_neither() -> None:
    wire = Wire()
    tasks = [await wire.asked(exchange(heard=wire.heard, log_level="debug")) for _ in range(2)]
    wire.tell("notifications/message", level="error", data="secret of one of them")
    assert wire.heard.notices == []
    assert len(wire.heard.notified) == 1
    for task, id in tasks:
        wire.answer(id)
        await task


async def test_legacy_log_message_is_nobodys_while_a_request_that_asked_for_none_may_have_caused_it() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(heard=wire.heard, log_level="debug"))
    other, b = await wire.asked()
    wire.tell("notifications/message", level="error", data="secret of the other")
    assert wire.heard.notices == []
    wire.answer(b)
    await other
    wire.tell("notifications/message", level="error", data="x")
    assert wire.heard.notices == [("notifications/message", {"level": "error", "data": "x"})]
    wire.answer(id)
    await task


async def test_legacy_session_level_is_lowered_once_per_lower_level() -> None:
    wire = Wire()
    wire.correlator.adopt(peer("legacy", logging={}))
    for level in ("warning", "error", "debug", "info"):
        task, id = await wire.asked(exchange(heard=wire.heard, log_level=level))
        wire.answer(id)
        await task
    set_levels = [m["params"]["level"] for m in wire.sent if m["method"] == "logging/setLevel"]
    assert set_levels == ["warning", "debug"]
    assert [m["method"] for m in wire.sent[:2]] == ["logging/setLevel", "tools/call"]
    for message in wire.sent:
        if message["method"] == "logging/setLevel":
            wire.answer(message["id"])
    assert wire.heard.noise == {}


async def test_server_without_logging_is_asked_for_no_level() -> None:
    wire = Wire()
    wire.correlator.adopt(peer("legacy"))
    task, id = await wire.asked(exchange(log_level="debug"))
    wire.answer(id)
    await task
    assert [m["method"] for m in wire.sent] == ["tools/call"]


async def test_legacy_server_requests_are_answered_by_the_book() -> None:
    wire = Wire()
    wire.correlator.feed({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    wire.correlator.feed({"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}})
    await until(lambda: len(wire.sent) == 2)
    assert wire.sent[0] == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert wire.sent[1]["id"] == 7
    assert wire.sent[1]["error"]["code"] == -32601


async def test_modern_server_requests_are_not_answered() -> None:
    wire = Wire("modern")
    wire.correlator.feed({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    await asyncio.sleep(0)
    assert wire.sent == []
    assert wire.heard.noise == {"garbage": 1}


async def test_flood_of_server_requests_is_bounded_while_nothing_can_be_sent() -> None:
    wire = Wire()
    wire.stuck.clear()
    for n in range(MAX_SIDE_SENDS + 50):
        wire.correlator.feed({"jsonrpc": "2.0", "id": n, "method": "ping"})
    assert wire.heard.noise == {"garbage": 50}
    wire.correlator.fail(Lost("s", "over"))


async def test_other_notifications_are_told() -> None:
    wire = Wire()
    wire.tell("notifications/tools/list_changed")
    wire.correlator.feed({"jsonrpc": "2.0", "method": "notifications/resources/updated"})
    assert wire.heard.notified == [("notifications/tools/list_changed", {}), ("notifications/resources/updated", {})]


async def test_batch_is_taken_apart_in_the_legacy_era_alone() -> None:
    wire = Wire()
    task, id = await wire.asked()
    batch = [{"jsonrpc": "2.0", "id": id, "result": {"ok": 1}}, {"jsonrpc": "2.0", "method": "notifications/x"}, [[]]]
    assert wire.correlator.feed(batch)
    assert await task == {"ok": 1}
    assert wire.heard.notified == [("notifications/x", {})]
    wire.correlator.adopt(peer("modern"))
    assert not wire.correlator.feed(batch)
    assert not wire.correlator.feed([])


async def test_failed_send_is_the_requests_error_and_notify_swallows_it() -> None:
    wire = Wire()
    wire.broken = Unreachable("s", "no pipe")
    with pytest.raises(Unreachable, match="no pipe"):
        await wire.correlator.request("tools/call", {}, exchange())
    await wire.correlator.notify("notifications/initialized", {})
    assert wire.correlator.in_flight == ()


async def test_request_that_is_no_json_is_not_sent() -> None:
    wire = Wire()
    with pytest.raises(Unreachable, match="no JSON"):
        await wire.correlator.request("tools/call", {"x": object()}, exchange())
    assert wire.sent == []


async def test_answer_that_comes_with_the_timeout_is_not_thrown_away() -> None:
    wire = Wire()
    task, id = await wire.asked(exchange(0.05))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.05

    def both_at_once() -> None:
        while loop.time() < deadline + 0.02:
            pass
        loop.call_soon(wire.answer, id, {"in": "time"})  # the loop then runs this, and the due timer right after it

    loop.call_later(0.03, both_at_once)
    assert await task == {"in": "time"}


async def test_caller_cancelled_right_after_the_answer_does_not_have_the_server_told() -> None:
    wire = Wire()
    task, id = await wire.asked()
    wire.answer(id)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert [m["method"] for m in wire.sent] == ["tools/call"]


async def test_duplicate_after_a_cancelled_wait_is_swallowed() -> None:
    wire = Wire()
    task, id = await wire.asked()
    task.cancel()
    wire.answer(id)
    assert not wire.correlator.fail_one(id, Lost("s", "over"))
    other, b = await wire.asked()
    other.cancel()
    assert wire.correlator.fail_one(b, Lost("s", "over"))
    with pytest.raises(asyncio.CancelledError):
        await other
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_open_ended_request_has_no_timer_and_counts_as_nobodys() -> None:
    wire = Wire("modern")
    task, id = await wire.asked(Exchange(timeout_s=inf, hard_deadline=inf, max_bytes=100), "subscriptions/listen")
    assert wire.correlator.in_flight == ()
    wire.answer(id)
    assert await task == {}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"])
_near_miss = st.dictionaries(_keys, _json | st.sampled_from(["2.0", "ping", "notifications/progress", 2]), max_size=5)


@given(st.lists(_json | _near_miss, max_size=12))
def test_nothing_that_is_fed_raises_or_answers_a_request_it_does_not_name(messages: list[Any]) -> None:
    async def run() -> None:
        wire = Wire()
        task, id = await wire.asked()
        for message in messages:
            if not (isinstance(message, dict) and message.get("id") in (id, str(id))) and not isinstance(message, list):
                wire.correlator.feed(message)
        assert not task.done()
        wire.answer(id, {"mine": True})
        assert await task == {"mine": True}
        wire.correlator.fail(Lost("s", "over"))

    asyncio.run(run())
