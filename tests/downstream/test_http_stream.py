"""Standing streams: opened, read, opened again; and given up when the server does not want one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import Unreachable
from hub.downstream.h1 import Connection
from hub.downstream.http import HttpOpener
from hub.downstream.http_stream import Ending, StandingStream, Stream, Watcher
from hub.downstream.link import Link
from tests.downstream.raw_http import (
    END,
    STREAM,
    Got,
    Heard,
    RawServer,
    Say,
    chunk,
    discovery,
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

CHANGING: Json = {"tools": {"listChanged": True}, "prompts": {"listChanged": True}, "resources": {"subscribe": True}}
TOOLS_CHANGED: Json = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
BOTH: list[tuple[str, Json]] = [("notifications/tools/list_changed", {}), ("notifications/prompts/list_changed", {})]

Handler = Callable[[Got, Say], Awaitable[None]]
Streamer = Callable[[Got, Say, int], Awaitable[None]]  # the number counts the openings, from 1


@asynccontextmanager
async def linked(
    stream: Streamer, era: str, call: Handler | None = None
) -> AsyncIterator[tuple[Link, RawServer, Heard]]:
    """A link of that era, whose standing stream is answered by `stream`."""
    opened = 0

    async def handle(got: Got, say: Say) -> None:
        nonlocal opened
        match got.method:
            case "server/discover":
                await say(discovery(got, CHANGING) if era == "modern" else failure(got, -32601, "404 Not Found"))
            case "initialize":
                await say(initialized(got, CHANGING))
            case "subscriptions/listen" | "GET":
                opened += 1
                await stream(got, say, opened)
            case method if method.startswith("notifications/") or got.verb == "DELETE":
                await say(status("202 Accepted"))
            case _:
                await (call(got, say) if call else say(result(got, {"ok": True})))

    heard = Heard()
    async with raw_server(handle) as server:
        link = await HttpOpener(reopen_s=0.01)(spec(server.url), heard.events())
        try:
            yield link, server, heard
        finally:
            await link.aclose()


def of(server: RawServer) -> list[Got]:
    return [got for got in server.got if got.method in ("subscriptions/listen", "GET")]


ERAS = pytest.mark.parametrize("era", ["modern", "legacy"])


@ERAS
async def test_changes_are_heard_and_acknowledgements_are_not(era: str) -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        ack = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {"notifications": {}}}
        await say(STREAM + (event(ack) if era == "modern" else b"") + chunk(b": hi\n\n") + event(TOOLS_CHANGED))
        await asyncio.Event().wait()

    async with linked(stream, era) as (_, server, heard):
        await until(lambda: heard.notified)
        assert heard.notified == [("notifications/tools/list_changed", {})]
        opened = of(server)[0]
        if era == "modern":
            assert opened.message["params"]["notifications"] == {"toolsListChanged": True, "promptsListChanged": True}
            assert opened.headers["mcp-method"] == "subscriptions/listen"
        else:
            assert (opened.headers["accept"], opened.headers["mcp-session-id"]) == ("text/event-stream", "s-1")


@ERAS
async def test_link_is_given_out_only_when_the_stream_stands(era: str) -> None:
    asked = asyncio.Event()

    async def stream(got: Got, say: Say, nth: int) -> None:
        asked.set()
        await say(STREAM)
        await asyncio.Event().wait()

    async with linked(stream, era):
        assert asked.is_set()


@ERAS
async def test_stream_that_ends_is_opened_again_and_what_was_missed_is_assumed(era: str) -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        await say(STREAM)
        if nth < 3:
            await say(END)
        else:
            await asyncio.Event().wait()

    async with linked(stream, era) as (link, _, heard):
        await until(lambda: len(heard.notified) >= 4)
        assert heard.notified == BOTH * 2
        assert link.alive


@ERAS
@pytest.mark.parametrize(
    "line", ["405 Method Not Allowed", "400 Bad Request", "404 Not Found", "403 Forbidden", "200 OK"]
)
async def test_server_that_wants_no_stream_is_not_asked_again(era: str, line: str) -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        await say(status(line))

    async with linked(stream, era) as (link, server, _):
        assert (await link.request("tools/call", {"name": "x"}, exchange()))["ok"] is True
        await asyncio.sleep(0.05)
        assert (len(of(server)), link.alive) == (1, True)


@ERAS
async def test_server_in_trouble_is_asked_again(era: str) -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        if nth < 3:
            await say(status("503 Busy"))
        else:
            await say(STREAM)
            await asyncio.Event().wait()

    async with linked(stream, era) as (link, server, _):
        await until(lambda: len(of(server)) == 3)
        assert link.alive


@ERAS
async def test_server_that_cannot_be_reached_any_more_ends_the_link(era: str) -> None:
    heard = Heard()
    over = asyncio.Event()

    async def handle(got: Got, say: Say) -> None:
        if got.method == "server/discover":
            await say(discovery(got, CHANGING) if era == "modern" else failure(got, -32601))
        elif got.method == "initialize":
            await say(initialized(got, CHANGING))
        elif got.method.startswith("notifications/"):
            await say(status("202 Accepted"))
        else:
            await say(STREAM)
            await over.wait()

    async with raw_server(handle) as server:
        link = await HttpOpener(reopen_s=0.01)(spec(server.url), heard.events())
    await until(lambda: heard.closed)
    assert (link.alive, len(heard.closed)) == (False, 1)
    await link.aclose()


@ERAS
async def test_garbage_and_endless_events_on_the_stream_harm_no_call(era: str) -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        if nth > 1:
            await say(STREAM)
            await asyncio.Event().wait()
        await say(STREAM + event(b"not json") + event([1]) + event({"jsonrpc": "2.0", "id": 77, "result": {}}))
        await say(chunk(b"data: "))
        for _ in range(600):
            await say(chunk(b"x" * 65536))

    async with linked(stream, era) as (link, server, heard):
        assert (await link.request("tools/call", {"name": "x"}, exchange()))["ok"] is True
        await until(lambda: "oversize" in heard.noise)
        assert heard.noise.count("garbage") == 2
        await until(lambda: len(of(server)) == 2)


async def test_session_that_ends_under_the_stream_ends_the_link() -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        await say(STREAM + END if nth == 1 else status("404 Not Found"))

    async with linked(stream, "legacy") as (link, _, heard):
        await until(lambda: heard.closed)
        assert not link.alive
        assert "session" in heard.closed[0]


async def test_stream_is_taken_up_where_it_ended_and_when_the_server_says() -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        await say(STREAM + chunk(b"retry: 20\nid: e-7\ndata:\n\n"))
        if nth == 1:
            await say(END)
        else:
            await asyncio.Event().wait()

    async with linked(stream, "legacy") as (_, server, _):
        await until(lambda: len(of(server)) == 2)
        assert "last-event-id" not in of(server)[0].headers
        assert of(server)[1].headers["last-event-id"] == "e-7"


async def test_body_of_a_refusal_is_no_event() -> None:
    async def stream(got: Got, say: Say, nth: int) -> None:
        await say(whole(b"data: {}\n\n", "405 No", "text/event-stream"))

    async with linked(stream, "legacy") as (link, _, heard):
        assert link.alive
        assert (heard.noise, heard.notified) == ([], [])


async def test_flood_of_changes_is_slowed_down() -> None:
    sent = 0

    async def stream(got: Got, say: Say, nth: int) -> None:
        nonlocal sent
        await say(STREAM)
        while True:
            await say(event(TOOLS_CHANGED) * 500)
            sent += 500

    async with linked(stream, "modern") as (link, _, heard):
        await until(lambda: len(heard.notified) > 2000)
        assert (await link.request("tools/call", {"name": "x"}, exchange()))["ok"] is True
        assert len(heard.notified) < 10_000


# -- the loop alone


async def test_silent_server_delays_a_link_only_so_long() -> None:
    async def connect(stream: Stream, last_id: str) -> Connection:
        await asyncio.Event().wait()
        raise AssertionError

    standing = StandingStream(watcher(), 100, connect, lambda how, why: None)
    await standing.start(0.01)
    await standing.aclose()
    await StandingStream(watcher(), 100, connect, lambda how, why: None).aclose()  # never started


async def test_broken_reader_is_told_to_the_link() -> None:
    told: list[tuple[Ending, str]] = []

    async def connect(stream: Stream, last_id: str) -> Connection:
        raise RuntimeError("a bug in the hub")

    standing = StandingStream(watcher(), 100, connect, lambda how, why: told.append((how, why)))
    await standing.start(5)
    await standing.aclose()
    assert told[0][0] == "ended"


async def test_unreachable_server_is_told_to_the_link() -> None:
    told: list[tuple[Ending, str]] = []

    async def connect(stream: Stream, last_id: str) -> Connection:
        raise Unreachable("peer", "gone fishing")

    standing = StandingStream(watcher(), 100, connect, lambda how, why: told.append((how, why)))
    await standing.start(5)
    assert told == [("ended", "gone fishing")]
    await standing.aclose()


def watcher() -> Watcher:
    def take(message: Any) -> None:
        raise AssertionError

    return Watcher(take, lambda: None, lambda what: None)
