"""The bridge between a client's stdio and a hub: raw clients, hubs that stop, and the SDK's client through it."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent

from hub.cli.bridge import LINE_BYTES, Patience, Rejected, bridge, dial
from hub.edge.mcp_stdio import StdioEdge, listen
from hub.edge.ports import Limits
from tests.edge.fakes import CLIENT_TOKEN, FakeChanges, FakePipeline, eventually, fake_ports
from tests.edge.test_conversation import MODERN
from tests.edge.test_legacy import call, initialize, note, request

QUICK = Patience(reconnect_s=5.0, first_delay_s=0.01, last_delay_s=0.02)


class Hub:
    """A hub that can be stopped and started again behind the same name."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self.port = 0
        self.tries = 0
        self.secret, self.endpoint = CLIENT_TOKEN, ""

    async def start(self, **limits: Any) -> None:
        self.ports = fake_ports(limits=replace(Limits(), drain_s=0.05, **limits))
        self.edge = StdioEdge(self.ports, grace_s=0.05)
        assert isinstance(self.ports.handle, FakePipeline)
        assert isinstance(self.ports.changes, FakeChanges)
        self.pipeline, self.changes = self.ports.handle, self.ports.changes
        self._server = await listen(self.edge, self.ports.authenticator.verify, self.ports.endpoints)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a crash: nothing in flight is answered."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await self.edge.aclose()

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        self.tries += 1
        return await dial("127.0.0.1", self.port, self.secret, self.endpoint)


