"""How the server frames what an app answers, and what it makes of an app that breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from hub.edge.cycle import WHOLE_BODY, Cycle
from hub.edge.ports import Limits
from hub.edge.request import Receive, Scope, Send, respond
from tests.edge.harness import served
from tests.edge.test_server import Peer, peer

QUICK = Limits(header_s=0.5, body_s=0.5, drain_s=2.0)

Act = Callable[[Scope, Receive, Send], Awaitable[None]]


class App:
    def __init__(self, act: Act) -> None:
        self._act = act

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._act(scope, receive, send)

    async def drain(self, timeout_s: float) -> None:
        return None


async def heard(act: Act, said: bytes = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n") -> tuple[bytes, bytes]:
    """Head and body of everything that came back until the connection closed."""
    async with served(App(act), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(said)
        head, _, body = (await client.hear()).partition(b"\r\n\r\n")
        return head, body


def begin(headers: list[tuple[bytes, bytes]], status: int = 200) -> dict[str, object]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(body: bytes, more: bool = False) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_an_answer_of_unknown_length_is_chunked_and_its_head_goes_out_with_its_first_part() -> None:
    gate = asyncio.Event()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await send(begin([]))
        await send(part(b"", True))
        await gate.wait()
        await send(part(b"hello", True))
        await send(part(b" you"))

    async with served(App(act), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            head = await client.reader.readuntil(b"\r\n\r\n")
        gate.set()
        assert b"transfer-encoding: chunked\r\n" in head
        assert await client.hear() == b"5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n"


async def test_a_head_request_gets_the_head_alone() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"twelve bytes")

    head, body = await heard(act, b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert b"content-length: 12" in head
    assert body == b""


async def test_a_long_body_arrives_whole() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"x" * 1_000_000)

    assert (await heard(act))[1] == b"x" * 1_000_000


async def test_a_long_answer_that_is_given_at_once_arrives_whole_behind_its_head() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        cycle = receive.__self__  # type: ignore[attr-defined]
        assert isinstance(cycle, Cycle)
        assert cycle.answer(200, b"x" * 1_000_000, ((b"hub-call-id", b"c-1"),))

    async with served(App(act), QUICK) as (host, port, _), peer(host, port) as client, asyncio.timeout(5):
        for _ in range(2):
            client.say(b"GET / HTTP/1.1\r\n\r\n")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 1000000\r\n" in head
            assert b"hub-call-id: c-1\r\n" in head
            assert await client.reader.readexactly(1_000_000) == b"x" * 1_000_000


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"\x7f"])
async def test_a_header_that_would_be_two_is_never_sent(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"{}", ((b"x-a", value),))

    with caplog.at_level(logging.CRITICAL):
        head, body = await heard(act)
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"x-a" not in head
    assert body == b"Internal Server Error"


async def breaks_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("secret")


async def breaks_before_the_body(scope: Scope, receive: Receive, send: Send) -> None:
    await send(begin([(b"content-length", b"5")]))
    raise KeyError("secret")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return None


async def frames_by_itself(scope: Scope, receive: Receive, send: Send) -> None:
    await send(begin([(b"transfer-encoding", b"chunked")]))
    await send(part(b"0\r\n\r\n"))


async def says_the_body_first(scope: Scope, receive: Receive, send: Send) -> None:
    await send(part(b"hello"))


async def says_less_than_it_promised(scope: Scope, receive: Receive, send: Send) -> None:
    await send(begin([(b"content-length", b"5")]))
    await send(part(b"hi"))


@pytest.mark.parametrize(
    "act",
    [
        breaks_at_once,
        breaks_before_the_body,
        says_nothing,
        frames_by_itself,
        says_the_body_first,
        says_less_than_it_promised,
    ],
)
async def test_an_app_that_breaks_before_anything_is_written_is_a_500(
    act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        head, body = await heard(act, b"GET / HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in head
    assert body == b"Internal Server Error"


async def breaks_in_mid_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(begin([(b"content-length", b"5")]))
    await send(part(b"he", True))
    raise KeyError("secret")


async def says_more_than_it_promised(scope: Scope, receive: Receive, send: Send) -> None:
    await send(begin([(b"content-length", b"2")]))
    await send(part(b"he", True))
    await send(part(b"llo"))


@pytest.mark.parametrize("act", [breaks_in_mid_answer, says_more_than_it_promised])
async def test_an_app_that_breaks_in_mid_answer_ends_the_connection(act: Act, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        head, body = await heard(act, b"GET / HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"he"


async def test_an_app_that_breaks_after_its_answer_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"{}")
        await send(part(b"too late"))

    with caplog.at_level(logging.CRITICAL):
        assert (await heard(act))[1] == b"{}"


async def test_a_body_that_came_whole_is_there_before_the_app_begins() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        whole = scope.get("extensions", {}).get(WHOLE_BODY)
        said = (await receive())["body"]
        await respond(send, 200, b"%d %b" % (whole is not None, said))

    post = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 5\r\n"
    assert (await heard(act, post + b"\r\nhello"))[1] == b"1 hello"
    async with served(App(act), QUICK) as (host, port, _), peer(host, port) as client:
        assert (await waits_for_the_body(client, post)).endswith(b"0 hello")


async def waits_for_the_body(client: Peer, post: bytes) -> bytes:
    """Says the body only when the server asks for it."""
    client.say(post + b"expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    client.say(b"hello")
    return await client.hear()
