"""Every reader of bytes that others made keeps its claim for bytes near to well-formed ones, and for any others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.fuzz import messages, streams
from conformance.fuzz.__main__ import CORPUS
from conformance.fuzz.target import Target
from hub.wire import jsonrpc

TARGETS = (*messages.TARGETS, *streams.TARGETS)


def near(target: Target) -> st.SearchStrategy[bytes]:
    """A seed with a few edits, or anything."""
    words = st.sampled_from(target.words or (b"x",)) | st.binary(max_size=6) | st.sampled_from(target.seeds)
    edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 6), words), max_size=6)
    return st.one_of(st.builds(edited, st.sampled_from(target.seeds), edits), st.binary(max_size=120))


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, gone, word in edits:
        at = place % (len(seed) + 1)
        seed = seed[:at] + word + seed[at + gone :]
    return seed


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_claim_of_a_reader_holds_for_its_seeds_and_for_what_fuzzing_kept(target: Target) -> None:
    kept = [path.read_bytes() for path in sorted((CORPUS / target.name).iterdir())]
    assert kept
    for data in (*target.seeds, *kept):
        target.check(data)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_claim_of_a_reader_holds_for_what_is_nearly_right(target: Target) -> None:
    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(near(target))
    def holds(data: bytes) -> None:
        target.check(data)

    holds()


@pytest.mark.parametrize("answer", [seed.partition(b"\0\0\0")[2] for seed in TARGETS[8].seeds])
def test_an_answer_cut_at_every_byte_is_the_same_answer(answer: bytes) -> None:
    whole = streams.read_by_the_hub([answer])
    for at in range(1, len(answer)):
        parts = streams.read_by_the_hub([answer[:at], answer[at:]])
        assert (parts.status, parts.headers, parts.whole) == (whole.status, whole.headers, whole.whole), at
        assert parts.body == whole.body or not whole.whole
    single = streams.read_by_the_hub([answer[at : at + 1] for at in range(len(answer))])
    assert (single.status, single.whole, single.body) == (whole.status, whole.whole, whole.body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\na\r\n0\r\n\r\n",
    ],
)
def test_an_answer_with_two_readings_is_no_answer(answer: bytes) -> None:
    seen = streams.read_by_the_hub([answer])
    assert seen.failed
    assert not seen.reusable


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", b"\0" * 100])
def test_what_follows_an_answer_is_never_the_next_ones(surplus: bytes) -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
    seen = streams.read_by_the_hub([one + surplus], eof=False)
    assert (seen.whole, seen.body, seen.reusable) == (True, b"a", False)
    later = streams.read_by_the_hub([one, surplus], eof=False)  # an idle connection is closed by it
    assert (later.whole, later.body, later.reusable) == (True, b"a", False)


def broken(check: Callable[[bytes], None], data: bytes) -> bool:
    try:
        check(data)
    except AssertionError:
        return True
    return False


def test_a_reader_that_lies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: each lie below is a bug of the kind they look for."""
    monkeypatch.setattr(jsonrpc, "loads", lambda data: {"a": 1})
    assert broken(messages.check_json, b'{"a":1.0}')
    monkeypatch.setattr(messages, "split_uri", lambda uri: ("a", uri))
    assert broken(messages.check_names, b"x\0\0y")
    monkeypatch.setattr(messages, "era_of", lambda headers, message: "legacy")
    assert broken(messages.check_era, b"2026-07-28\n{}")
    monkeypatch.setattr(streams, "read_by_h11", lambda chunks: (streams.Seen(200, {}, b"other", True), b""))
    assert broken(streams.check_http_answer, b"\1\0\0\0HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
    monkeypatch.setattr(streams, "header_lines", lambda pairs: b"x: a\r\ny: b\r\n")
    assert broken(streams.check_http_request, b"http://a/\nx:a\0\0")