class Client_:
    """A client's ends of the bridge's stdio."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, bridging: asyncio.Task[int]) -> None:
        self._reader, self.writer, self.bridging = reader, writer, bridging

    async def send(self, message: Any) -> None:
        self.writer.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        await self.writer.drain()

    async def read(self) -> Any:
        return json.loads(await asyncio.wait_for(self._reader.readline(), 5))

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.read()

    async def code(self) -> int:
        return await asyncio.wait_for(asyncio.shield(self.bridging), 5)


@asynccontextmanager
async def hub() -> AsyncIterator[Hub]:
    made = Hub()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def client(connect: Any, patience: Patience = QUICK) -> AsyncIterator[Client_]:
    ours, theirs = socket.socketpair()
    stdin, stdout = await asyncio.open_connection(sock=theirs)
    reader, writer = await asyncio.open_connection(sock=ours, limit=2**24)
    bridging = asyncio.create_task(bridge(connect, stdin, stdout, patience))
    try:
        yield Client_(reader, writer, bridging)
    finally:
        writer.close()
        bridging.cancel()
        await asyncio.wait([bridging])
        stdout.close()


# ---- while the hub lives


async def test_messages_pass_both_ways() -> None:
    async with hub() as h, client(h.connect) as c:
        assert (await c.ask(initialize()))["id"] == "init"
        await c.send(note("notifications/initialized"))
        assert (await c.ask(call("echo", text="hi")))["result"]["content"][0]["text"] == "hi"
        assert h.pipeline.calls[0].client.transport == "stdio"


async def test_garbage_is_the_hubs_to_answer() -> None:
    async with hub() as h, client(h.connect) as c:
        assert (await c.ask(b"{"))["error"]["code"] == -32700


async def test_a_line_too_long_for_the_hub_is_refused_under_its_own_id() -> None:
    async with hub() as h, client(h.connect) as c:
        await h.stop()
        await h.start(body_bytes=1000)
        answer = await c.ask(call("echo", "mine", text="x" * 2000))
        assert answer["id"] == "mine"
        assert "1000 bytes" in answer["error"]["message"]


async def test_a_client_that_ends_waits_for_the_answers_in_flight() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        await c.send(call("hang", 5))
        await eventually(h.pipeline.hanging.is_set)
        c.writer.write_eof()
        h.pipeline.release.set()
        assert (await c.read())["id"] == 5
        assert await c.code() == 0


async def test_a_last_line_without_its_end_is_still_sent() -> None:
    async with hub() as h, client(h.connect) as c:
        c.writer.write(json.dumps(request("ping")).encode())
        c.writer.write_eof()
        assert (await c.read())["id"] == 1
        assert await c.code() == 0


async def test_a_client_that_ends_does_not_wait_for_ever() -> None:
    async with hub() as h, client(h.connect, replace(QUICK, grace_s=0.01)) as c:
        await c.ask(initialize())
        await c.send(call("hang"))
        await eventually(h.pipeline.hanging.is_set)
        c.writer.write_eof()
        assert await c.code() == 0


async def test_a_client_that_never_said_anything_ends_well() -> None:
    async with hub() as h, client(h.connect) as c:
        c.writer.write_eof()
        assert await c.code() == 0


async def test_a_client_that_reads_no_more_ends_the_bridge() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        c.writer.transport.abort()
        assert await c.code() == 0


async def test_a_client_that_keeps_its_input_open_but_reads_no_more_ends_the_bridge() -> None:
    async with hub() as h:
        stdin = StreamReader()
        ours, theirs = socket.socketpair()
        _, stdout = await asyncio.open_connection(sock=theirs)
        ours.close()
        bridging = asyncio.create_task(bridge(h.connect, stdin, stdout, QUICK))
        for id in range(100):  # the first writes may still find room
            stdin.feed_data(json.dumps(request("ping", id=id)).encode() + b"\n")
        assert await asyncio.wait_for(bridging, 5) == 0
        stdout.close()


async def test_input_that_cannot_be_read_is_input_that_has_ended() -> None:
    async with hub() as h:
        stdin = StreamReader()
        stdin.set_exception(ConnectionResetError("gone"))
        ours, theirs = socket.socketpair()
        _, stdout = await asyncio.open_connection(sock=theirs)
        assert await asyncio.wait_for(bridge(h.connect, stdin, stdout, QUICK), 5) == 0
        stdout.close()
        ours.close()


# ---- when the hub goes away


async def test_calls_in_flight_are_answered_with_their_outcome_unknown() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        await c.send(call("hang", 9))
        await eventually(h.pipeline.hanging.is_set)
        await h.stop()
        answer = await c.read()
        assert answer["id"] == 9
        assert "unknown" in answer["error"]["message"]


async def test_a_legacy_session_outlives_its_hub() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        await c.send(note("notifications/initialized"))
        await c.ask(request("logging/setLevel", {"level": "error"}))
        await c.ask(request("resources/subscribe", {"uri": "demo+file:///readme"}, 2))
        await h.stop()
        await h.start()
        told = [(await c.read())["method"] for _ in range(3)]
        assert told == [f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")]
        await c.send(call("talk", 3))
        assert (await c.read())["params"]["level"] == "error"
        assert (await c.read())["id"] == 3
        assert len(h.changes.watchers) == 1
        assert [made.method for made in h.pipeline.calls] == ["resources/subscribe", "tools/call"]


async def test_a_modern_client_goes_on_with_the_new_hub() -> None:
    async with hub() as h, client(h.connect) as c:
        asked = call("echo", 1, text="a")
        asked["params"]["_meta"] = MODERN
        assert "result" in await c.ask(asked)
        await h.stop()
        await h.start()
        assert "result" in await c.ask({**asked, "id": 2})


async def test_what_is_sent_while_there_is_no_hub_reaches_the_next_one() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        await c.send(note("notifications/initialized"))
        await h.stop()
        await eventually(lambda: h.tries > 1)
        await c.send(request("ping", id=5))
        await h.start()
        while (answer := await c.read()).get("id") != 5:
            assert "method" in answer
        assert answer["result"] == {}


async def test_a_write_is_never_sent_twice() -> None:
    async with hub() as h, client(h.connect) as c:
        await c.ask(initialize())
        await c.send(call("hang", 1))
        await eventually(h.pipeline.hanging.is_set)
        await h.stop()
        await c.read()
        await h.start()
        await c.ask(request("ping", id=2))
        assert h.pipeline.calls == []


async def test_without_a_hub_everything_is_answered_and_the_bridge_fails(capsys: pytest.CaptureFixture[str]) -> None:
    async def nowhere() -> tuple[StreamReader, StreamWriter]:
        raise ConnectionRefusedError("nobody listens")

    async with client(nowhere, Patience(reconnect_s=0.05, first_delay_s=0.01)) as c:
        answer = await c.ask(initialize())
        assert "no hub can be reached" in answer["error"]["message"]
        assert await c.code() == 1
    assert "nobody listens" in capsys.readouterr().err


async def test_a_hub_that_does_not_answer_in_time_is_no_hub() -> None:
    async def slow() -> tuple[StreamReader, StreamWriter]:
        await asyncio.Event().wait()
        raise AssertionError

    async with client(slow, Patience(reconnect_s=0.05, first_delay_s=0.01)) as c:
        await c.send(request("ping"))
        assert await c.code() == 1


async def test_a_client_that_left_is_not_waited_for_by_reconnecting() -> None:
    tries = 0

    async def nowhere() -> tuple[StreamReader, StreamWriter]:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError

    async with client(nowhere, replace(QUICK, reconnect_s=60.0)) as c:
        await eventually(lambda: tries > 1)
        c.writer.write_eof()
        assert await c.code() == 0


async def test_a_hub_that_hangs_up_at_once_is_not_hammered() -> None:
    tries = 0

    async def fleeting() -> tuple[StreamReader, StreamWriter]:
        nonlocal tries
        tries += 1
        ours, theirs = socket.socketpair()
        theirs.close()
        return await asyncio.open_connection(sock=ours)

    async with client(fleeting, Patience(reconnect_s=0.1, first_delay_s=0.02, last_delay_s=0.02)) as c:
        assert await c.code() == 1
    assert tries <= 7


async def test_a_hub_that_held_for_a_while_may_be_looked_for_anew() -> None:
    far_ends: list[socket.socket] = []

    async def brief() -> tuple[StreamReader, StreamWriter]:
        ours, theirs = socket.socketpair()
        far_ends.append(theirs)
        asyncio.get_running_loop().call_later(0.02, theirs.close)
        return await asyncio.open_connection(sock=ours)

    patience = Patience(reconnect_s=0.05, first_delay_s=0.01, last_delay_s=0.01, steady_s=0.01)
    async with client(brief, patience) as c:
        await eventually(lambda: len(far_ends) > 6)  # 0.02 s each: far beyond the time for one outage
        assert not c.bridging.done()
    for far_end in far_ends:
        far_end.close()


async def test_a_hub_that_sends_a_line_without_end_is_left() -> None:
    far_ends: list[socket.socket] = []

    async def endless() -> tuple[StreamReader, StreamWriter]:
        ours, theirs = socket.socketpair()
        far_ends.append(theirs)
        _, writer = await asyncio.open_connection(sock=ours)
        reader = StreamReader()
        reader.feed_data(b"x" * (LINE_BYTES + 1) + b"\n" if len(far_ends) == 1 else b"")
        return reader, writer

    async with client(endless):
        await eventually(lambda: len(far_ends) == 2)
    for far_end in far_ends:
        far_end.close()


async def test_what_was_never_sent_is_answered_though_the_client_has_ended() -> None:
    async def nowhere() -> tuple[StreamReader, StreamWriter]:
        raise ConnectionRefusedError

    async with client(nowhere, Patience(reconnect_s=0.05, first_delay_s=0.01)) as c:
        await c.send(request("ping"))
        c.writer.write_eof()
        assert "nothing was sent" in (await c.read())["error"]["message"]
        assert await c.code() == 1


async def test_a_refused_bridge_says_why_and_does_not_try_again(capsys: pytest.CaptureFixture[str]) -> None:
    async with hub() as h:
        h.secret = "wrong"
        async with client(h.connect) as c:
            await c.send(request("ping"))
            assert await c.code() == 1
    assert "secret" in capsys.readouterr().err


async def test_a_refused_bridge_fails_though_the_client_has_ended() -> None:
    """`mcp-hub stdio --endpoint TYPO </dev/null` must not look like a success."""
    async with hub() as h:
        h.secret = "wrong"
        async with client(h.connect) as c:
            c.writer.write_eof()
            await asyncio.sleep(0)
            assert await c.code() == 1


async def test_a_line_that_no_client_needs_is_refused_here() -> None:
    async with hub() as h, client(h.connect) as c:
        for _ in range(LINE_BYTES // 2**20 + 1):
            c.writer.write(b"x" * 2**20)
            await c.writer.drain()
        answer = await c.ask(b"")
        assert answer["id"] is None
        assert str(LINE_BYTES) in answer["error"]["message"]
        assert (await c.ask(request("ping")))["result"] == {}


# ---- the hello


async def test_dialling_says_hello_and_is_let_in() -> None:
    async with hub() as h:
        _, writer = await h.connect()
        writer.close()


@pytest.mark.parametrize(("secret", "endpoint", "word"), [("wrong", "", "secret"), (CLIENT_TOKEN, "no", "endpoint")])
async def test_a_refusal_is_told_in_the_hubs_words(secret: str, endpoint: str, word: str) -> None:
    async with hub() as h:
        with pytest.raises(Rejected, match=word):
            await dial("127.0.0.1", h.port, secret, endpoint)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400\r\n", b"x" * 100_000 + b"\n"])
async def test_a_port_that_is_no_hub_can_be_tried_again(answer: bytes) -> None:
    async def other(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        with pytest.raises(OSError, match="hello"):
            await dial("127.0.0.1", server.sockets[0].getsockname()[1], CLIENT_TOKEN, "")


@pytest.mark.parametrize("answer", [b"[]\n", b'{"ok":false}\n'])
async def test_an_answer_that_is_no_yes_is_a_no(answer: bytes) -> None:
    async def other(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Rejected):
            await dial("127.0.0.1", server.sockets[0].getsockname()[1], CLIENT_TOKEN, "")


# ---- a real client, in a process of its own

PROGRAM = """
import asyncio, sys
from hub.cli.bridge import bridge, dial

