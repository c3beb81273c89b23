"""Modern servers behind a url: what is sent, what is read, and what each kind of misbehaviour becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from time import monotonic
from typing import Any

import pytest

from hub import VERSION
from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, Late, Lost, NeedsLogin, Oversize, Refused, Unreachable
from hub.downstream.http import open_http
from hub.downstream.link import Link
from hub.wire import jsonrpc
from tests.downstream.raw_http import (
    END,
    MODERN,
    STREAM,
    Got,
    Hangup,
    Heard,
    RawServer,
    Say,
    chunk,
    discovery,
    event,
    exchange,
    failure,
    raw_server,
    result,
    spec,
    status,
    until,
    whole,
)

CALL: Json = {"name": "echo", "arguments": {"n": 12345678901234567890123}}


@asynccontextmanager
async def modern(
    answer: Callable[[Got, Say], Awaitable[None]], capabilities: Json | None = None, **more: Any
) -> AsyncIterator[tuple[Link, RawServer, Heard]]:
    """A link to a modern server whose every call is answered by `answer`."""

    async def handle(got: Got, say: Say) -> None:
        if got.method == "server/discover":
            await say(discovery(got, capabilities or {"tools": {}}))
        else:
            await answer(got, say)

    heard = Heard()
    async with raw_server(handle) as server:
        link = await open_http(spec(server.url, **more), heard.events())
        try:
            yield link, server, heard
        finally:
            await link.aclose()


def says(data: bytes) -> Callable[[Got, Say], Awaitable[None]]:
    async def answer(got: Got, say: Say) -> None:
        await say(data)

    return answer


async def fine(got: Got, say: Say) -> None:
    await say(result(got, {"resultType": "complete", "ok": True}))


async def streamed(got: Got, say: Say, *frames: Any) -> None:
    await say(STREAM + b"".join(event(frame) for frame in frames) + END)


def answer_to(got: Got, value: Any = None) -> Json:
    return {"jsonrpc": "2.0", "id": got.message["id"], "result": value or {"resultType": "complete", "ok": True}}


def progress(got: Got, **more: Any) -> Json:
    token = got.message["params"]["_meta"].get("progressToken")
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, **more}}


# -- what is sent


async def test_request_carries_its_envelope_headers_and_only_the_configured_credential() -> None:
    async with modern(fine, headers={"Authorization": "Bearer ours"}) as (link, server, _):
        params = {**CALL, "_meta": {"com.example/x": 1}}
        ex = exchange(trace={"traceparent": "00-a-b-01"}, headers={"Mcp-Param-Region": "eu"}, notice=lambda m, p: None)
        ex.log_level = "info"
        await link.request("tools/call", params, ex)
        got = server.got[-1]
        meta = got.message["params"]["_meta"]
        assert meta == {
            "com.example/x": 1,
            "traceparent": "00-a-b-01",
            "progressToken": got.message["id"],
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "mcp-hub", "version": VERSION},
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/logLevel": "info",
        }
        assert got.headers["authorization"] == "Bearer ours"
        assert (got.headers["mcp-method"], got.headers["mcp-name"]) == ("tools/call", "echo")
        assert (got.headers["mcp-protocol-version"], got.headers["mcp-param-region"]) == (MODERN, "eu")
        assert set(got.headers["accept"].split(", ")) == {"application/json", "text/event-stream"}
        assert params == {**CALL, "_meta": {"com.example/x": 1}}  # inputs are left alone


async def test_without_notice_no_progress_is_asked_for() -> None:
    async with modern(fine) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        assert "progressToken" not in server.got[-1].message["params"]["_meta"]


async def test_header_that_could_split_the_request_is_never_sent() -> None:
    async with modern(fine) as (link, server, _):
        before = len(server.got)
        with pytest.raises(Unreachable, match="Mcp-Param-A"):
            await link.request("tools/call", CALL, exchange(headers={"Mcp-Param-A": "x\r\nAuthorization: y"}))
        with pytest.raises(Unreachable, match="no JSON"):
            await link.request("tools/call", {"name": "\ud800"}, exchange())
        assert (len(server.got), link.alive) == (before, True)


async def test_connection_is_reused_and_requests_run_side_by_side() -> None:
    async with modern(fine) as (link, server, _):
        for _ in range(5):
            await link.request("tools/call", CALL, exchange())
        assert server.connections == 1
        await asyncio.gather(*(link.request("tools/call", CALL, exchange()) for _ in range(20)))
        assert 1 < server.connections <= 21


# -- what is read


async def test_result_arrives_whole() -> None:
    value = {"resultType": "complete", "big": 2**80, "unknown": {"x": [None, 1.5]}, "structuredContent": None}

    async def answer(got: Got, say: Say) -> None:
        await say(result(got, value))

    async with modern(answer) as (link, _, _):
        ex = exchange()
        got = await link.request("tools/call", CALL, ex)
        assert got == value
        assert list(got) == list(value)
        assert ex.size_bytes > 80


async def test_streamed_answer_comes_with_its_progress_and_logs() -> None:
    told: list[tuple[str, Json]] = []

    async def answer(got: Got, say: Say) -> None:
        log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
        quiet = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "debug", "data": "y"}}
        await streamed(got, say, progress(got, progress=1, message="m"), log, quiet, answer_to(got))

    async with modern(answer) as (link, server, heard):
        for _ in range(2):
            ex = exchange(notice=lambda m, p: told.append((m, p)), log_level="info")
            assert (await link.request("tools/call", CALL, ex))["ok"] is True
        assert told[:2] == [
            ("notifications/progress", {"progress": 1, "message": "m"}),
            ("notifications/message", {"level": "info", "data": "x"}),
        ]
        assert len(told) == 4
        assert (server.connections, heard.noise) == (1, [])  # a stream that ended leaves its connection usable


async def test_progress_restarts_the_silence_but_never_passes_the_hard_deadline() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM)
        for step in range(1000):
            await say(event(progress(got, progress=step)))
            await asyncio.sleep(0.02)

    async with modern(answer) as (link, _, _):
        ex = exchange(0.1, notice=lambda m, p: None)
        ex.hard_deadline = monotonic() + 0.4
        began = monotonic()
        with pytest.raises(Late):
            await link.request("tools/call", CALL, ex)
        assert 0.35 < monotonic() - began < 2


async def test_foreign_and_doubled_messages_are_counted_and_ignored() -> None:
    async def answer(got: Got, say: Say) -> None:
        id = got.message["id"]
        await streamed(
            got,
            say,
            {"jsonrpc": "2.0", "id": id + 1000, "result": {"resultType": "complete", "evil": True}},
            {"jsonrpc": "2.0", "id": True, "result": {}},
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 999, "progress": 1}},
            {"jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage", "params": {}},
            {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
            b"not json",
            [1],
            {"id": id, "result": {"evil": True}},
            answer_to(got),
            answer_to(got, {"resultType": "complete", "evil": True}),
            {**progress(got), "params": {"progressToken": id, "progress": 9}},
        )

    async with modern(answer) as (link, _, heard):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        await until(lambda: len(heard.noise) == 9)
        assert sorted(heard.noise) == sorted(["foreign"] * 3 + ["garbage"] * 4 + ["duplicate", "late"])
        assert heard.notified == [("notifications/tools/list_changed", {})]


async def test_stream_that_goes_on_after_its_answer_is_cut_off() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + event(answer_to(got)))
        await asyncio.Event().wait()

    async with modern(answer) as (link, server, _):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        await until(lambda: server.open == 0)
        assert link.alive


# -- what goes wrong


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (status("302 Found", "location: http://evil/\r\n"), Garbled, "redirect"),
        (status("403 Forbidden"), NeedsLogin, "403"),
        (status("500 Oops"), Garbled, "500"),
        (status("429 Slow"), Garbled, "fewer"),
        (status("202 Accepted"), Garbled, "no answer"),
        (status("200 OK"), Garbled, "no answer"),
        (whole(b"<html>secret", "502 Bad Gateway", "text/html"), Garbled, "502"),
        (whole(b"<html>secret", kind="text/html"), Garbled, "text/html"),
        (whole(b"{secret"), Garbled, "broken"),
        (whole(b'{"jsonrpc":"2.0","id":"x","result":{}}'), Garbled, "no answer"),
        (whole(b"[]"), Garbled, "no answer"),
        (whole(b"x" * 200_000, "400 Bad Request"), Garbled, "400"),
        (STREAM + chunk(b": x\n\n") + END, Lost, "without the answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", Garbled, "broken HTTP"),
    ],
)
async def test_misbehaviour_is_told_without_its_payload(data: bytes, error: type[DownstreamError], words: str) -> None:
    async with modern(says(data)) as (link, _, heard):
        with pytest.raises(error, match=words) as caught:
            await link.request("tools/call", CALL, exchange())
        assert type(caught.value) is error
        assert "secret" not in str(caught.value)
        assert (link.alive, heard.closed) == (True, [])


@pytest.mark.parametrize("at", ["200 OK", "400 Bad Request", "404 Not Found"])
@pytest.mark.parametrize("code", [-32602, -32601, -32603, -32600, -32000, -32021, -1])
async def test_error_about_the_call_is_handed_over_whole(code: int, at: str) -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(failure(got, code, at, {"x": 2**70}))

    async with modern(answer) as (link, _, _):
        with pytest.raises(Refused) as caught:
            await link.request("tools/call", CALL, exchange())
        assert caught.value.error == {"code": code, "message": "no", "data": {"x": 2**70}}
        assert link.alive


async def test_error_without_an_id_is_the_answer_to_the_only_request_there_is() -> None:
    async with modern(says(whole(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}'))) as (
        link,
        _,
        _,
    ):
        with pytest.raises(Refused):
            await link.request("tools/call", CALL, exchange())


@pytest.mark.parametrize(
    ("id", "code", "at", "said", "words"),
    [
        (None, -32022, "400 Bad Request", "no", "version"),
        (None, -32022, "200 OK", "no", "version"),
        ("server-error", -32600, "400 Bad Request", "Bad Request", "session"),
        (None, -32000, "400 Bad Request", "Bad Request", "session"),
        (1, -32600, "400 Bad Request", "Missing session ID", "session"),
    ],
)
async def test_contradiction_ends_the_link_so_that_it_is_negotiated_anew(
    id: int | str | None, code: int, at: str, said: str, words: str
) -> None:
    async def answer(got: Got, say: Say) -> None:
        named = got.message["id"] if id == 1 else id
        await say(whole(jsonrpc.dumps({"jsonrpc": "2.0", "id": named, "error": {"code": code, "message": said}}), at))

    async with modern(answer) as (link, _, heard):
        with pytest.raises(Garbled, match=words):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, len(heard.closed)) == (False, 1)
        with pytest.raises(Unreachable, match=words):
            await link.request("tools/call", CALL, exchange())
        assert len(heard.closed) == 1


@pytest.mark.parametrize("line", ["404 Not Found", "405 Method Not Allowed", "410 Gone"])
async def test_vanished_endpoint_ends_the_link(line: str) -> None:
    async with modern(says(status(line))) as (link, _, heard):
        with pytest.raises(Garbled, match="no MCP"):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, len(heard.closed)) == (False, 1)


async def test_refused_credential_ends_the_link() -> None:
    async with modern(says(status("401 Unauthorized", 'www-authenticate: Bearer x="y"\r\n'))) as (link, _, heard):
        with pytest.raises(NeedsLogin, match="headers"):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, len(heard.closed)) == (False, 1)


async def test_refused_headers_make_the_lists_be_read_again() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(failure(got, -32020, "400 Bad Request"))

    async with modern(answer) as (link, _, heard):
        with pytest.raises(Garbled, match="definitions"):
            await link.request("tools/call", CALL, exchange())
        assert heard.notified == [("notifications/tools/list_changed", {})]
        assert link.alive


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"resultType": "task", "taskId": "1"}, "type"),
        ([1], "no object"),
    ],
)
async def test_result_the_hub_did_not_ask_for_is_garbled(value: Any, words: str) -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(result(got, value))

    async with modern(answer) as (link, _, _):
        with pytest.raises(Garbled, match=words):
            await link.request("tools/call", CALL, exchange())


async def test_a_list_answered_with_a_question_is_garbled_and_a_call_is_not() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(result(got, {"resultType": "input_required", "requestState": "s"}))

    async with modern(answer) as (link, _, _):
        with pytest.raises(Garbled, match="question"):
            await link.request("tools/list", {}, exchange())
        assert (await link.request("tools/call", CALL, exchange()))["requestState"] == "s"


async def test_silent_server_is_late_and_costs_only_its_own_connection() -> None:
    async def answer(got: Got, say: Say) -> None:
        if got.message["params"]["name"] == "hang":
            await asyncio.Event().wait()
        await fine(got, say)

    async with modern(answer) as (link, server, _):
        hanging = asyncio.create_task(link.request("tools/call", {"name": "hang"}, exchange(0.1)))
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        with pytest.raises(Late):
            await hanging
        assert link.alive
        await until(lambda: server.open == 1)


async def test_cancelling_closes_the_connection_at_once() -> None:
    async def answer(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with modern(answer) as (link, server, _):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open == 0)
        await link.notify("notifications/cancelled", {"requestId": 1})
        assert "notifications/cancelled" not in server.methods()  # this era has none over HTTP


@pytest.mark.parametrize("form", ["json", "chunked", "event", "events", "error"])
async def test_endless_answer_is_cut_off_at_the_cap(form: str) -> None:
    sent = 0

    async def answer(got: Got, say: Say) -> None:
        nonlocal sent
        heads = {
            "json": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n",
            "chunked": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            "error": b"HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n",
        }
        await say(heads.get(form, STREAM) + (chunk(b"data: ") if form == "event" else b""))
        block = b"x" * 65536 if form != "events" else b": x\n" * 16384
        for _ in range(1600):
            await say(block if form in ("json", "error") else chunk(block))
            sent += 65536

    async with modern(answer) as (link, _, _):
        with pytest.raises(Oversize, match="limit"):
            await link.request("tools/call", CALL, exchange(max_bytes=300_000))
        assert sent < 50_000_000
        assert link.alive


async def test_broken_off_answer_is_lost_and_never_sent_again() -> None:
    async def answer(got: Got, say: Say) -> None:
        if got.message["params"].get("name") == "die":
            raise Hangup
        await fine(got, say)

    async with modern(answer) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        with pytest.raises(Lost):
            await link.request("tools/call", {"name": "die"}, exchange())
        assert server.methods().count("tools/call") == 2


async def test_list_on_a_connection_that_had_died_is_sent_once_more() -> None:
    failures = 1

    async def answer(got: Got, say: Say) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise Hangup
        await fine(got, say)

    async with modern(answer) as (link, server, _):
        assert (await link.request("tools/list", {}, exchange()))["ok"] is True
        assert server.methods().count("tools/list") == 2
        failures = 2
        with pytest.raises(Lost):
            await link.request("tools/list", {}, exchange())
        assert server.methods().count("tools/list") == 4


async def test_list_on_a_fresh_connection_is_sent_once() -> None:
    async def answer(got: Got, say: Say) -> None:
        if got.message["params"].get("cursor") == "die":
            raise Hangup
        await asyncio.Event().wait()

    async with modern(answer) as (link, server, _):
        busy = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        with pytest.raises(Lost):
            await link.request("tools/list", {"cursor": "die"}, exchange())
        assert server.methods().count("tools/list") == 1
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_wait_without_an_end_is_possible() -> None:
    async with modern(fine) as (link, _, _):
        ex = exchange(inf)
        ex.hard_deadline = inf
        assert (await link.request("tools/call", CALL, ex))["ok"] is True


async def test_calls_that_fail_side_by_side_end_the_link_once() -> None:
    async def answer(got: Got, say: Say) -> None:
        await until(lambda: server.methods().count("tools/call") == 3)
        await say(status("404 Not Found"))

    async with modern(answer) as (link, server, heard):
        calls = [link.request("tools/call", CALL, exchange()) for _ in range(3)]
        assert all(isinstance(r, Garbled) for r in await asyncio.gather(*calls, return_exceptions=True))
        assert len(heard.closed) == 1


async def test_progress_and_logs_without_a_listener_are_dropped() -> None:
    async def answer(got: Got, say: Say) -> None:
        id = got.message["id"]
        step = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}}
        log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": 1}}
        await streamed(got, say, step, log, answer_to(got))

    async with modern(answer) as (link, _, heard):
        assert (await link.request("tools/call", CALL, exchange(log_level="info")))["ok"] is True
        assert (heard.noise, heard.notified) == ([], [])


async def test_events_under_other_names_are_no_messages() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + event(answer_to(got, {"evil": True}), name="other") + event(answer_to(got)) + END)

    async with modern(answer) as (link, _, _):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True


async def test_closing_tells_those_who_wait() -> None:
    async def answer(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with modern(answer) as (link, server, heard):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        await link.aclose()
        await link.aclose()
        with pytest.raises(Lost, match="closed this link"):
            await task
        assert (link.alive, heard.closed) == (False, [])


async def test_server_that_went_away_ends_the_link_with_nothing_sent() -> None:
    heard = Heard()

    async def handle(got: Got, say: Say) -> None:
        await say(discovery(got).replace(b"\r\n", b"\r\nconnection: close\r\n", 1))

    async with raw_server(handle) as server:
        link = await open_http(spec(server.url), heard.events())
    with pytest.raises(Unreachable, match="nothing listens"):
        await link.request("tools/call", CALL, exchange())
    assert (link.alive, len(heard.closed)) == (False, 1)
    await link.aclose()


async def test_flood_of_events_is_slowed_down_and_others_go_on() -> None:
    got_through = 0

    async def answer(got: Got, say: Say) -> None:
        nonlocal got_through
        if got.message["params"]["name"] != "flood":
            await fine(got, say)
            return
        await say(STREAM)
        while True:
            await say(event(progress(got, progress=1)) * 500)
            got_through += 500

    async with modern(answer) as (link, _, _):
        count = 0

        def note(method: str, params: Json) -> None:
            nonlocal count
            count += 1

        flood = asyncio.create_task(
            link.request("tools/call", {"name": "flood"}, exchange(0.5, notice=note, max_bytes=1 << 24))
        )
        await until(lambda: count >= 2000)
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert count < 10_000
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)
