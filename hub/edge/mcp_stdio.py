"""MCP over newline-delimited JSON: one conversation on one pair of streams, and the loopback door for bridges.

Owns lines, their cap and the hello; what the messages mean is `conversation.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from hub.core.call import Principal
from hub.core.ports import Endpoint, Surface
from hub.edge.admission import meant_for
from hub.edge.conversation import Conversation
from hub.edge.line_stream import LineStream
from hub.edge.logins import FailedLogins
from hub.edge.outbox import STALL_S, Outbox
from hub.edge.ports import EdgePorts
from hub.edge.refused import invalid
from hub.wire import jsonrpc
from hub.wire.decode import Refusal
from hub.wire.lines import TooLong

GRACE_S: Final = 5.0  # for calls in flight when the client closes its end
HELLO_S: Final = 5.0

Authenticate = Callable[[str, Surface], Principal | None]


class StdioEdge:
    def __init__(self, ports: EdgePorts, *, grace_s: float = GRACE_S, stall_s: float = STALL_S) -> None:
        """`grace_s`: for calls in flight when a client closes its end; `stall_s`: how long one may leave all unread."""
        self.ports = ports
        self._grace_s, self._stall_s = grace_s, stall_s
        self.logins = FailedLogins(ports.journal)
        self._stopping = False
        self._readers: set[anyio.CancelScope] = set()
        self._left = asyncio.Event()

    async def serve(
        self, lines: LineStream, who: Principal, endpoint: Endpoint, *, stands: Callable[[], bool] = lambda: True
    ) -> None:
        """Hold one conversation until the client closes its end, its credential ends or the hub stops."""
        self.ports.connected("stdio", 1)
        outbox = Outbox(self.ports.limits.back_queue, stall_s=self._stall_s)
        reading = anyio.CancelScope()
        self._readers.add(reading)
        try:
            async with anyio.create_task_group() as tasks:
                conversation = Conversation(
                    self.ports, who, endpoint, "stdio", outbox=outbox, tasks=tasks, stands=stands
                )
                tasks.start_soon(_write, lines, outbox, tasks, self._stall_s)
                try:
                    with reading:
                        await self._read(lines, conversation)
                    await conversation.settle(self.ports.limits.drain_s if self._stopping else self._grace_s)
                finally:
                    conversation.close()
                    outbox.finish()
        finally:
            self._readers.discard(reading)
            self._left.set()
            lines.close()
            self.ports.connected("stdio", -1)

    async def aclose(self) -> None:
        """Stop reading, let calls in flight be answered within the drain time, end every conversation."""
        self._stopping = True
        for reading in list(self._readers):
            reading.cancel()
        with anyio.move_on_after(self.ports.limits.drain_s + self._grace_s):
            while self._readers:
                self._left.clear()
                await self._left.wait()
        await self.logins.aclose()

    async def _read(self, lines: LineStream, conversation: Conversation) -> None:
        cap = self.ports.limits.body_bytes
        try:
            while not self._stopping and (line := await lines.read()) is not None:
                if isinstance(line, TooLong):
                    await conversation.refuse_unread(invalid(f"a message may have at most {cap} bytes"), "too_large")
                    continue
                try:
                    message = jsonrpc.loads(line)
                except jsonrpc.Malformed as exc:
                    await conversation.refuse_unread(Refusal(jsonrpc.PARSE_ERROR, f"Parse error: {exc}"))
                    continue
                await conversation.receive(message, len(line))
        except OSError:
            conversation.cut()  # a connection that broke has no other end to answer to


async def _write(lines: LineStream, outbox: Outbox, tasks: TaskGroup, stall_s: float) -> None:
    """Write until there is nothing more to come. A client that does not read ends the conversation."""
    try:
        while (line := await outbox.take()) is not None:
            with anyio.fail_after(stall_s):
                await lines.write(line)
    except (OSError, TimeoutError):
        outbox.cut()
        lines.abort()
    tasks.cancel_scope.cancel()


async def listen(
    edge: StdioEdge,
    authenticate: Authenticate,
    endpoints: Mapping[str, Endpoint],
    *,
    host: str = "127.0.0.1",
    hello_s: float = HELLO_S,
) -> asyncio.Server:
    """Listen for bridges on a free port of `host`. A connection speaks MCP after one line of hello each way.

    Hello: {"mcp-hub-stdio": 1, "secret": ..., "endpoint": NAME}, within `hello_s`. What is none is closed without a
    word.
    """
    door = _Door(edge, authenticate, endpoints, hello_s)
    return await asyncio.start_server(door.enter, host, 0)


class _Door:
    def __init__(
        self, edge: StdioEdge, authenticate: Authenticate, endpoints: Mapping[str, Endpoint], hello_s: float
    ) -> None:
        self._edge, self._authenticate, self._endpoints, self._hello_s = edge, authenticate, endpoints, hello_s
        self._inside = 0

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limits = self._edge.ports.limits
        self._inside += 1
        try:
            hello = await _hello(reader, self._hello_s) if self._inside <= limits.connections else None
            if hello is not None:
                lines = LineStream(reader, writer, limits.body_bytes)
                await self._greet(hello, lines, writer)
        except OSError:
            pass  # it left before it was let in
        finally:
            self._inside -= 1
            writer.close()

    async def _greet(self, hello: Mapping[str, Any], lines: LineStream, writer: asyncio.StreamWriter) -> None:
        secret: str = hello["secret"]
        who = self._authenticate(secret, "mcp")
        if who is not None and not meant_for(who, "mcp", hello["endpoint"]):
            who = None
        endpoint = self._endpoints.get(hello["endpoint"])
        fault = ""
        if who is None:
            self._edge.logins.failed(str((writer.get_extra_info("peername") or [""])[0]))
            fault = "the secret is not valid here; the hub may have been started anew"
        elif "mcp" not in who.scopes:
            fault = "this credential has not the scope mcp"
        elif endpoint is None:
            fault = "there is no such endpoint; it is NAME of /NAME/mcp in the hub's configuration"
        if who is None or endpoint is None or fault:
            self._edge.ports.refused("unauthenticated" if who is None else "forbidden")
            await lines.write(jsonrpc.dumps({"error": fault}))
            return

        def stands() -> bool:
            return self._authenticate(secret, "mcp") == who

        await lines.write(b'{"ok":true}')
        await self._edge.serve(lines, who, endpoint, stands=stands)


async def _hello(reader: asyncio.StreamReader, hello_s: float) -> dict[str, Any] | None:
    """The hello, or None for anything else."""
    try:
        async with asyncio.timeout(hello_s):
            said = jsonrpc.loads(await reader.readline())
    except (TimeoutError, ValueError):  # late, longer than the reader takes, or no JSON
        return None
    if not isinstance(said, dict) or said.get("mcp-hub-stdio") != 1:
        return None
    return said if isinstance(said.get("secret"), str) and isinstance(said.get("endpoint"), str) else None
