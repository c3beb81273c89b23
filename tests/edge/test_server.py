from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from hub.edge.ports import Limits
from hub.edge.request import Receive, Scope, Send, respond
from hub.wire import jsonrpc
from tests.edge.fakes import FakePipeline, eventually, fake_ports
from tests.edge.harness import door, modern, modern_headers, served

QUICK = Limits(header_s=0.2, body_s=0.2, drain_s=2.0, header_bytes=2000)


@dataclass
class Peer:
    """A client that says every byte itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def answer(self) -> tuple[int, bytes]:
        """One answer with a Content-Length."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            body = await self.reader.readexactly(int(lines[b"content-length"]))
        return int(head.split(b" ", 2)[1]), body


@asynccontextmanager
async def peer(host: str, port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


def post(message: Any, **headers: str) -> bytes:
    body = jsonrpc.dumps(message)
    named = modern_headers(message["method"], message["params"].get("name"), **headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**named, "content-length": str(len(body))}.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body


class Plain:
    """An app that answers every request with its body, or hangs."""

    def __init__(self) -> None:
        self.started = 0
        self.hanging = asyncio.Event()
        self.release = asyncio.Event()
        self.drained: list[float] = []
        self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started += 1
        if scope["path"] == "/hang":
            self.hanging.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if scope["path"] == "/big":
            await respond(send, 200, b"x" * 50_000_000, ((b"content-type", b"text/plain"),))
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await respond(send, 200, body or b"{}")

    async def drain(self, timeout_s: float) -> None:
        self.drained.append(timeout_s)


async def test_one_connection_carries_many_requests() -> None:
    it = door(fake_ports())
    async with served(it.app, QUICK) as (host, port, _), peer(host, port) as client:
        for n in range(5):
            client.say(post(modern("tools/call", n, name="demo__echo", arguments={"text": str(n)})))
            status, body = await client.answer()
            assert (status, jsonrpc.loads(body)["id"]) == (200, n)


async def test_requests_that_arrive_together_are_answered_in_order() -> None:
    it = door(fake_ports())
    async with served(it.app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"".join(post(modern("server/discover", n)) for n in range(5)))
        assert [jsonrpc.loads((await client.answer())[1])["id"] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_an_answer_has_the_date_and_no_server_name() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        head = (await client.hear()).split(b"\r\n\r\n")[0].decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        assert parsedate_to_datetime(lines["date"]) is not None
        assert "server" not in lines


@pytest.mark.parametrize("said", [b"", b"POST /mcp HTTP/1.1\r\nhost: x\r\n", b"P"])
async def test_headers_that_do_not_arrive_in_time_end_the_connection(said: bytes) -> None:
    app = Plain()
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(said)
        assert await client.hear() == b""
    assert app.started == 0


async def test_dripping_headers_do_not_extend_the_deadline() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                client.say(b"a: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await client.hear() == b""
        dripping.cancel()


async def test_the_deadline_holds_for_the_second_request_of_a_connection_too() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.answer())[0] == 200
        client.say(b"GET / HT")
        assert await client.hear() == b""


async def test_what_comes_early_neither_cuts_the_call_in_flight_nor_waits_for_ever() -> None:
    app = Plain()
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET /hang HTTP/1.1\r\n\r\nGET / HT")
        await app.hanging.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.reader.read(1)
        app.release.set()
        assert (await client.answer())[0] == 200
        assert await client.hear() == b""


async def test_an_idle_connection_outlives_the_header_deadline_between_requests() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        await client.answer()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.reader.read(1)
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\na: " + b"x" * 3000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"x" * 3000,
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\na: " + b"x" * 3000 + b"\r\n\r\nhello",
        b"GET / HTTP/1.1\r\na: " + b"x" * 3000 + b"\r\n\r\nGET / HTTP/1.1\r\na: b\r\n\r\n",
    ],
)
async def test_headers_over_the_cap_are_a_431(said: bytes) -> None:
    app = Plain()
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(said)
        client.say(b"more: after the end\r\n")
        assert (await client.hear()).startswith(b"HTTP/1.1 431 ")
    assert app.started == 0


async def test_headers_over_the_cap_are_a_431_behind_another_request_too() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\na: " + b"x" * 3000 + b"\r\n\r\n")
        assert b"HTTP/1.1 431 " in await client.hear()


async def test_a_large_body_is_not_taken_for_large_headers() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000)
        assert (await client.answer()) == (200, b"x" * 300_000)


async def test_a_body_that_does_not_arrive_is_a_408_and_then_the_end() -> None:
    limits = replace(QUICK, body_s=0.1)
    it = door(fake_ports(limits=limits))
    async with served(it.app, limits) as (host, port, _), peer(host, port) as client:
        client.say(post(modern("tools/list"))[:-5])
        assert (await client.answer())[0] == 408
        assert await client.hear() == b""


async def test_a_body_over_the_cap_is_a_413_that_the_client_can_read() -> None:
    limits = replace(QUICK, body_bytes=1000)
    it = door(fake_ports(limits=limits))
    async with served(it.app, limits) as (host, port, _), peer(host, port) as client:
        client.say(post(modern("tools/call", name="demo__echo", arguments={"text": "x" * 500_000})))
        status, body = await client.answer()
        assert (status, jsonrpc.loads(body)["error"]["data"]["_meta"]["io.mcp-hub/code"]) == (413, "too_large")
        client.say(post(modern("server/discover")))
        assert (await client.answer())[0] == 200


async def test_what_is_no_http_is_a_400() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"\x16\x03\x01hello\r\n\r\n")
        assert (await client.hear()).startswith(b"HTTP/1.1 400 ")


