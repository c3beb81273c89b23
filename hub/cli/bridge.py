"""Pumps MCP lines between a client's stdin and stdout and a running hub, and outlives that hub.

Standard output carries MCP and nothing else. Knows nothing of what the lines ask for: see `remembered.py`.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hub.cli.remembered import Remembered
from hub.wire import jsonrpc
from hub.wire.lines import LineSplitter, TooLong

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]

HELLO_S: Final = 10.0
LINE_BYTES: Final = 64 * 1024 * 1024
WAITING_LINES: Final = 64
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    reconnect_s: float = 30.0  # how long a client waits for a hub that went away
    first_delay_s: float = 0.05  # between two attempts; doubled each time
    last_delay_s: float = 2.0
    steady_s: float = 5.0  # a silent connection that held this long was no failed attempt
    grace_s: float = 5.0  # for answers in flight when the client closes its end


class Rejected(Exception):
    """The hub answered the hello with a refusal; its text says why. Trying again is of no use."""


class _ClientGone(Exception):
    """Nobody reads standard output any more."""


async def dial(host: str, port: int, secret: str, endpoint: str) -> tuple[StreamReader, StreamWriter]:
    """Connect to the stdio listener of a running hub and say hello.

    Raises OSError or TimeoutError when no hub answers, `Rejected` when it refuses.
    """
    async with asyncio.timeout(HELLO_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(jsonrpc.dumps({"mcp-hub-stdio": 1, "secret": secret, "endpoint": endpoint}) + b"\n")
            await writer.drain()
            refusal = await _refusal(reader)
        except BaseException:
            writer.close()
            raise
    if refusal is None:
        return reader, writer
    writer.close()
    raise Rejected(refusal)


async def _refusal(reader: StreamReader) -> str | None:
    """What the hub answers the hello with: None when it says yes, else its words."""
    try:
        said = jsonrpc.loads(await reader.readline())
    except ValueError as exc:  # no JSON, or longer than any answer is
        raise ConnectionResetError("the hub did not answer the hello") from exc
    if not isinstance(said, dict):
        return "refused"
    return None if said.get("ok") is True else str(said.get("error", "refused"))


async def bridge(connect: Connect, stdin: StreamReader, stdout: StreamWriter, patience: Patience = Patience()) -> int:
    """Pump until the client closes its end (0) or no hub can be reached or lets it in (1).

    `connect` may start a hub. It raises OSError or TimeoutError to be called again, `Rejected` to give up.
    """
    return await _Bridge(connect, stdin, stdout, patience).run()


class _Bridge:
    def __init__(self, connect: Connect, stdin: StreamReader, stdout: StreamWriter, patience: Patience) -> None:
        self._dial, self._stdin, self._stdout, self._patience = connect, stdin, stdout, patience
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING_LINES)  # None: the client closed its end
        self._memory = Remembered()
        self._ended = self._rejected = False
        self._heard = asyncio.Event()
        self._failing_since: float | None = None
        self._delay_s = patience.first_delay_s

    async def run(self) -> int:
        reading = asyncio.create_task(self._read())
        try:
            return await self._serve()
        except _ClientGone:
            return 0
        finally:
            await _end(reading)

    async def _serve(self) -> int:
        again = False
        while (link := await self._connect()) is not None:
            if again:
                await self._write(*self._memory.changed())
            again = True
            reader, writer = link
            try:
                if await self._pump(reader, writer):
                    return 0
            finally:
                writer.close()
            await self._write(*self._memory.lost())
        return await self._give_up()

    async def _connect(self) -> tuple[StreamReader, StreamWriter] | None:
        """A connection to a hub, or None when there is none to be had or nobody to want it."""
        clock = asyncio.get_running_loop().time
        if self._failing_since is None:
            self._failing_since, self._delay_s = clock(), self._patience.first_delay_s
        else:  # the hub came, said nothing and went: no reason to be quicker this time
            await asyncio.sleep(self._next_delay_s())
        deadline = self._failing_since + self._patience.reconnect_s
        while not self._over():
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._dial()
            except Rejected as exc:
                print(f"mcp-hub: {exc}", file=sys.stderr)
                self._rejected = True
                return None
            except (OSError, EOFError, TimeoutError) as exc:
                delay_s = self._next_delay_s()
                if clock() + delay_s >= deadline:
                    print(f"mcp-hub: no hub can be reached: {str(exc) or type(exc).__name__}", file=sys.stderr)
                    return None
                await asyncio.sleep(delay_s)
        return None

    def _next_delay_s(self) -> float:
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * 2, self._patience.last_delay_s)
        return delay_s

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Until one end closes. True: it was the client's, and what it waited for was answered or took too long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        up, down = asyncio.create_task(self._up(writer)), asyncio.create_task(self._down(reader))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and up.exception() is None:
                return await self._settled(down)
        finally:
            await _end(up, down)
        if clock() - began > self._patience.steady_s:
            self._failing_since = None
        return False

    async def _up(self, writer: StreamWriter) -> None:
        for line in self._memory.replay():
            writer.write(line + b"\n")
        while (said := await self._lines.get()) is not None:
            self._memory.sent(said)
            writer.write(said + b"\n")
            await writer.drain()
        self._lines.put_nowait(None)  # for the next connection, should this one not outlive its answers

    async def _down(self, reader: StreamReader) -> None:
        splitter = LineSplitter(LINE_BYTES)
        try:
            while chunk := await reader.read(_CHUNK):
                for line in splitter.feed(chunk):
                    if isinstance(line, TooLong):
                        return  # more than any hub sends: what follows cannot be trusted
                    self._failing_since = None
                    if (passed := self._memory.received(line)) is not None:
                        await self._write(passed)
                    self._heard.set()
        finally:
            self._heard.set()

    async def _settled(self, down: asyncio.Task[None]) -> bool:
        """The client has closed its end: let it have the answers it waits for. False: the hub went away first."""
        try:
            async with asyncio.timeout(self._patience.grace_s):
                while self._memory.waits and not down.done():
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            pass  # what takes longer is not waited for
        return not self._memory.waits or not down.done()

    async def _read(self) -> None:
        splitter = LineSplitter(LINE_BYTES)
        try:
            while chunk := await self._stdin.read(_CHUNK):
                for line in splitter.feed(chunk):
                    await self._take(line)
            if (last := splitter.end()) is not None:
                await self._take(last)
        except (OSError, _ClientGone):
            pass  # a client that cannot be read has closed its end
        self._ended = True
        await self._lines.put(None)

    async def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            error = jsonrpc.error(None, -32600, f"a message may have at most {LINE_BYTES} bytes")
            await self._write(jsonrpc.dumps(error))
        else:
            await self._lines.put(line)

    def _over(self) -> bool:
        """Whether the client has closed its end and nothing it said waits to be sent or answered."""
        return self._ended and self._lines.qsize() <= 1 and not self._memory.waits

    async def _give_up(self) -> int:
        """Answer whatever waits: nothing of it ever reached a hub, or it is an `initialize`."""
        if self._over():
            return 1 if self._rejected else 0
        while not self._lines.empty():
            if (line := self._lines.get_nowait()) is not None:
                self._memory.sent(line)
        await self._write(*self._memory.unanswered())
        return 1

    async def _write(self, *lines: bytes) -> None:
        try:
            for line in lines:
                self._stdout.write(line + b"\n")
            await self._stdout.drain()
        except OSError as exc:
            raise _ClientGone from exc


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Stop these tasks and wait for them; a connection that broke under one is no news, anything else is raised."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, OSError | asyncio.CancelledError):
            raise result
