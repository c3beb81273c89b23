"""Which era a url speaks: every way servers answer the first requests, and what the operator reads when none fits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from hub.core.errors import DownstreamError, Garbled, Late, NeedsLogin, Unreachable
from hub.downstream.http import HttpOpener, open_http
from hub.downstream.link import Timeouts
from tests.downstream.raw_http import (
    END,
    MODERN,
    STREAM,
    Got,
    Hangup,
    Heard,
    RawServer,
    Say,
    discovery,
    event,
    failure,
    initialized,
    raw_server,
    result,
    spec,
    status,
    until,
    whole,
)

Handler = Callable[[Got, Say], Awaitable[None]]


def server_of(discover: Any = None, initialize: Any = None, get: Any = None) -> Handler:
    """A server that answers each of the three with bytes, or with what a function makes of the request."""
    table = {"server/discover": discover, "initialize": initialize, "GET": get}

    async def handle(got: Got, say: Say) -> None:
        answer = table.get(got.method, status("202 Accepted"))
        if answer is None:
            answer = status("405 Method Not Allowed") if got.method == "GET" else status("404 Not Found")
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "hang up":
            raise Hangup
        await say(answer(got) if callable(answer) else answer)

    return handle


async def opened(handle: Handler, **more: Any) -> tuple[Any, RawServer]:
    async with raw_server(handle) as server:
        link = await HttpOpener(probe_s=0.1)(spec(server.url, **more), Heard().events())
        await link.aclose()
    return link.peer, server


async def refused(handle: Handler, error: type[DownstreamError], words: str, **more: Any) -> RawServer:
    async with raw_server(handle) as server:
        with pytest.raises(error, match=words) as caught:
            await HttpOpener(probe_s=0.1)(spec(server.url, **more), Heard().events())
        assert type(caught.value) is error or isinstance(caught.value, error)
        await until(lambda: server.open == 0)  # nothing is left behind
    return server


def no(code: int, at: str = "200 OK", data: Any = None) -> Callable[[Got], bytes]:
    return lambda got: failure(got, code, at, data)


async def test_modern_server_is_known_by_its_discovery() -> None:
    peer, server = await opened(server_of(discovery))
    assert (peer.era, peer.revision, peer.info["name"], peer.instructions) == ("modern", MODERN, "raw", "be kind")
    assert peer.capabilities == {"tools": {}}
    assert server.got[0].headers["mcp-method"] == "server/discover"
    assert "initialize" not in server.methods()


async def test_discovery_may_come_as_a_stream() -> None:
    def streamed(got: Got) -> bytes:
        value = {"supportedVersions": [MODERN], "capabilities": [], "serverInfo": {"name": "old style"}}
        return STREAM + event({"jsonrpc": "2.0", "id": got.message["id"], "result": value}) + END

    peer, _ = await opened(server_of(streamed))
    assert (peer.era, peer.capabilities, peer.info, peer.instructions) == ("modern", {}, {"name": "old style"}, None)


@pytest.mark.parametrize(
    "discover",
    [
        no(-32601, "404 Not Found"),
        no(-32601),
        no(-32600, "400 Bad Request"),
        no(-32000, "400 Bad Request"),
        no(-32022, "400 Bad Request", {"supported": ["2025-11-25"], "requested": MODERN}),
        no(-32022, "400 Bad Request"),
        no(-32020, "400 Bad Request"),
        lambda got: discovery(got, versions=("2025-11-25", "2025-06-18")),
        lambda got: result(got, {"supportedVersions": "2026-07-28"}),
        lambda got: result(got, [1]),
        status("401 Unauthorized"),
        status("403 Forbidden"),
        status("404 Invalid session ID"),
        status("405 Method Not Allowed"),
        status("500 Oops"),
        status("202 Accepted"),
        status("307 Elsewhere", "location: http://evil/\r\n"),
        whole(b"<html>", kind="text/html"),
        b"garbage\r\n\r\n",
        STREAM + END,
        "hang",
        "hang up",
    ],
)
async def test_any_other_answer_leaves_the_word_to_initialize(discover: Any) -> None:
    peer, server = await opened(server_of(discover, initialized))
    assert (peer.era, peer.revision, peer.info["name"]) == ("legacy", "2025-11-25", "raw")
    assert server.methods().count("initialize") == 1


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_counter_offer_of_a_known_revision_is_taken(revision: str) -> None:
    peer, server = await opened(server_of(None, lambda got: initialized(got, revision=revision)))
    assert peer.revision == revision
    told = next(got for got in server.got if got.method == "notifications/initialized")
    assert told.headers["mcp-protocol-version"] == revision


async def test_pinned_era_is_not_probed_and_not_left() -> None:
    peer, server = await opened(server_of(discovery, initialized), era="legacy")
    assert (peer.era, "server/discover" in server.methods()) == ("legacy", False)
    server = await refused(server_of(None, initialized), Unreachable, "404", era="modern")
    assert "initialize" not in server.methods()
    await refused(server_of("hang", initialized), Late, "in time", era="modern", timeouts=Timeouts(1.0, 0.1))


async def test_modern_server_without_a_common_version_is_not_pressed() -> None:
    new = no(-32022, "400 Bad Request", {"supported": ["2030-01-01"]})
    for discover in (new, lambda got: discovery(got, versions=("2030-01-01",))):
        server = await refused(server_of(discover, initialized), Unreachable, "2030-01-01")
        assert "initialize" not in server.methods()


async def test_server_that_refuses_and_offers_the_same_version_is_asked_again_and_not_taken_for_a_legacy_one() -> None:
    asked = 0

    async def handle(got: Got, say: Say) -> None:
        nonlocal asked
        asked += 1
        unsure = failure(got, -32022, "400 Bad Request", {"supported": [MODERN], "requested": MODERN})
        await say(unsure if asked == 1 else discovery(got))

    peer, server = await opened(handle)
    assert (peer.era, server.methods()) == ("modern", ["server/discover", "server/discover"])


async def test_server_that_keeps_refusing_the_version_it_offers_is_asked_only_twice() -> None:
    server = await refused(server_of(no(-32022, "400 Bad Request", {"supported": [MODERN]})), Unreachable, ".")
    assert server.methods().count("server/discover") == 2


async def test_modern_server_too_slow_for_the_probe_is_asked_once_more() -> None:
    asked = 0

    async def handle(got: Got, say: Say) -> None:
        nonlocal asked
        if got.method == "initialize":
            await say(failure(got, -32022, "400 Bad Request", {"supported": [MODERN]}))
            return
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        await say(discovery(got))

    peer, _ = await opened(handle)
    assert (peer.era, asked) == ("modern", 2)


async def test_server_that_swallows_the_probe_is_not_probed_at_every_reconnect() -> None:
    opener = HttpOpener(probe_s=0.05)
    async with raw_server(server_of("hang", initialized)) as server:
        for _ in range(4):
            link = await opener(spec(server.url), Heard().events())
            await link.aclose()
        assert server.methods().count("server/discover") == 1


async def test_verdict_is_forgotten_when_it_no_longer_holds() -> None:
    opener = HttpOpener(probe_s=0.05)
    modern = False

    async def handle(got: Got, say: Say) -> None:
        await (server_of(discovery) if modern else server_of("hang", initialized))(got, say)

    async with raw_server(handle) as server:
        await (await opener(spec(server.url), Heard().events())).aclose()
        modern = True
        with pytest.raises(Unreachable):
            await opener(spec(server.url), Heard().events())
        link = await opener(spec(server.url), Heard().events())
        assert link.peer.era == "modern"
        await link.aclose()


@pytest.mark.parametrize(
    ("discover", "initialize", "error", "words"),
    [
        (status("401 No"), status("401 No"), NeedsLogin, "401"),
        (status("401 No"), None, NeedsLogin, "401"),
        (None, status("403 No"), NeedsLogin, "403"),
        (None, None, Unreachable, "no MCP"),
        (None, status("503 Busy"), Unreachable, "503"),
        (None, status("308 Moved", "location: /x\r\n"), Unreachable, "final url"),
        (None, no(-32603), Unreachable, "-32603"),
        (None, lambda got: initialized(got, revision="1999-01-01"), Garbled, "1999-01-01"),
        (None, lambda got: result(got, {}), Garbled, "nothing"),
        (None, lambda got: initialized(got, session="two words"), Garbled, "session id"),
        (None, lambda got: initialized(got, session="é"), Garbled, "session id"),
        (None, whole(b"<html>secret", kind="text/html"), Garbled, "text/html"),
        (None, "hang", Late, "in time"),
    ],
)
async def test_refusal_is_told_in_words(
    discover: Any, initialize: Any, error: type[DownstreamError], words: str
) -> None:
    await refused(server_of(discover, initialize), error, words, timeouts=Timeouts(1.0, 0.3))


async def test_whole_handshake_has_a_deadline() -> None:
    began = monotonic()
    await refused(server_of("hang", "hang"), DownstreamError, "in time|handshake", timeouts=Timeouts(0.1, 0.15))
    await refused(server_of(None, None, "hang"), Unreachable, "no MCP", timeouts=Timeouts(0.05, 0.05))
    assert monotonic() - began < 2


async def test_handshake_that_only_crawls_ends_too() -> None:
    slow = Timeouts(connect_s=0.05, initialize_s=0.2)

    async def handle(got: Got, say: Say) -> None:
        if got.method == "initialize":
            await asyncio.sleep(0.15)
            await say(initialized(got))
        else:
            await asyncio.Event().wait()

    await refused(handle, Unreachable, "handshake", timeouts=slow)


@pytest.mark.parametrize(
    ("url", "headers", "words"),
    [
        ("http://me:hunter2@127.0.0.1/", {}, "headers"),
        ("file:///etc/passwd", {}, "http"),
        ("http://127.0.0.1/", {"X-Key": "hunter2\r\nx: y"}, "X-Key"),
        ("http://127.0.0.1/", {"Host": "hunter2"}, "Host"),
        ("http://127.0.0.1:1/", {}, "nothing listens"),
    ],
)
async def test_configuration_that_cannot_work_is_told_without_its_secret(
    url: str, headers: dict[str, str], words: str
) -> None:
    with pytest.raises(Unreachable, match=words) as caught:
        await open_http(spec(url, headers=headers), Heard().events())
    assert "hunter2" not in str(caught.value)


async def test_cancelled_opening_leaves_nothing_behind() -> None:
    async with raw_server(server_of("hang")) as server:
        task = asyncio.create_task(open_http(spec(server.url), Heard().events()))
        await until(lambda: server.got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open == 0)


async def test_noise_before_the_link_stands_is_counted() -> None:
    def noisy(got: Got) -> bytes:
        request = {"jsonrpc": "2.0", "id": 1, "method": "roots/list"}
        foreign = {"jsonrpc": "2.0", "id": 99, "result": {}}
        value = {"supportedVersions": [MODERN], "capabilities": {}}
        answer = {"jsonrpc": "2.0", "id": got.message["id"], "result": value}
        return STREAM + event(request) + event(foreign) + event(answer) + END

    heard = Heard()
    async with raw_server(server_of(noisy)) as server:
        link = await open_http(spec(server.url), heard.events())
        await link.aclose()
    assert heard.noise == ["foreign"]
