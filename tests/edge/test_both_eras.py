"""All edges behind one door on one port, and a whole pipeline behind them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from hub.core.call import Call, Denied, HubOwned, Outcome
from hub.core.pipeline import Pipeline, Record
from hub.core.ports import Next
from hub.edge.http import HubApp
from hub.edge.mcp_legacy import LegacyEdge
from hub.edge.mcp_modern import ModernEdge
from hub.edge.mcp_sse import SseEdge
from hub.edge.ports import EdgePorts, Limits
from hub.edge.request import Receive, Request, Send
from hub.wire import jsonrpc
from tests.edge.fakes import CLIENT_TOKEN, eventually, fake_ports
from tests.edge.harness import Wire, door, modern, modern_headers, rest, scope, served

HEADERS = {"authorization": f"Bearer {CLIENT_TOKEN}"}
Mode = Literal["2026-07-28", "auto", "legacy"]
MODES: tuple[Mode, ...] = ("2026-07-28", "auto", "legacy")


@asynccontextmanager
async def hub() -> AsyncIterator[tuple[str, EdgePorts, asyncio.Event]]:
    ports = fake_ports()
    app = HubApp(ports, ModernEdge(ports), LegacyEdge(ports), SseEdge(ports), rest, metrics_open=True)
    async with served(app, Limits(drain_s=3.0)) as (host, port, stopping):
        yield f"http://{host}:{port}", ports, stopping


@pytest.mark.parametrize("mode", MODES)
async def test_one_path_serves_both_eras(mode: Mode) -> None:
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with hub() as (url, ports, _), httpx2.AsyncClient(headers=HEADERS) as http:
        async with Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client:
            assert len((await client.list_tools()).tools) == 4
            await client.call_tool("demo__talk", {}, progress_callback=on_progress)
            await eventually(lambda: told == [1, 2, 3])
        pipeline: Any = ports.handle
        assert {call.client.era for call in pipeline.calls} == {"legacy" if mode == "legacy" else "modern"}


async def test_the_older_transport_is_beside_it() -> None:
    async with hub() as (url, _, _), Client(sse_client(f"{url}/team/sse", headers=HEADERS), mode="legacy") as client:
        assert len((await client.list_tools()).tools) == 4


async def test_open_streams_of_every_kind_do_not_hold_up_the_drain() -> None:
    async with (
        hub() as (url, _, stopping),
        httpx2.AsyncClient(headers=HEADERS) as http,
        http.stream("GET", f"{url}/sse") as events,
    ):
        assert events.status_code == 200
        stopping.set()
        async with asyncio.timeout(5):
            async for _ in events.aiter_raw():
                pass


class Hanging:
    name = "dispatch"

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError


class Passing:
    name = "resolve"

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        return await next(replace(call, target=HubOwned()))


class Auditing:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    async def intent(self, record: Record) -> None:
        raise AssertionError("nothing is written")

    async def finish(self, record: Record, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        await asyncio.sleep(0)


async def test_a_client_that_leaves_is_logged_as_cancelled_by_the_real_pipeline() -> None:
    dispatch, audit = Hanging(), Auditing()
    it = door(fake_ports(handle=Pipeline([Passing()], dispatch, audit).handle))
    wire = Wire(jsonrpc.dumps(modern("tools/call", name="x")))
    running = asyncio.create_task(
        it.app(scope("POST", "/mcp", modern_headers("tools/call", "x")), wire.receive, wire.send)
    )
    await dispatch.reached.wait()
    wire.left.set()
    async with asyncio.timeout(5):
        await running
    (outcome,) = audit.outcomes
    assert isinstance(outcome, Denied)
    assert outcome.code == "cancelled"
    assert wire.sent == []


class Seeing(LegacyEdge):
    """Counts the requests that may be answered the short way."""

    short = 0

    async def post(self, request: Request, receive: Receive, send: Send) -> None:
        self.short += request.whole is not None
        await super().post(request, receive, send)


ALIKE: tuple[Any, ...] = (
    ("tools/call", {"name": "demo__echo", "arguments": {"text": "gr\u00fc\u00df dich"}}),
    ("tools/call", {"name": "demo__echo", "arguments": {}, "_meta": {"progressToken": 7}}),
    ("tools/call", {"name": "demo__talk", "arguments": {}, "_meta": {"progressToken": 7}}),
    ("tools/call", {"name": "demo__talk", "arguments": {}}),
    ("tools/call", {"name": "demo__fail", "arguments": {}}),
    ("tools/call", {"name": 5}),
    ("tools/list", {}),
    ("ping", {}),
    ("no/such", {}),
    ("initialize", {}),
    ("notifications/cancelled", {"requestId": "nobody's"}),
)


@pytest.mark.parametrize(("method", "params"), ALIKE)
async def test_a_session_is_answered_alike_the_short_way_and_the_long(method: str, params: Any) -> None:
    ports = fake_ports()
    edge = Seeing(ports)
    app = HubApp(ports, ModernEdge(ports), edge, SseEdge(ports), rest, metrics_open=True)
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}}
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    if not method.startswith("notifications/"):
        message["id"] = "q"
    async with served(app, Limits(drain_s=3.0)) as (host, port, _):
        reader, writer = await asyncio.open_connection(host, port)
        begun = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening}
        session = (await told(reader, writer, begun))[1]["mcp-session-id"]
        long = await told(reader, writer, message, session)
        before = edge.short
        short = await told(reader, writer, message, session)
        assert edge.short == before + 1, "its head had come before on this connection"
        assert short == long
        writer.close()


async def told(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Any, session: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One POST in one piece; status, headers and body of its answer, call ids and the date blotted out."""
    body = jsonrpc.dumps(message)
    of_session = "" if session is None else f"mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n"
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {CLIENT_TOKEN}\r\n{of_session}"
        f"accept: application/json, text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    async with asyncio.timeout(5):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if "content-length" in headers:
            answer = await reader.readexactly(int(headers["content-length"]))
        else:
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")
    blotted = {name: _CALL_ID.sub("ID", value) for name, value in headers.items() if name != "date"}
    return int(first.split()[1]), blotted, _CALL_ID.sub("ID", answer.decode()).encode()


_CALL_ID = re.compile("[0-9a-f]{12}-[0-9a-f]{6}")
