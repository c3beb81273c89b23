"""Answers whose head a connection has seen before: the parser is not asked again, and would have said the same."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.errors import Lost
from hub.downstream import h1
from tests.downstream.test_h1 import OK, Bench, Reader


def answer(body: bytes, head: bytes = OK + b"content-type: application/json\r\n") -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the parsers of this test are given."""
    seen: list[bytes] = []

    class Parser:
        def __init__(self, protocol: Any) -> None:
            self._inner = httptools.HttpResponseParser(protocol)

        def feed_data(self, data: bytes) -> None:
            seen.append(data)
            self._inner.feed_data(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    class Tools:
        HttpResponseParser = Parser
        HttpParserError = httptools.HttpParserError
        HttpParserUpgrade = httptools.HttpParserUpgrade
        HttpParserCallbackError = httptools.HttpParserCallbackError

    monkeypatch.setattr(h1, "httptools", Tools)
    return seen


def test_head_of_before_is_parsed_once(fed: list[bytes]) -> None:
    bench = Bench()
    for number in (5, 5, 12, 0, 1234):
        reader = bench.ask(answer(b"x" * number))
        assert (reader.status, reader.body, reader.ends) == (200, b"x" * number, 1)
        assert reader.headers == {"content-type": "application/json", "content-length": str(number)}
    assert fed == [answer(b"x" * 5)]
    assert (bench.freed, bench.connection.usable) == (5, True)


def test_another_head_goes_to_the_parser_and_the_latest_few_are_kept(fed: list[bytes]) -> None:
    bench = Bench()
    dated = [answer(b"a", OK + b"date: %d\r\n" % second) for second in range(h1.KEPT + 1)]
    for data in (*dated, *dated[1:], dated[0]):
        assert bench.ask(data).body == b"a"
    assert fed == [*dated, dated[0]]


def test_keep_alive_told_by_a_head_holds_again() -> None:
    bench = Bench()
    for head, idle_s in ((b"Keep-Alive: timeout=7\r\n", 7.0), (b"x: y\r\n", None), (b"Keep-Alive: timeout=7\r\n", 7.0)):
        bench.ask(answer(b"a", OK + head))
        assert bench.connection.idle_s == idle_s


def test_head_that_is_too_large_to_keep_is_parsed_each_time(fed: list[bytes]) -> None:
    bench, large = Bench(), answer(b"a", OK + b"x: " + b"y" * h1.KEPT_BYTES + b"\r\n")
    for _ in range(3):
        assert bench.ask(large).body == b"a"
    assert fed == [large] * 3


def test_answer_in_two_pieces_goes_to_the_parser(fed: list[bytes]) -> None:
    bench, data = Bench(), answer(b"abc")
    bench.ask(data)
    assert bench.ask(data[:-1], data[-1:]).body == b"abc"
    assert fed == [data, data[:-1], data[-1:]]


def test_parser_stands_right_after_answers_it_did_not_see() -> None:
    bench, data = Bench(), answer(b"abc")
    for _ in range(2):
        bench.ask(data)
        bench.ask(data)
        assert bench.ask(data[:30], data[30:]).body == b"abc"
        chunked = OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        assert bench.ask(chunked).body == b"ab"
    assert bench.connection.usable


def test_interim_answer_is_not_taken_for_the_head_of_what_comes_after_it() -> None:
    bench = Bench()
    for body in (b"a", b"b"):
        real = answer(body)
        assert bench.ask(b"HTTP/1.1 100 Continue\r\ncontent-length: %d\r\n\r\n" % len(real) + real).body == body


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_length_of_an_answer_without_body_is_never_believed(status: bytes) -> None:
    bench, head = Bench(), b"HTTP/1.1 " + status + b"\r\n"
    bench.ask(answer(b"", head))
    assert bench.ask(answer(b"abc", head)).body == b""
    assert bench.wire.aborted  # by what came after the answer


class Broken(Reader):
    def on_body(self, data: bytes) -> None:
        raise RuntimeError("a bug in the hub")


def test_bug_in_a_receiver_ends_its_request_and_is_not_hidden() -> None:
    bench, reader = Bench(), Broken()
    bench.ask(answer(b"a"))
    bench.connection.send(reader, b"")
    with pytest.raises(RuntimeError, match="bug"):
        bench.connection.data_received(answer(b"a"))
    assert isinstance(reader.error, Lost)
    assert bench.wire.aborted


class Leaving(Reader):
    """Ends the connection as soon as it has seen the head."""

    bench: Bench

    def on_head(self, status: int, headers: Any) -> None:
        super().on_head(status, headers)
        self.bench.connection.close()


def test_receiver_that_leaves_at_the_head_is_told_nothing_more() -> None:
    bench, reader = Bench(), Leaving()
    bench.ask(answer(b"a"))
    reader.bench = bench
    bench.connection.send(reader, b"")
    bench.connection.data_received(answer(b"a"))
    assert (reader.status, reader.body, reader.ends, reader.error) == (200, b"", 0, None)
    assert (bench.freed, bench.wire.aborted) == (1, True)


LINES = st.lists(
    st.sampled_from(
        [
            b"content-length: %d\r\n",
            b"Content-Length: %d\r\n",
            b"CONTENT-LENGTH: %d\r\n",
            b"content-length:%d\r\n",
            b"content-length: 0%d\r\n",
            b"content-length: %d \r\n",
            b"x-length: %d\r\n",
            b"content-type: application/json\r\n",
            b"date: now\r\n",
            b"connection: close\r\n",
            b"connection: keep-alive\r\n",
            b"connection: keep-alive, upgrade\r\n",
            b"upgrade: x\r\n",
            b"keep-alive: timeout=9\r\n",
            b"transfer-encoding: chunked\r\n",
            b"content-encoding: gzip\r\n",
            b" folded\r\n",
        ]
    ),
    max_size=4,
)
STARTS = st.sampled_from(
    [
        OK,
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"HTTP/1.1 404 Not Found\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 101 Switching\r\n",
    ]
)
BODIES = st.sampled_from([b"", b"a", b"{}", b"0\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", b"x" * 11, b"\r\n\r\n"])


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Answers with few different heads, most of them as long as they say."""
    heads = draw(st.lists(st.tuples(STARTS, LINES), min_size=1, max_size=2))
    heads.append((OK, [b"content-type: application/json\r\n", b"content-length: %d\r\n"]))
    answers = []
    for _ in range(draw(st.integers(2, 6))):
        start, lines = draw(st.sampled_from(heads))
        body, off = draw(BODIES), draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
        surplus = draw(st.sampled_from([b"", b"", b"", b"x", OK]))
        told = [line.replace(b"%d", b"%d" % max(0, len(body) + off)) for line in lines]
        answers.append(start + b"".join(told) + b"\r\n" + body + surplus)
    return answers


def said(bench: Bench, data: list[bytes]) -> tuple[Any, ...]:
    reader = bench.ask(*data)
    first = (
        reader.status,
        reader.headers,
        reader.body,
        reader.ends,
        type(reader.error),
        bench.freed,
        bench.wire.aborted,
    )
    idle_s = bench.connection.idle_s if bench.connection.usable else None
    if not bench.connection.usable:
        bench.connection.eof_received()
        bench.connection.connection_lost(None)
    return (*first, idle_s, str(reader.error), reader.untouched, reader.ends, reader.body)


@settings(deadline=None, max_examples=400)
@given(conversations())
def test_what_is_remembered_and_what_is_parsed_say_the_same(answers: list[bytes]) -> None:
    whole, split = Bench(), Bench()  # an answer in two pieces is always parsed
    for data in answers:
        assert said(whole, [data]) == said(split, [data[:1], data[1:]])
        if not whole.connection.usable:
            return
