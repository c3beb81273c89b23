"""Legacy servers behind a url: sessions, what they ask of the hub, cancellation, and streams taken up again."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, Late, Lost, NeedsLogin, Refused, Unreachable
from hub.downstream.http import open_http
from hub.downstream.link import Exchange, Link
from tests.downstream.raw_http import (
    END,
    STREAM,
    Got,
    Hangup,
    Heard,
    RawServer,
    Say,
    chunk,
    event,
    exchange,
    failure,
    initialized,
    raw_server,
    result,
    spec,
    status,
    until,
    whole,
)

CALL: Json = {"name": "echo", "arguments": {}}
Handler = Callable[[Got, Say], Awaitable[None]]


async def fine(got: Got, say: Say) -> None:
    await say(result(got, {"ok": True}))


async def no_stream(got: Got, say: Say) -> None:
    await say(status("405 Method Not Allowed"))


@asynccontextmanager
async def legacy(
    answer: Handler = fine,
    stream: Handler = no_stream,
    capabilities: Json | None = None,
    session: str | None = "s-1",
    goodbye: Handler | None = None,
) -> AsyncIterator[tuple[Link, RawServer, Heard]]:
    async def handle(got: Got, say: Say) -> None:
        if got.verb == "GET":
            await stream(got, say)
        elif got.verb == "DELETE":
            await (goodbye(got, say) if goodbye else say(status("200 OK")))
        elif got.method == "initialize":
            await say(initialized(got, capabilities or {"tools": {}}, session))
        elif "method" not in got.message or got.method.startswith("notifications/"):
            await say(status("202 Accepted"))
        else:
            await answer(got, say)

    heard = Heard()
    async with raw_server(handle) as server:
        link = await open_http(spec(server.url, era="legacy", headers={"X-Key": "k"}), heard.events())
        try:
            yield link, server, heard
        finally:
            await link.aclose()


def notice_of(got: Got, **more: Any) -> Json:
    token = got.message["params"]["_meta"]["progressToken"]
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, **more}}


def done(got: Got) -> Json:
    return {"jsonrpc": "2.0", "id": got.message["id"], "result": {"ok": True}}


async def test_handshake_and_session_go_along_on_everything() -> None:
    async with legacy() as (link, server, _):
        assert (link.peer.era, link.peer.revision) == ("legacy", "2025-11-25")
        assert await link.request("tools/call", CALL, exchange(trace={"traceparent": "t"})) == {"ok": True}
        await link.notify("notifications/roots/list_changed", {})
        await link.aclose()
        first, *rest = server.got
        assert first.message["params"]["capabilities"] == {}
        assert "mcp-session-id" not in first.headers
        assert [got.method for got in rest] == [
            "notifications/initialized",
            "GET",
            "tools/call",
            "notifications/roots/list_changed",
            "DELETE",
        ]
        for got in rest:
            assert (got.headers["mcp-session-id"], got.headers["mcp-protocol-version"]) == ("s-1", "2025-11-25")
            assert got.headers["x-key"] == "k"
        assert rest[2].message["params"]["_meta"] == {"traceparent": "t"}


async def test_server_without_sessions_is_left_without_goodbye() -> None:
    async with legacy(session=None) as (link, server, _):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        await link.aclose()
        assert "mcp-session-id" not in server.got[-1].headers
        assert "DELETE" not in server.methods()


async def test_goodbye_is_said_once_and_waits_for_nobody() -> None:
    async def hang(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with legacy(goodbye=hang) as (link, server, heard):
        began = monotonic()
        await asyncio.gather(link.aclose(), link.aclose())
        assert monotonic() - began < 3
        assert server.methods().count("DELETE") == 1
        with pytest.raises(Unreachable):
            await link.request("tools/call", CALL, exchange())
        await link.notify("notifications/x", {})
        assert heard.closed == []


@pytest.mark.parametrize(
    ("method", "code"), [("ping", None), ("sampling/createMessage", -32601), ("roots/list", -32601)]
)
@pytest.mark.parametrize("where", ["post", "get"])
async def test_what_the_server_asks_is_answered(method: str, code: int | None, where: str) -> None:
    question = {"jsonrpc": "2.0", "id": "q-1", "method": method, "params": {}}

    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + (event(question) if where == "post" else b""))
        await until(lambda: any("method" not in g.message and g.body for g in server.got))
        await say(event(done(got)) + END)

    async def stream(got: Got, say: Say) -> None:
        await say(STREAM + (event(question) if where == "get" else b""))
        await asyncio.Event().wait()

    async with legacy(answer, stream) as (link, server, _):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        reply = next(got for got in server.got if got.body and "method" not in got.message)
        assert (reply.message["id"], reply.headers["mcp-session-id"]) == ("q-1", "s-1")
        if code is None:
            assert reply.message["result"] == {}
        else:
            assert reply.message["error"]["code"] == code
            assert "capability" in reply.message["error"]["message"]


async def test_progress_counts_from_either_stream() -> None:
    told: list[Json] = []
    posted: list[Got] = []
    asked = asyncio.Event()

    async def answer(got: Got, say: Say) -> None:
        posted.append(got)
        asked.set()
        await say(STREAM + event(notice_of(got, progress=1)))
        await until(lambda: len(told) == 2)
        await say(event(done(got)) + END)

    async def stream(got: Got, say: Say) -> None:
        foreign = {
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {"progressToken": "x", "progress": 1},
        }
        log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}
        await say(STREAM + event(foreign) + event(log))
        await asked.wait()
        await until(lambda: told)
        await say(event(notice_of(posted[0], progress=2)))
        await asyncio.Event().wait()

    async with legacy(answer, stream) as (link, _, heard):
        ex = exchange(notice=lambda method, params: told.append(params))
        assert await link.request("tools/call", CALL, ex) == {"ok": True}
        assert told == [{"progress": 1}, {"progress": 2}]
        assert heard.noise == ["foreign"]
        assert heard.notified == [("notifications/message", {"level": "info", "data": 1})]


async def test_log_messages_of_the_standing_stream_reach_a_request_that_is_alone() -> None:
    told: list[Json] = []
    posted: list[Got] = []

    async def answer(got: Got, say: Say) -> None:
        posted.append(got)
        await until(lambda: len(heard_by_link) == 3 if len(posted) == 1 else len(heard_by_link) == 4)
        await say(result(got, {"ok": True}))

    def after(calls: int) -> bool:
        return len(posted) == calls

    async def stream(got: Got, say: Say) -> None:
        await say(STREAM)
        for calls, level in ((1, "info"), (1, "debug"), (1, "error"), (3, "error")):
            await until(partial(after, calls))
            params = {"level": level, "data": calls}
            await say(event({"jsonrpc": "2.0", "method": "notifications/message", "params": params}))
        await asyncio.Event().wait()

    async with legacy(answer, stream) as (link, _, heard):
        heard_by_link = heard.notified

        def asking() -> Exchange:
            return exchange(notice=lambda method, params: told.append(params), log_level="info")

        await link.request("tools/call", CALL, asking())
        assert told == [{"level": "info", "data": 1}, {"level": "error", "data": 1}]
        await asyncio.gather(*(link.request("tools/call", CALL, ex) for ex in (asking(), exchange())))
        assert len(told) == 2, "what another caller's request may have caused is not for this one"


async def test_cancelling_tells_the_server() -> None:
    async def answer(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with legacy(answer) as (link, server, _):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: "notifications/cancelled" in server.methods())
        sent, told = (next(g for g in server.got if g.method == m) for m in ("tools/call", "notifications/cancelled"))
        assert told.message["params"]["requestId"] == sent.message["id"]


async def test_late_answer_is_given_up_and_the_server_told() -> None:
    async def answer(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with legacy(answer) as (link, server, _):
        with pytest.raises(Late):
            await link.request("tools/call", CALL, exchange(0.05))
        await until(lambda: "notifications/cancelled" in server.methods())
        assert link.alive


async def test_cancellations_that_wait_are_bounded() -> None:
    async def handle(got: Got, say: Say) -> None:
        if got.verb == "GET":
            await say(status("405 No"))
        elif got.method == "initialize":
            await say(initialized(got))
        elif got.method == "notifications/initialized":
            await say(status("202 Accepted"))
        else:
            await asyncio.Event().wait()

    async with raw_server(handle) as server:
        link = await open_http(spec(server.url, era="legacy"), Heard().events())
        tasks = [asyncio.create_task(link.request("tools/call", CALL, exchange())) for _ in range(90)]
        await until(lambda: server.methods().count("tools/call") == 90)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: server.methods().count("notifications/cancelled") == 64)
        await link.aclose()


@pytest.mark.parametrize(
    ("data", "error", "ends"),
    [
        (status("404 Not Found"), Lost, True),
        (
            whole(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Session not found"}}', "404 No"),
            Lost,
            True,
        ),
        (whole(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No session"}}', "400 Bad"), Lost, True),
        (whole(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"Version"}}', "400 Bad"), Garbled, True),
        (whole(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"Header"}}', "400 Bad"), Garbled, True),
        (whole(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"Params"}}', "400 Bad"), Refused, False),
        (status("401 Unauthorized"), NeedsLogin, True),
        (status("403 Forbidden"), NeedsLogin, False),
        (status("503 Busy"), Garbled, False),
    ],
)
async def test_trouble_ends_the_session_only_when_it_is_the_sessions(
    data: bytes, error: type[DownstreamError], ends: bool
) -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(data)

    async with legacy(answer) as (link, server, heard):
        with pytest.raises(error):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, len(heard.closed)) == (not ends, int(ends))
        assert server.methods().count("tools/call") == 1
        await link.aclose()
        assert ("DELETE" in server.methods()) is not ends


async def test_answers_that_came_in_one_batch_are_told_apart() -> None:
    async def answer(got: Got, say: Say) -> None:
        note = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
        await say(whole(b'[%b,{"jsonrpc":"2.0","id":"%d","result":{"ok":true}}]' % (note, got.message["id"])))

    async with legacy(answer) as (link, _, heard):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        assert heard.notified == [("notifications/tools/list_changed", {})]


# -- logging


async def test_level_of_the_session_only_ever_falls_and_each_call_hears_its_own() -> None:
    async def answer(got: Got, say: Say) -> None:
        if got.method == "logging/setLevel":
            await say(result(got, {}))
            return
        logs = [
            {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": 1}}
            for level in ("debug", "warning")
        ]
        await say(STREAM + b"".join(map(event, logs)) + event(done(got)) + END)

    async with legacy(answer, capabilities={"tools": {}, "logging": {}}) as (link, server, _):
        seen: list[str] = []
        for level in ("warning", "error", "debug", "warning"):
            ex = exchange(notice=lambda m, p, level=level: seen.append(f"{level}<{p['level']}"), log_level=level)
            assert await link.request("tools/call", CALL, ex) == {"ok": True}
        levels = [got.message["params"]["level"] for got in server.got if got.method == "logging/setLevel"]
        assert levels == ["warning", "debug"]
        assert seen == ["warning<warning", "debug<debug", "debug<warning", "warning<warning"]


async def test_server_that_refuses_the_level_still_serves_the_call() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(failure(got, -32601) if got.method == "logging/setLevel" else result(got, {"ok": True}))

    async with legacy(answer, capabilities={"logging": {}}) as (link, _, _):
        assert await link.request("tools/call", CALL, exchange(log_level="info")) == {"ok": True}


async def test_server_without_logging_is_never_asked_for_a_level() -> None:
    async with legacy() as (link, server, _):
        await link.request("tools/call", CALL, exchange(log_level="info"))
        assert "logging/setLevel" not in server.methods()


# -- streams taken up again


async def test_answer_on_a_stream_that_ended_early_is_fetched() -> None:
    posted: list[Got] = []

    async def answer(got: Got, say: Say) -> None:
        posted.append(got)
        await say(STREAM + chunk(b"id: p-1\nretry: 10\ndata:\n\n"))
        if len(posted) == 1:
            await say(END)
        else:
            raise Hangup  # a cut connection is no other than an ended stream

    async def stream(got: Got, say: Say) -> None:
        if "last-event-id" not in got.headers:
            await say(status("405 No"))
        else:
            await say(STREAM + event(done(posted[-1]), "p-2") + END)

    async with legacy(answer, stream) as (link, server, _):
        for _ in range(2):
            assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        assert server.got[-1].headers["last-event-id"] == "p-1"
        assert server.methods().count("tools/call") == 2


async def test_stream_that_cannot_be_taken_up_is_lost() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + chunk(b"id: p-1\nretry: 1\ndata:\n\n") + END)

    async with legacy(answer) as (link, _, _):
        with pytest.raises(Lost, match="resume"):
            await link.request("tools/call", CALL, exchange())


async def test_stream_is_taken_up_only_so_often() -> None:
    async def again(got: Got, say: Say) -> None:
        if got.verb == "GET" and "last-event-id" not in got.headers:
            await say(status("405 No"))
        else:
            await say(STREAM + chunk(b"id: p-1\nretry: 0\ndata:\n\n") + END)

    async with legacy(again, again) as (link, server, _):
        with pytest.raises(Lost, match="without the answer"):
            await link.request("tools/call", CALL, exchange())
        assert 50 < server.methods().count("GET") < 110


async def test_call_that_nobody_waits_for_is_not_taken_up() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + chunk(b"id: p-1\nretry: 50\ndata:\n\n") + END)

    async with legacy(answer) as (link, server, _):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: "notifications/cancelled" in server.methods())
        await asyncio.sleep(0.06)
        assert server.methods().count("GET") == 1


async def test_stream_without_a_mark_is_lost_at_once() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + END)

    async with legacy(answer) as (link, server, _):
        with pytest.raises(Lost):
            await link.request("tools/call", CALL, exchange())
        assert server.methods().count("GET") == 1


async def test_request_that_is_no_json_is_never_sent() -> None:
    async with legacy() as (link, server, _):
        with pytest.raises(Unreachable, match="no JSON"):
            await link.request("tools/call", {"name": "\ud800"}, exchange())
        assert "tools/call" not in server.methods()


async def test_closing_ends_an_answer_that_waits_to_be_taken_up() -> None:
    async def answer(got: Got, say: Say) -> None:
        await say(STREAM + chunk(b"id: p-1\nretry: 60000\ndata:\n\n") + END)

    async with legacy(answer) as (link, server, _):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        await asyncio.sleep(0.02)
        began = monotonic()
        await link.aclose()
        with pytest.raises(Lost, match="closed this link"):
            await task
        assert monotonic() - began < 1


async def test_server_that_vanished_is_told_apart_from_one_that_broke_off() -> None:
    heard = Heard()

    async def handle(got: Got, say: Say) -> None:
        if got.method == "initialize":
            await say(initialized(got))
        elif got.verb == "GET":
            await say(status("405 No"))
        elif got.method == "tools/call":
            await say(STREAM + chunk(b"id: p-1\nretry: 100\ndata:\n\n") + END)
        else:
            await say(status("202 Accepted", "connection: close\r\n"))

    async with raw_server(handle) as server:
        link = await open_http(spec(server.url, era="legacy"), heard.events())
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in server.methods())
        await link.notify("notifications/x", {})
    with pytest.raises(Lost, match="taken up"):
        await task
    for _ in range(3):  # what is still warm is found dead first
        with pytest.raises(DownstreamError):
            await link.request("tools/call", CALL, exchange())
    assert (link.alive, len(heard.closed)) == (False, 1)
    await link.aclose()


async def test_calls_that_fail_side_by_side_end_the_link_once() -> None:
    async def answer(got: Got, say: Say) -> None:
        await until(lambda: server.methods().count("tools/call") == 3)
        await say(status("404 Not Found"))

    async with legacy(answer) as (link, server, heard):
        calls = [link.request("tools/call", CALL, exchange()) for _ in range(3)]
        assert all(isinstance(r, Lost) for r in await asyncio.gather(*calls, return_exceptions=True))
        assert len(heard.closed) == 1


async def test_what_cannot_be_delivered_is_swallowed() -> None:
    async with legacy() as (link, server, _):
        await link.notify("notifications/x", {"bad": "\ud800"})
        assert "notifications/x" not in server.methods()


async def test_nothing_of_an_exchange_is_left_for_the_collector_of_cycles() -> None:
    async with legacy() as (link, _, _):
        gc.collect()
        gc.disable()
        try:
            given = exchange()
            kept = Witness()
            given.notice = kept.notice
            assert await link.request("tools/call", CALL, given) == {"ok": True}
            seen = weakref.ref(kept)
            del given, kept
            await asyncio.sleep(0)
            assert seen() is None
        finally:
            gc.enable()


class Witness:
    """Lives as long as the exchange that knows it."""

    def notice(self, method: str, params: Json) -> None:
        raise AssertionError("nothing was to be told")
