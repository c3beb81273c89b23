"""The three pipes of a child: lines in, messages out, and the last words it printed on stderr.

No part of it waits for the child without a bound, and a child that floods is read no faster than is good for others.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, cast

from hub.core.errors import Unreachable
from hub.downstream.child import Child, Guard, Program
from hub.downstream.framing import Lines, Overlong

log = logging.getLogger(__name__)

LINES_PER_TURN: Final = 128  # then others have their turn
TURN_PAUSE_S: Final = 0.01
FREE_LINES: Final = 1000  # of one second; answers to as many calls are no flood
LINES_PER_S: Final = 4000  # after those: more than a child can usefully say, and a tenth of what the hub could read
STDOUT_PER_TURN: Final = 4 * 1024 * 1024  # bytes of whatever lines, before others have their turn
STDERR_BYTES, STDERR_LINES, STDERR_LINE_BYTES = 64 * 1024, 200, 4096
STDERR_PER_TURN: Final = 1024 * 1024  # read at full speed; more waits for the next turn
WRITE_BUFFER_BYTES: Final = 256 * 1024
SECRET_LENGTH: Final = 6  # shorter values of the environment are words like "true", not secrets


class LastWords:
    """The end of a child's stderr, in a ring; outlives the child, so that a failed start can be explained."""

    def __init__(self, server: str, env: Mapping[str, str]) -> None:
        self._server = server
        self._secrets = tuple(sorted((v for v in env.values() if len(v) >= SECRET_LENGTH), key=len, reverse=True))
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk[-STDERR_BYTES:]).split(b"\n")
        self._rest = rest[-STDERR_LINE_BYTES:]
        for line in lines[-STDERR_LINES:]:
            self._keep(line[:STDERR_LINE_BYTES].rstrip())

    def lines(self) -> tuple[str, ...]:
        """Oldest first; values that the configuration put into the child's environment are blanked."""
        return tuple(self._readable(line) for line in (*self._lines, self._rest) if line)

    def _keep(self, line: bytes) -> None:
        if not line:
            return
        self._lines.append(line)
        self._size += len(line)
        while len(self._lines) > STDERR_LINES or self._size > STDERR_BYTES:
            self._size -= len(self._lines.popleft())
        if log.isEnabledFor(logging.DEBUG):
            log.debug("stderr of %s: %s", self._server, self._readable(line))

    def _readable(self, line: bytes) -> str:
        text = line.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


class _Output(asyncio.Protocol):
    """stdout: whole lines to `take`, and the end of it to `ended`."""

    def __init__(self, cap: int, take: Callable[[bytes | Overlong], None], ended: Callable[[], None]) -> None:
        self._lines, self._take, self._ended = Lines(cap), take, ended
        self._paused = False
        self._pipe: asyncio.ReadTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._second, self._taken, self._read = 0.0, 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = cast(asyncio.ReadTransport, transport)  # uvloop's transports share no base with asyncio's

    def data_received(self, data: bytes) -> None:
        self._lines.feed(data)
        self._read += len(data)
        if not self._paused:
            self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe = None
        self._ended()

    def _work(self) -> None:
        taken = 0
        while taken < LINES_PER_TURN and (line := self._lines.take()) is not None:
            self._take(line)
            taken += 1
        rest_s = self._rest_s(taken)
        if rest_s > 0:
            self._pause(True)
            self._loop.call_later(rest_s, self._work)
        elif self._paused:
            self._pause(False)

    def _rest_s(self, taken: int) -> float:
        """How long to read nothing after a turn of so many lines."""
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._second, self._taken, self._read = now, 0, 0
        self._taken += taken
        if self._taken > FREE_LINES and taken:
            return taken / LINES_PER_S
        if taken < LINES_PER_TURN and self._read < STDOUT_PER_TURN:
            return 0.0
        self._read = 0
        return TURN_PAUSE_S

    def _pause(self, paused: bool) -> None:
        if paused == self._paused or self._pipe is None or self._pipe.is_closing():
            return
        self._paused = paused
        if paused:
            self._pipe.pause_reading()
        else:
            self._pipe.resume_reading()