async def main():
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout.buffer)
    stdout = asyncio.StreamWriter(transport, protocol, None, loop)
    assert "mcp" not in sys.modules
    return await bridge(lambda: dial("127.0.0.1", int(sys.argv[1]), sys.argv[2], ""), stdin, stdout)

sys.exit(asyncio.run(main()))
"""


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_a_real_client_speaks_through_the_bridge(mode: Any, tmp_path: Path) -> None:
    program = tmp_path / "bridge.py"
    program.write_text(PROGRAM)
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with hub() as h:
        transport = stdio_client(
            StdioServerParameters(command=sys.executable, args=[str(program), str(h.port), CLIENT_TOKEN])
        )
        async with Client(transport, mode=mode) as it:
            assert (await it.list_tools()).tools[0].name == "demo__echo"
            result = await it.call_tool("demo__echo", {"text": "hi"})
            assert isinstance(result.content[0], TextContent)
            assert result.content[0].text == "hi"
            await it.call_tool("demo__talk", {}, progress_callback=on_progress)
            await eventually(lambda: told == [1, 2, 3])
            running = asyncio.create_task(it.call_tool("demo__hang", {}))
            await asyncio.wait_for(h.pipeline.hanging.wait(), 5)
            running.cancel()
            await asyncio.wait([running])
            await eventually(lambda: len(h.pipeline.cancelled) == 1)
        assert {made.client.era for made in h.pipeline.calls} == {"legacy" if mode == "legacy" else "modern"}
