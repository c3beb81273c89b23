"""Servers of HTTP+SSE: one stream for everything, one origin for the credential."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, Late, Lost, NeedsLogin, Oversize, Refused, Unreachable
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link, Timeouts
from hub.downstream.sse import open_sse
from hub.wire import jsonrpc
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
    raw_server,
    spec,
    status,
    until,
    whole,
)

CALL: Json = {"name": "echo", "arguments": {}}
Answering = Callable[[Got, Say], Awaitable[bytes | None]]


class SseServer:
    """Speaks 2024-11-05: what `answer` says to the stream when something is posted is up to the test."""

    def __init__(self, answer: Answering | None = None, endpoint: bytes = b"/messages?id=1", **more: Any) -> None:
        self.answer, self.endpoint, self.more = answer, endpoint, more
        self.stream: Say | None = None
        self.ended = asyncio.Event()

    async def __call__(self, got: Got, say: Say) -> None:
        if got.verb == "GET":
            self.stream = say
            await say(self.more.get("opening", STREAM + event(self.endpoint, name="endpoint")))
            await self.ended.wait()
            await say(END)
            return
        if got.path == "/mcp":
            await say(self.more.get("posted", status("405 Method Not Allowed")))
            return
        assert self.stream is not None
        reply = await self._handshake(got) or (
            self.answer and got.method == "tools/call" and await self.answer(got, self.stream)
        )
        await say(reply or status("202 Accepted"))

    async def _handshake(self, got: Got) -> bytes | None:
        assert self.stream is not None
        if got.method == "initialize":
            revision = self.more.get("revision", "2024-11-05")
            await self.stream(event(answer_to(got, {"protocolVersion": revision, "capabilities": {"tools": {}}})))
        return None


def answer_to(got: Got, value: Json) -> Json:
    return jsonrpc.result(got.message["id"], value)


async def fine(got: Got, stream: Say) -> None:
    await stream(event(answer_to(got, {"ok": True})))


@asynccontextmanager
async def linked(server: SseServer, **more: Any) -> AsyncIterator[tuple[Link, RawServer, Heard]]:
    heard = Heard()
    async with raw_server(server) as raw:
        link = await open_sse(spec(raw.url, **more), heard.events())
        try:
            yield link, raw, heard
        finally:
            await link.aclose()


async def test_handshake_and_calls_go_to_the_endpoint_and_come_on_the_stream() -> None:
    async with linked(SseServer(fine), headers={"Authorization": "Bearer ours"}) as (link, raw, _):
        assert (link.peer.era, link.peer.revision, link.alive) == ("legacy", "2024-11-05", True)
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        await link.notify("notifications/roots/list_changed", {})
        assert raw.methods() == [
            "GET",
            "initialize",
            "notifications/initialized",
            "tools/call",
            "notifications/roots/list_changed",
        ]
        assert {got.path for got in raw.got[1:]} == {"/messages?id=1"}
        assert {got.headers["authorization"] for got in raw.got} == {"Bearer ours"}
        assert "mcp-protocol-version" not in raw.got[-1].headers


async def test_newer_revision_over_the_old_transport_names_itself() -> None:
    async with linked(SseServer(fine, revision="2025-06-18")) as (link, raw, _):
        await link.request("tools/call", CALL, exchange())
        assert raw.got[-1].headers["mcp-protocol-version"] == "2025-06-18"


@pytest.mark.parametrize("endpoint", [b"/messages", b"messages", b"http://127.0.0.1:{port}/messages"])
async def test_endpoint_of_the_same_origin_is_taken(endpoint: bytes) -> None:
    server = SseServer(fine)
    async with raw_server(server) as raw:
        server.endpoint = endpoint.replace(b"{port}", str(raw.port).encode())
        link = await open_sse(spec(raw.url), Heard().events())
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        await link.aclose()


@pytest.mark.parametrize(
    "endpoint",
    [
        b"http://evil.example/m",
        b"//evil.example/m",
        b"https://127.0.0.1/m",
        b"http://127.0.0.1:1/m",
        b"http://localhost/m",
    ],
)
async def test_endpoint_elsewhere_never_gets_the_credential(endpoint: bytes) -> None:
    async with raw_server(SseServer(fine, endpoint)) as raw:
        with pytest.raises(Garbled, match="origin"):
            await open_sse(spec(raw.url, headers={"Authorization": "Bearer ours"}), Heard().events())
        assert raw.methods() == ["GET"]
        await until(lambda: raw.open == 0)


@pytest.mark.parametrize("endpoint", [b"ftp://127.0.0.1/m", b"http://u:p@127.0.0.1/m", b"http://[/"])
async def test_endpoint_that_is_no_url_is_garbled(endpoint: bytes) -> None:
    async with raw_server(SseServer(fine, endpoint)) as raw:
        with pytest.raises(Garbled, match="no url"):
            await open_sse(spec(raw.url), Heard().events())


async def test_only_the_first_endpoint_counts() -> None:
    server = SseServer(fine)
    server.more["opening"] = STREAM + event(b"/messages", name="endpoint") + event(b"http://evil/", name="endpoint")
    async with linked(server) as (link, _, _):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}


@pytest.mark.parametrize(
    ("opening", "error", "words"),
    [
        (status("401 No"), NeedsLogin, "401"),
        (status("404 No"), Unreachable, "no MCP"),
        (status("503 No"), Unreachable, "503"),
        (whole(b"{}"), Unreachable, "something else"),
        (STREAM + END, Lost, "ended"),
        (STREAM + chunk(b"\xff"), Unreachable, "never named"),
        (b"garbage\r\n", Garbled, "broken"),
    ],
)
async def test_opening_that_fails_is_told_in_words(opening: bytes, error: type[DownstreamError], words: str) -> None:
    async with raw_server(SseServer(opening=opening)) as raw:
        with pytest.raises(error, match=words):
            await open_sse(spec(raw.url, timeouts=Timeouts(1.0, 0.1)), Heard().events())
        await until(lambda: raw.open == 0)


async def test_revision_nobody_knows_is_refused() -> None:
    async with raw_server(SseServer(revision="1999-01-01")) as raw:
        with pytest.raises(Garbled, match="1999"):
            await open_sse(spec(raw.url), Heard().events())


async def test_silent_handshake_is_late() -> None:
    async def mute(got: Got, say: Say) -> None:
        if got.verb == "GET":
            await say(STREAM + event(b"/messages", name="endpoint"))
            await asyncio.Event().wait()
        await say(status("202 Accepted"))

    async with raw_server(mute) as raw:
        with pytest.raises(Late):
            await open_sse(spec(raw.url, timeouts=Timeouts(1.0, 0.1)), Heard().events())


# -- misbehaviour on a standing link


async def test_stream_that_ends_fails_what_is_out_and_the_link() -> None:
    server = SseServer()
    async with linked(server) as (link, raw, heard):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in raw.methods())
        server.ended.set()
        with pytest.raises(Lost):
            await task
        assert (link.alive, len(heard.closed)) == (False, 1)
        with pytest.raises(DownstreamError):
            await link.request("tools/call", CALL, exchange())


async def test_foreign_late_and_garbage_reach_nobody() -> None:
    async def noisy(got: Got, stream: Say) -> None:
        id = got.message["id"]
        await stream(event({"jsonrpc": "2.0", "id": id + 100, "result": {"evil": 1}}) + event(b"not json") + event([1]))
        await stream(event(answer_to(got, {"ok": True})) * 2)

    async with linked(SseServer(noisy)) as (link, _, heard):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        await until(lambda: len(heard.noise) == 4)
        assert sorted(heard.noise) == ["duplicate", "foreign", "garbage", "garbage"]


async def test_list_change_is_told() -> None:
    async def change(got: Got, stream: Say) -> None:
        await stream(event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        await stream(event(answer_to(got, {"ok": True})))

    async with linked(SseServer(change)) as (link, _, heard):
        await link.request("tools/call", CALL, exchange())
        assert heard.notified == [("notifications/tools/list_changed", {})]


async def test_error_answer_is_handed_over() -> None:
    async def sorry(got: Got, stream: Say) -> None:
        await stream(event(jsonrpc.error(got.message["id"], -32602, "no such tool")))

    async with linked(SseServer(sorry)) as (link, _, _):
        with pytest.raises(Refused):
            await link.request("tools/call", CALL, exchange())


async def test_endless_message_ends_the_link() -> None:
    async def endless(got: Got, stream: Say) -> None:
        await stream(chunk(b"data: "))
        for _ in range(600):
            await stream(chunk(b"x" * 65536))

    async with linked(SseServer(endless), max_result_bytes=100_000) as (link, _, heard):
        with pytest.raises(Oversize):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, "oversize" in heard.noise) == (False, True)


@pytest.mark.parametrize(
    ("line", "error", "alive"),
    [
        ("500 Oops", Garbled, True),
        ("403 No", NeedsLogin, True),
        ("401 No", NeedsLogin, False),
        ("404 Session", Garbled, False),
        ("302 Found", Garbled, True),
    ],
)
async def test_refused_post_fails_its_request_alone(line: str, error: type[DownstreamError], alive: bool) -> None:
    async def refuse(got: Got, stream: Say) -> bytes:
        return status(line)

    async with linked(SseServer(refuse)) as (link, _, heard):
        with pytest.raises(error):
            await link.request("tools/call", CALL, exchange())
        assert link.alive is alive
        await until(lambda: len(heard.closed) == int(not alive))


async def test_answer_in_the_post_is_no_answer() -> None:
    async def both(got: Got, stream: Say) -> bytes:
        await stream(event(answer_to(got, {"ok": True})))
        return whole(b'{"jsonrpc":"2.0","id":1,"result":{"evil":1}}')

    async with linked(SseServer(both)) as (link, _, _):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}


async def test_post_that_is_broken_off_fails_its_request_alone() -> None:
    async def hang_up(got: Got, stream: Say) -> None:
        raise Hangup

    async with linked(SseServer(hang_up)) as (link, _, _):
        with pytest.raises(Lost, match="before the answer"):
            await link.request("tools/call", CALL, exchange())
        assert link.alive


async def test_stream_that_ends_in_the_handshake_gives_no_link() -> None:
    server = SseServer(fine)

    async def handle(got: Got, say: Say) -> None:
        await server(got, say)
        if got.method == "initialize":
            server.ended.set()
        if got.method == "notifications/initialized":
            await asyncio.sleep(0.05)

    async with raw_server(handle) as raw:
        with pytest.raises(Lost):
            await open_sse(spec(raw.url), Heard().events())


async def test_closing_is_quick_and_is_no_loss() -> None:
    async with linked(SseServer()) as (link, raw, heard):
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: "tools/call" in raw.methods())
        await link.aclose()
        await link.aclose()
        with pytest.raises(Lost):
            await task
        assert (link.alive, heard.closed) == (False, [])
        await until(lambda: raw.open == 0)


# -- the last thing that a url may speak


@pytest.mark.parametrize("line", ["400 Bad", "404 No", "405 No"])
async def test_url_that_takes_no_posts_is_tried_as_a_stream(line: str) -> None:
    async with raw_server(SseServer(fine, posted=status(line))) as raw:
        link = await HttpOpener()(spec(raw.url), Heard().events())
        assert link.peer.revision == "2024-11-05"
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        await link.aclose()
        await until(lambda: raw.open == 0)
        assert raw.methods()[:3] == ["server/discover", "initialize", "GET"]


async def test_cancelled_fallback_leaves_nothing_behind() -> None:
    async with raw_server(SseServer(opening=STREAM)) as raw:
        task = asyncio.create_task(HttpOpener()(spec(raw.url), Heard().events()))
        await until(lambda: "GET" in raw.methods())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: raw.open == 0)