async def test_connections_over_the_cap_are_turned_away() -> None:
    limits = replace(QUICK, connections=1, header_s=5.0)
    async with served(Plain(), limits) as (host, port, _), peer(host, port) as first:
        first.say(b"GET / HTTP/1.1\r\n\r\n")
        await first.answer()
        async with peer(host, port) as second:
            second.say(b"GET / HTTP/1.1\r\n\r\n")
            assert (await second.hear()).startswith(b"HTTP/1.1 503 ")
        first.say(b"GET / HTTP/1.1\r\n\r\n")
        assert (await first.answer())[0] == 200


async def test_a_client_that_never_reads_is_cut_off() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET /big HTTP/1.1\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: client.writer.transport.is_closing() or _is_reset(client), 5)


def _is_reset(client: Peer) -> bool:
    client.say(b"x")
    return client.writer.transport.is_closing()


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET /big HTTP/1.1\r\nconnection: close\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.05)
        assert b"200" in head
        assert len(await client.hear()) == 50_000_000


async def test_a_call_whose_client_leaves_is_cancelled() -> None:
    it = door(fake_ports())
    pipeline: Any = it.ports.handle
    async with served(it.app, QUICK) as (host, port, _):
        async with peer(host, port) as client:
            client.say(post(modern("tools/call", name="demo__hang")))
            await pipeline.hanging.wait()
        await eventually(lambda: len(pipeline.cancelled) == 1)


async def test_a_drain_lets_every_call_in_flight_finish_and_takes_no_more() -> None:
    it = door(fake_ports())
    pipeline: Any = it.ports.handle
    assert isinstance(pipeline, FakePipeline)
    async with served(it.app, QUICK) as (host, port, stopping):
        clients = [await asyncio.open_connection(host, port) for _ in range(20)]
        idle_reader, idle_writer = await asyncio.open_connection(host, port)
        for n, (_, writer) in enumerate(clients):
            writer.write(post(modern("tools/call", n, name="demo__hang")))
        await eventually(lambda: len(pipeline.calls) == 20)
        stopping.set()
        assert await idle_reader.read() == b""
        await eventually(lambda: it.modern._draining)
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(host, port)
        pipeline.release.set()
        texts = [await Peer(*client).hear() for client in clients]
        assert all(b"released" in text and b"connection: close" in text for text in texts)
        for _, writer in [*clients, (idle_reader, idle_writer)]:
            writer.close()


async def test_a_request_that_is_sent_during_the_drain_is_the_last_of_its_connection() -> None:
    app = Plain()
    async with served(app, QUICK) as (host, port, stopping), peer(host, port) as client:
        client.say(b"GET /hang HTTP/1.1\r\n\r\n")
        await app.hanging.wait()
        stopping.set()
        await eventually(lambda: bool(app.drained))
        app.release.set()
        assert b"connection: close" in await client.hear()
    assert app.drained == [QUICK.drain_s]


async def test_what_does_not_finish_in_the_drain_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    app = Plain()
    limits = replace(QUICK, drain_s=0.05)
    async with served(app, limits) as (host, port, stopping), peer(host, port) as client:
        client.say(b"GET /hang HTTP/1.1\r\n\r\n")
        await app.hanging.wait()
        stopping.set()
        assert await client.hear() == b""
    assert app.cancelled == 1
    assert "Exception in ASGI application" not in caplog.text


async def test_an_app_that_fails_to_drain_does_not_keep_the_server() -> None:
    class Broken(Plain):
        async def drain(self, timeout_s: float) -> None:
            raise OSError

    async with served(Broken(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.answer())[0] == 200


async def test_a_stream_of_changes_ends_with_its_result_when_the_hub_drains() -> None:
    it = door(fake_ports())
    async with served(it.app, QUICK) as (host, port, stopping), peer(host, port) as client:
        client.say(post(modern("subscriptions/listen", "L", notifications={"toolsListChanged": True})))
        await client.reader.readuntil(b"acknowledged")
        stopping.set()
        rest = await client.hear()
        assert b'"id":"L","result"' in rest
        assert rest.endswith(b"0\r\n\r\n")


async def test_of_requests_that_came_together_none_goes_on_when_the_connection_is_cut() -> None:
    """Only the newest used to hear of it: the one that ran went on to its end, for nobody."""
    it = door(fake_ports())
    async with served(it.app, QUICK) as (host, port, _):
        async with peer(host, port) as client:
            hang = post(modern("tools/call", 1, name="demo__hang", arguments={}))
            client.say(hang + post(modern("server/discover", 2)))
            await asyncio.wait_for(it.ports.handle.hanging.wait(), 5)  # type: ignore[attr-defined]
        await eventually(lambda: it.ports.handle.cancelled != [])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /health",
        b"GET http://else.example/health HTTP/1.1",
        b"GET http://127.0.0.1:1/health HTTP/1.1",
        b"GET else.example:80 HTTP/1.1",
    ],
)
async def test_a_request_line_that_says_something_else_than_the_host_header_is_refused(line: bytes) -> None:
    app = Plain()
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(line + b"\r\nhost: 127.0.0.1\r\n\r\n")
        assert (await client.hear()).startswith(b"HTTP/1.1 400")
    assert app.started == 0


async def test_an_absolute_target_that_names_the_same_host_is_served() -> None:
    async with served(Plain(), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(b"GET http://127.0.0.1:9/health HTTP/1.1\r\nhost: 127.0.0.1:9\r\nconnection: close\r\n\r\n")
        assert (await client.hear()).startswith(b"HTTP/1.1 200")