class _Errors(asyncio.Protocol):
    def __init__(self, words: LastWords) -> None:
        self._words, self._read = words, 0
        self._pipe: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = cast(asyncio.ReadTransport, transport)  # uvloop's transports share no base with asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe = None

    def data_received(self, data: bytes) -> None:
        self._words.feed(data)
        self._read += len(data)
        if self._read > STDERR_PER_TURN and self._pipe is not None:
            self._read = 0
            self._pipe.pause_reading()
            asyncio.get_running_loop().call_later(TURN_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.resume_reading()


class _Input(asyncio.BaseProtocol):
    """stdin, with backpressure."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.lost = False

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.room.set()


class Pipes:
    """A running child and its pipes. Made by `launch`."""

    def __init__(
        self,
        server: str,
        child: Child,
        input: _Input,
        stdin: asyncio.WriteTransport,
        outputs: tuple[asyncio.ReadTransport, asyncio.ReadTransport],
    ) -> None:
        self.child = child
        self._server, self._input, self._stdin, self._outputs = server, input, stdin, outputs
        self._loop = asyncio.get_running_loop()
        self._unwritten: list[bytes] = []  # of this turn of the loop
        self._unwritten_size = 0

    def send(self, message: bytes) -> Awaitable[None] | None:
        """Write one line: None when it is on its way, else what waits for room and then writes it.

        The lines of one turn of the loop go out in one write: each wakes the child, at 10 us of the hub's time.

        Either raises `Unreachable`, having written nothing, when stdin is gone.
        """
        if not self._input.room.is_set():
            return self._send_later(message)
        self._write(message)
        return None

    async def _send_later(self, message: bytes) -> None:
        while not self._input.room.is_set():
            await self._input.room.wait()
        self._write(message)

    def _write(self, message: bytes) -> None:
        if self._input.lost or self._stdin.is_closing():
            raise Unreachable(self._server, "its process takes no more input")
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(message)
        self._unwritten_size += len(message)
        if self._unwritten_size > WRITE_BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        lines, self._unwritten, self._unwritten_size = self._unwritten, [], 0
        if lines and not self._input.lost and not self._stdin.is_closing():
            lines.append(b"")  # so that the last line has its end too
            self._stdin.write(b"\n".join(lines))

    def close_stdin(self) -> None:
        self._flush()
        if self._input.room.is_set():
            self._stdin.close()
        elif not self._input.lost:  # it does not read: what waits in the buffer would keep the pipe open for ever
            self._stdin.abort()

    def close(self) -> None:
        if not self._input.lost:
            self._stdin.abort()
        for output in self._outputs:
            output.close()


async def launch(
    guard: Guard,
    program: Program,
    words: LastWords,
    cap: int,
    take: Callable[[bytes | Overlong], None],
    ended: Callable[[], None],
) -> Pipes:
    """Start a child and read its pipes from now on. Raises `Unreachable`."""
    theirs, ours = _pipes(program.server)
    try:
        child = await guard.spawn(program, theirs)
    except BaseException:
        _close(ours)
        raise
    finally:
        _close(theirs)
    connecting = asyncio.create_task(
        _connected(program.server, child, ours, _Input(), _Output(cap, take, ended), _Errors(words))
    )
    try:
        return await asyncio.shield(connecting)  # half connected, nobody would know whose the descriptors are
    except asyncio.CancelledError:
        child.kill()
        connecting.add_done_callback(lambda done: done.result().close())
        raise


async def _connected(
    server: str, child: Child, ends: tuple[int, int, int], input: _Input, output: _Output, errors: _Errors
) -> Pipes:
    loop = asyncio.get_running_loop()
    stdin, _ = await loop.connect_write_pipe(lambda: input, os.fdopen(ends[0], "wb", 0))
    stdin.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    stdout, _ = await loop.connect_read_pipe(lambda: output, os.fdopen(ends[1], "rb", 0))
    stderr, _ = await loop.connect_read_pipe(lambda: errors, os.fdopen(ends[2], "rb", 0))
    return Pipes(server, child, input, stdin, (stdout, stderr))


def _pipes(server: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(the child's ends, our ends) of stdin, stdout and stderr."""
    made: list[int] = []
    try:
        for _ in range(3):
            made.extend(os.pipe())
    except OSError as exc:
        _close(made)
        raise Unreachable(server, "it could not be started: the hub has no file descriptors left") from exc
    return (made[0], made[3], made[5]), (made[1], made[2], made[4])


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
