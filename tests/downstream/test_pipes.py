"""Pipes under pressure: floods have their turn and no more, and nothing is leaked when there is no room left."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from hub.core.errors import Unreachable
from hub.downstream.child import Guard, Program
from hub.downstream.framing import Overlong
from hub.downstream.pipes import STDERR_BYTES, STDERR_LINES, LastWords, Pipes, launch
from tests.downstream.heard import until


async def run(guard: Guard, code: str, lines: list[bytes | Overlong], ended: list[bool]) -> Pipes:
    program = Program("s", sys.executable, (sys.executable, "-I", "-S", "-c", code), {}, None)
    return await launch(guard, program, LastWords("s", {}), 1 << 16, lines.append, lambda: ended.append(True))


async def test_flood_of_lines_arrives_whole_and_in_order_and_lets_others_run() -> None:
    guard, lines, ended = Guard(), list[bytes | Overlong](), list[bool]()
    pipes = await run(guard, "import sys; sys.stdout.write(''.join(f'{n}\\n' for n in range(6000)))", lines, ended)
    began = monotonic()
    turns = 0

    def is_over() -> bool:
        nonlocal turns
        turns += 1
        return ended != []

    await until(is_over)
    assert lines == [str(n).encode() for n in range(6000)]
    assert turns > 20
    assert monotonic() - began > (6000 - 1000 - 128) / 4000 * 0.9  # a thousand at once, then 4000 a second
    pipes.close()
    pipes.close()
    await guard.aclose()


async def test_flood_of_short_reads_is_slowed_down_too() -> None:
    guard, lines, ended = Guard(), list[bytes | Overlong](), list[bool]()
    code = "import os, time\nwhile True: os.write(1, b'x\\n' * 20); time.sleep(0.0005)"
    pipes = await run(guard, code, lines, ended)
    await until(lambda: len(lines) > 1000)
    began = monotonic()
    await until(lambda: monotonic() - began > 0.8)
    assert len(lines) < 1000 + 1000 + 4000 * 0.8 * 1.2, "what is left of a thousand at once, and 4000 a second"
    pipes.child.kill()
    pipes.close()
    await guard.aclose()


async def test_flood_without_line_ends_has_its_turn_and_no_more() -> None:
    guard, lines, ended = Guard(), list[bytes | Overlong](), list[bool]()
    began = monotonic()
    code = "import sys\nfor _ in range(40): sys.stdout.write('x' * 1024 * 1024)\nprint()\nprint('done')"
    pipes = await run(guard, code, lines, ended)
    await until(lambda: ended != [])
    assert [type(line) for line in lines] == [Overlong, bytes]
    assert monotonic() - began > 9 * 0.01
    pipes.close()
    await guard.aclose()


class Counting(asyncio.WriteTransport):
    """A pipe that writes down what is written at once."""

    def __init__(self, pipe: asyncio.WriteTransport) -> None:
        super().__init__()
        self._pipe, self.writes = pipe, list[bytes]()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        self._pipe.write(data)

    def is_closing(self) -> bool:
        return self._pipe.is_closing()

    def close(self) -> None:
        self._pipe.close()

    def abort(self) -> None:
        self._pipe.abort()


async def send_all(pipes: Pipes, messages: list[bytes]) -> None:
    for message in messages:
        waiting = pipes.send(message)
        if waiting is not None:
            await waiting


async def test_lines_of_one_turn_go_out_in_one_write_each_with_its_end() -> None:
    guard, lines, ended = Guard(), list[bytes | Overlong](), list[bool]()
    pipes = await run(guard, "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)", lines, ended)
    stdin = Counting(pipes._stdin)
    pipes._stdin = stdin
    await send_all(pipes, [b"one", b"two", b"three"])
    await until(lambda: len(lines) == 3)
    await send_all(pipes, [b"four"])
    await until(lambda: len(lines) == 4)
    assert stdin.writes == [b"one\ntwo\nthree\n", b"four\n"]
    await send_all(pipes, [b"five"])
    pipes.close_stdin()  # what was accepted before the end still goes out
    await until(lambda: ended != [])
    assert lines == [b"one", b"two", b"three", b"four", b"five"]
    pipes.close()
    await guard.aclose()


async def test_more_than_the_pipe_takes_waits_and_arrives_in_order() -> None:
    guard, lines, ended = Guard(), list[bytes | Overlong](), list[bool]()
    code = "import sys\nfor n, line in enumerate(sys.stdin): print(n, len(line), flush=True)"
    pipes = await run(guard, code, lines, ended)
    sizes = [100_000 + n for n in range(40)]
    waited = 0
    for size in sizes:
        waiting = pipes.send(b"x" * size)
        if waiting is not None:
            waited += 1
            await waiting
    await until(lambda: len(lines) == len(sizes))
    assert lines == [b"%d %d" % (n, size + 1) for n, size in enumerate(sizes)]
    assert waited > 0
    pipes.close()
    await guard.aclose()


async def test_input_is_refused_once_the_process_is_gone() -> None:
    guard, ended = Guard(), list[bool]()
    pipes = await run(guard, "pass", [], ended)
    await until(lambda: ended != [])
    await until(lambda: pipes._input.lost)
    with pytest.raises(Unreachable, match="no more input"):
        pipes.send(b"hello")
    pipes.close_stdin()
    pipes.close()
    await guard.aclose()


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_hub_without_descriptors_says_so_and_keeps_none() -> None:
    guard = Guard()
    before = len(os.listdir("/proc/self/fd"))
    with descriptors_left(3), pytest.raises(Unreachable, match="file descriptors"):
        await run(guard, "pass", [], [])
    assert len(os.listdir("/proc/self/fd")) == before
    await guard.aclose()


def test_last_words_are_bounded_by_lines_and_bytes() -> None:
    words = LastWords("s", {})
    for n in range(1000):
        words.feed(f"line {n}\n\n".encode())
    words.feed(b"unfinished")
    lines = words.lines()
    assert len(lines) == STDERR_LINES + 1
    assert lines[-2:] == ("line 999", "unfinished")
    for _ in range(100):
        words.feed(b"y" * 3000 + b"\n")
    assert sum(map(len, words.lines())) <= STDERR_BYTES + 4096
    words.feed(b"z" * 10_000_000)
    assert sum(map(len, words.lines())) <= STDERR_BYTES + 4096


def test_last_words_are_logged_for_debugging_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    words = LastWords("s", {"KEY": "hunter2hunter2", "SHORT": "true"})
    with caplog.at_level(logging.DEBUG, "hub.downstream.pipes"):
        words.feed("the key hunter2hunter2 is true \N{BELL}\n".encode())
    assert caplog.messages == ["stderr of s: the key *** is true \N{BELL}"]
    assert words.lines() == ("the key *** is true \N{BELL}",)
