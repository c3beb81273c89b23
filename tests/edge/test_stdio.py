"""The loopback door for bridges and the conversation behind it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hub.core.ports import Change
from hub.edge.mcp_stdio import StdioEdge, listen
from hub.edge.ports import EdgePorts, Limits
from tests.edge.fakes import (
    CLIENT,
    CLIENT_TOKEN,
    READER_TOKEN,
    FakeAuthenticator,
    FakeChanges,
    FakeJournal,
    FakePipeline,
    Seen,
    eventually,
    fake_ports,
)
from tests.edge.test_conversation import MODERN
from tests.edge.test_conversation import listen as listen_request
from tests.edge.test_legacy import call, initialize, note, request

LIMITS = replace(Limits(), drain_s=1.0)


class Line:
    """One raw connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def send(self, message: Any) -> None:
        self.writer.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        await self.writer.drain()

    async def read(self) -> Any:
        """The next message; None when the hub has closed the connection."""
        try:
            line = await asyncio.wait_for(self._reader.readline(), 5)
        except ConnectionResetError:  # it was closed with something unread
            return None
        return json.loads(line) if line else None

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.read()


class Door:
    def __init__(self, ports: EdgePorts, edge: StdioEdge, port: int) -> None:
        self.ports, self.edge, self.port = ports, edge, port
        assert isinstance(ports.handle, FakePipeline)
        assert isinstance(ports.changes, FakeChanges)
        assert isinstance(ports.journal, FakeJournal)
        self.pipeline, self.changes, self.journal = ports.handle, ports.changes, ports.journal

    @asynccontextmanager
    async def connect(self, hello: Any = None, limit: int = 2**24) -> AsyncIterator[Line]:
        """A connection; with `hello` None one that has been let in."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        line = Line(reader, writer)
        try:
            if hello is None:
                assert await line.ask(greeting()) == {"ok": True}
            else:
                await line.send(hello)
            yield line
        finally:
            writer.close()


@asynccontextmanager
async def door(
    grace_s: float = 5.0, stall_s: float = 5.0, hello_s: float = 5.0, **overrides: Any
) -> AsyncIterator[Door]:
    ports = fake_ports(**{"limits": LIMITS, **overrides})
    edge = StdioEdge(ports, grace_s=grace_s, stall_s=stall_s)
    server = await listen(edge, ports.authenticator.verify, ports.endpoints, hello_s=hello_s)
    try:
        yield Door(ports, edge, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await edge.aclose()


def greeting(secret: Any = CLIENT_TOKEN, endpoint: Any = "", version: Any = 1) -> dict[str, Any]:
    return {"mcp-hub-stdio": version, "secret": secret, "endpoint": endpoint}


# ---- the door


async def test_the_door_listens_on_loopback_only() -> None:
    ports = fake_ports()
    server = await listen(StdioEdge(ports), ports.authenticator.verify, ports.endpoints)
    host, port = server.sockets[0].getsockname()
    server.close()
    assert host == "127.0.0.1"
    assert port > 0


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'"x"',
        b"x" * 100_000,
        greeting(version=2),
        greeting(secret=5),
        greeting(endpoint=None),
        initialize(),
    ],
)
async def test_what_is_no_hello_is_closed_without_a_word(hello: Any) -> None:
    async with door() as d, d.connect(hello) as line:
        assert await line.read() is None
        assert d.journal.events == []


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with door(hello_s=0.01) as d, d.connect(b"") as line:
        assert await line.read() is None


async def test_a_wrong_secret_is_told_so_counted_and_logged() -> None:
    seen = Seen()
    async with door(refused=seen.refused.append) as d:
        for _ in range(3):
            async with d.connect(greeting("wrong")) as line:
                answer = await line.read()
                assert "secret" in answer["error"]
                assert "wrong" not in json.dumps(answer)
                assert await line.read() is None
        await eventually(lambda: bool(d.journal.events))
    counted = [detail["count"] for kind, _, outcome, _, detail in d.journal.events if kind == "auth"]
    assert sum(counted) == 3
    assert seen.refused == ["unauthenticated"] * 3
    assert d.pipeline.calls == []


@pytest.mark.parametrize("hello", [greeting(READER_TOKEN), greeting(endpoint="nowhere"), greeting(endpoint="/mcp")])
async def test_a_caller_without_scope_or_endpoint_is_not_let_in(hello: Any) -> None:
    async with door() as d, d.connect(hello) as line:
        assert set(await line.read()) == {"error"}
        assert await line.read() is None


async def test_a_token_issued_for_one_endpoint_opens_no_other_by_this_door_either() -> None:
    authenticator = FakeAuthenticator({"issued": replace(CLIENT, endpoints=frozenset({"team"}))})
    async with door(authenticator=authenticator) as d:
        async with d.connect(greeting("issued")) as line:
            assert set(await line.read()) == {"error"}
            assert await line.read() is None
        async with d.connect(greeting("issued", endpoint="team")) as line:
            assert await line.read() == {"ok": True}


async def test_an_endpoint_is_chosen_by_its_name() -> None:
    async with door() as d, d.connect(greeting(endpoint="team")) as line:
        assert await line.read() == {"ok": True}
        await line.ask(initialize())
        await line.ask(call("echo"))
        assert d.pipeline.calls[0].endpoint == "team"
        assert d.pipeline.calls[0].who == CLIENT


async def test_beyond_the_connection_limit_nobody_is_let_in() -> None:
    async with door(limits=replace(LIMITS, connections=1)) as d, d.connect(), d.connect(greeting()) as line:
        assert await line.read() is None


# ---- the conversation


async def test_a_legacy_conversation_by_lines() -> None:
    seen = Seen()
    async with door(connected=seen.connected) as d, d.connect() as line:
        assert (await line.ask(initialize()))["result"]["protocolVersion"] == "2025-11-25"
        await line.send(note("notifications/initialized"))
        assert (await line.ask(call("echo", text="hi")))["result"]["content"][0]["text"] == "hi"
        assert d.pipeline.calls[0].client.transport == "stdio"
        d.changes.emit(Change("tool"))
        assert (await line.read())["method"] == "notifications/tools/list_changed"
        assert seen.connections == {"stdio": 1}
    await eventually(lambda: seen.connections == {"stdio": 0})


async def test_garbage_is_answered_and_the_conversation_goes_on() -> None:
    async with door() as _, _.connect() as line:
        for bad in (b"{", b"\xff", b"NaN", b"[" * 1000 + b"]" * 1000):
            answer = await line.ask(bad)
            assert answer["error"]["code"] == -32700
            assert answer["id"] is None
        assert (await line.ask(request("ping")))["result"] == {}


async def test_a_line_over_the_cap_is_answered_and_the_conversation_goes_on() -> None:
    async with door(limits=replace(LIMITS, body_bytes=1000)) as d, d.connect() as line:
        answer = await line.ask(call("echo", text="x" * 1000))
        assert answer["error"]["data"]["_meta"]["io.mcp-hub/code"] == "too_large"
        assert "1000 bytes" in answer["error"]["message"]
        assert (await line.ask(request("ping")))["result"] == {}
        assert d.pipeline.calls == []


async def test_large_messages_pass_whole() -> None:
    async with door() as d, d.connect() as line:
        await line.ask(initialize())
        text = "ü" * 1_000_000
        answer = await line.ask(json.dumps(call("echo", text=text), ensure_ascii=False).encode())
        assert answer["result"]["content"][0]["text"] == text


async def test_a_client_that_closes_its_end_still_gets_the_answers_in_flight() -> None:
    async with door() as d, d.connect() as line:
        await line.ask(initialize())
        await line.send(call("hang", 4))
        await eventually(d.pipeline.hanging.is_set)
        line.writer.write_eof()
        d.pipeline.release.set()
        assert (await line.read())["id"] == 4
        assert await line.read() is None


async def test_calls_that_outlast_a_client_that_left_are_cancelled() -> None:
    async with door(grace_s=0.01) as d:
        async with d.connect() as line:
            await line.ask(initialize())
            await line.send(call("hang"))
            await eventually(d.pipeline.hanging.is_set)
        await eventually(lambda: len(d.pipeline.cancelled) == 1)


async def test_a_connection_that_breaks_cancels_its_calls_at_once() -> None:
    async with door(grace_s=60.0) as d, d.connect() as line:
        await line.ask(initialize())
        await line.send(call("hang"))
        await eventually(d.pipeline.hanging.is_set)
        sock = line.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.writer.transport.abort()
        await eventually(lambda: len(d.pipeline.cancelled) == 1)


async def test_a_revoked_secret_ends_the_conversation() -> None:
    authenticator = FakeAuthenticator()
    async with door(authenticator=authenticator) as d, d.connect() as line:
        await line.ask(initialize())
        del authenticator.principals[CLIENT_TOKEN]
        assert await line.ask(call("echo")) is None
        assert d.pipeline.calls == []


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    seen = Seen()
    async with door(connected=seen.connected, stall_s=0.05) as d, d.connect(limit=65536) as line:
        await line.ask(initialize())
        text = "x" * 3_000_000
        with contextlib.suppress(ConnectionError):
            for n in range(8):
                await line.send(call("echo", n, text=text))
        await eventually(lambda: seen.connections == {"stdio": 0})


async def test_stopping_drains_calls_and_closes_listens_with_their_result() -> None:
    async with door() as d, d.connect() as line:
        hang = call("hang", 2)
        hang["params"]["_meta"] = MODERN
        await line.ask(listen_request("l", toolsListChanged=True))
        await line.send(hang)
        await eventually(d.pipeline.hanging.is_set)
        closing = asyncio.create_task(d.edge.aclose())
        told = [await line.read(), await line.read()]
        assert told[0]["id"] == "l"
        assert told[1]["method"] == "notifications/cancelled"
        d.pipeline.release.set()
        assert (await line.read())["id"] == 2
        assert await line.read() is None
        await asyncio.wait_for(closing, 5)


async def test_stopping_does_not_wait_longer_than_the_drain_time() -> None:
    async with door(limits=replace(LIMITS, drain_s=0.02)) as d, d.connect() as line:
        await line.ask(initialize())
        await line.send(call("hang"))
        await eventually(d.pipeline.hanging.is_set)
        await asyncio.wait_for(d.edge.aclose(), 5)
        assert len(d.pipeline.cancelled) == 1
