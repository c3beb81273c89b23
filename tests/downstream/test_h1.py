"""One connection: what counts as an answer, and what ends the connection instead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.alarms import Alarms
from hub.core.errors import DownstreamError, Garbled, Lost
from hub.downstream.h1 import HEAD_CAP, Connection

OK = b"HTTP/1.1 200 OK\r\n"
ONE = OK + b"Content-Length: 1\r\n\r\na"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.aborted, self.paused = b"", False, False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Reader:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.status, self.headers, self.body, self.ends = 0, dict[str, str](), b"", 0
        self.error: DownstreamError | None = None
        self.untouched: bool | None = None

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, dict(headers)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.ends += 1

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self.error, self.untouched = error, untouched


class Bench:
    """A connection on a wire of its own."""

    def __init__(self) -> None:
        self.freed = self.gone = 0
        self.wire = Wire()
        self.connection = Connection("peer", Alarms(), self._freed, self._gone)
        self.connection.connection_made(self.wire)

    def _freed(self, connection: Connection) -> None:
        self.freed += 1

    def _gone(self, connection: Connection) -> None:
        self.gone += 1

    def ask(self, *chunks: bytes) -> Reader:
        reader = Reader()
        self.connection.send(reader, b"GET / HTTP/1.1\r\n\r\n")
        for chunk in chunks:
            if not self.wire.aborted:
                self.connection.data_received(chunk)
        return reader


def test_whole_answer_frees_the_connection_for_the_next() -> None:
    bench = Bench()
    for _ in range(3):
        reader = bench.ask(OK + b"Content-Length: 2\r\nX-A: 1 \r\nx-a: 2\r\n\r\n", b"h", b"i")
        assert (reader.status, reader.body, reader.ends, reader.headers["x-a"]) == (200, b"hi", 1, "1, 2")
    assert (bench.freed, bench.wire.aborted, bench.connection.usable) == (3, False, True)


def test_chunked_answer_is_joined_and_its_trailers_say_nothing() -> None:
    bench = Bench()
    reader = bench.ask(
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nMcp-Session-Id: evil\r\n\r\n"
    )
    assert (reader.body, reader.ends, bench.freed) == (b"abc", 1, 1)
    assert "mcp-session-id" not in reader.headers


def test_interim_answers_are_skipped_with_their_headers() -> None:
    reader = Bench().ask(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ONE)
    assert (reader.status, reader.body, "link" in reader.headers) == (200, b"a", False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_answer_without_body_ends_with_its_head(status: bytes) -> None:
    bench = Bench()
    reader = bench.ask(b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert (reader.ends, reader.body, bench.freed) == (1, b"", 1)


def test_body_until_the_end_of_the_connection_is_whole_then() -> None:
    bench = Bench()
    reader = bench.ask(OK + b"\r\nab", b"c")
    assert reader.ends == 0
    assert bench.connection.eof_received() is False
    assert (reader.body, reader.ends, bench.freed, bench.wire.aborted) == (b"abc", 1, 0, True)


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n", OK + b"Connection: close\r\n"])
def test_connection_that_will_close_is_not_kept(head: bytes) -> None:
    bench = Bench()
    reader = bench.ask(head + b"Content-Length: 1\r\n\r\na")
    assert (reader.ends, bench.freed, bench.wire.aborted) == (1, 0, True)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        OK + b"Content-Length: 3, 4\r\n\r\nabcd",
        OK + b"Content-Length: +3\r\n\r\nabc",
        OK + b"Content-Length : 3\r\n\r\nabc",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\na",
        OK + b"X-A: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\nabc",
        OK + b"Transfer-Encoding: xchunked\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\nab\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
        OK + b"X: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        b"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/0.9 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfoo",
        b"HTTP/1.1 101 Switching\r\n\r\n" + ONE,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + ONE,
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01",
    ],
)
def test_answer_of_two_meanings_is_garbled_and_ends_the_connection(answer: bytes) -> None:
    bench = Bench()
    reader = bench.ask(answer)
    assert isinstance(reader.error, Garbled)
    assert (reader.ends, bench.freed, bench.wire.aborted) == (0, 0, True)


@pytest.mark.parametrize("drip", [True, False])
def test_endless_headers_are_cut_off(drip: bool) -> None:
    bench = Bench()
    many = b"".join(b"x-%d: %b\r\n" % (i, b"v" * 1000) for i in range(HEAD_CAP // 1000 + 2))
    reader = bench.ask(OK, *([many[i : i + 1000] for i in range(0, len(many), 1000)] if drip else [many + b"\r\n"]))
    assert isinstance(reader.error, Garbled)
    assert bench.wire.aborted


def test_one_endless_header_line_is_cut_off() -> None:
    bench = Bench()
    reader = bench.ask(OK + b"x: ", *([b"v" * 1000] * 80))
    assert isinstance(reader.error, Garbled)


def test_endless_trailers_are_cut_off() -> None:
    bench = Bench()
    reader = bench.ask(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *([b"x: " + b"v" * 1000 + b"\r\n"] * 80))
    assert isinstance(reader.error, Garbled)


def test_bytes_after_the_answer_spoil_the_connection_and_not_the_answer() -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    for surplus in (ONE, b"HTTP/1.1", b"junk", upgrade, ONE + upgrade):
        bench = Bench()
        reader = bench.ask(ONE + surplus)
        assert (reader.body, reader.ends, reader.error) == (b"a", 1, None)
        assert (bench.freed, bench.wire.aborted) == (0, True)


def test_bytes_on_an_idle_connection_end_it() -> None:
    bench = Bench()
    bench.ask(ONE)
    bench.connection.data_received(ONE)  # a planted answer for whoever asks next
    assert bench.wire.aborted
    assert not bench.connection.usable


@pytest.mark.parametrize(
    ("earlier", "now", "untouched"),
    [([], b"", False), ([ONE], b"", True), ([ONE], b"HTTP", False), ([], b"HTTP", False)],
)
def test_only_a_reused_connection_without_a_byte_is_untouched(
    earlier: list[bytes], now: bytes, untouched: bool
) -> None:
    bench = Bench()
    for answer in earlier:
        bench.ask(answer)
    reader = bench.ask(now) if now else bench.ask()
    bench.connection.eof_received()
    bench.connection.connection_lost(None)
    assert isinstance(reader.error, Lost)
    assert (reader.untouched, bench.gone) == (untouched, 1)


def test_broken_off_body_is_lost() -> None:
    for head in (b"Content-Length: 9\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        bench = Bench()
        reader = bench.ask(OK + head)
        bench.connection.eof_received()
        bench.connection.connection_lost(None)
        assert isinstance(reader.error, Lost)
        assert reader.ends == 0


def test_close_tells_nobody_and_lose_tells_the_receiver() -> None:
    bench = Bench()
    reader = bench.ask()
    bench.connection.close()
    assert (reader.error, bench.wire.aborted) == (None, True)
    bench = Bench()
    reader = bench.ask()
    bench.connection.lose("gone")
    assert isinstance(reader.error, Lost)


def test_server_that_names_its_patience_is_believed() -> None:
    bench = Bench()
    bench.ask(OK + b"Keep-Alive: max=5, timeout=7\r\nContent-Length: 0\r\n\r\n")
    assert bench.connection.idle_s == 7.0
    bench.ask(OK + b"Keep-Alive: timeout=x\r\nContent-Length: 0\r\n\r\n")
    assert bench.connection.idle_s is None


async def test_paused_connection_reads_again_by_itself() -> None:
    bench = Bench()
    bench.connection.pause_for(0.01)
    bench.connection.pause_for(0.01)  # once is enough
    assert bench.wire.paused
    async with asyncio.timeout(5):
        while bench.wire.paused:
            await asyncio.sleep(0.001)


async def test_closed_connection_stays_paused_without_a_fault() -> None:
    bench = Bench()
    bench.connection.pause_for(0.0)
    bench.connection.close()
    bench.connection.connection_lost(None)
    bench.connection.pause_for(0.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.wire.paused


class Broken(Reader):
    def on_body(self, data: bytes) -> None:
        raise RuntimeError("a bug in the hub")


def test_bug_in_a_receiver_ends_its_request_and_is_not_hidden() -> None:
    bench = Bench()
    reader = Broken()
    bench.connection.send(reader, b"")
    with pytest.raises(Exception, match="callback"):
        bench.connection.data_received(ONE)
    assert isinstance(reader.error, Lost)
    assert bench.wire.aborted


ANSWERS = st.sampled_from(
    [
        ONE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + ONE,
        OK + b"Transfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        OK + b"\r\nuntil the end",
    ]
)


@settings(deadline=None)
@given(ANSWERS, st.lists(st.integers(1, 200), max_size=12))
def test_cut_of_the_chunks_changes_nothing(answer: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(answer)) for cut in cuts})
    chunks = [answer[a:b] for a, b in zip([0, *places], [*places, len(answer)], strict=True) if a < b]
    seen = []
    for parts in ([answer], chunks):
        bench = Bench()
        reader = bench.ask(*parts)
        bench.connection.eof_received()
        seen.append((reader.status, reader.headers, reader.body, reader.ends, type(reader.error), bench.freed))
    assert seen[0] == seen[1]


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_end_in_an_answer_or_an_error(noise: bytes, headed: bool) -> None:
    bench = Bench()
    reader = bench.ask((OK if headed else b"") + noise)
    bench.connection.eof_received()
    bench.connection.connection_lost(None)
    assert reader.ends + (reader.error is not None) == 1
