"""Event streams: whatever the cut of the chunks, the same events; and never more memory than the cap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.downstream.sse_events import Event, EventParser, TooLong


def parse(*chunks: bytes, cap: int = 1000) -> list[Event]:
    parser = EventParser(cap)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: a\n\n", [Event(b"a")]),
        (b"data:a\r\n\r\n", [Event(b"a")]),
        (b"data: a\r\r", [Event(b"a")]),
        (b"data:  a\n\n", [Event(b" a")]),
        (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
        (b"event: endpoint\ndata: /x\n\n", [Event(b"/x", "endpoint")]),
        (b"event: x\n\ndata: a\n\n", [Event(b"a")]),  # a name without data names nothing
        (b": keep awake\n\n", []),
        (b"data\n\n", [Event(b"")]),
        (b"id: 1\ndata:\n\n", [Event(b"")]),
        (b"nonsense: 1\ndata: a\n\n", [Event(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),  # a mark only stands at the start
        (b"data: a\n", []),  # an event that did not end never was
        (b"data: a: b\n\n", [Event(b"a: b")]),
    ],
)
def test_stream_reads_as_the_standard_says(text: bytes, events: list[Event]) -> None:
    assert parse(text) == events


def test_id_counts_from_the_end_of_its_event() -> None:
    parser = EventParser(100)
    parser.feed(b"id: 7\ndata: a\n")
    assert parser.last_id == ""
    parser.feed(b"\n")
    assert parser.last_id == "7"
    parser.feed(b"id: 8\0\n\nid\n\n")
    assert parser.last_id == ""  # an id with NUL is none, an empty one resets


def test_retry_is_digits_only_and_bounded() -> None:
    parser = EventParser(100)
    parser.feed(b"retry: soon\nretry: 1.5\n")
    assert parser.retry_ms is None
    parser.feed(b"retry: 1500\n")
    assert parser.retry_ms == 1500
    parser.feed(b"retry: 99999999999999999999\n")
    assert parser.retry_ms == 60_000


def test_event_at_the_cap_passes_and_beyond_it_is_cut_off() -> None:
    assert parse(b"data: " + b"a" * 94 + b"\n\n", cap=100)[0].data == b"a" * 94
    with pytest.raises(TooLong):
        parse(b"data: " + b"a" * 102 + b"\n\n", cap=100)


@pytest.mark.parametrize("piece", [b": ", b"data: a\n", b"data"])
def test_event_that_grows_for_ever_is_cut_off(piece: bytes) -> None:
    parser = EventParser(100)

    def feed_for_ever() -> None:
        for _ in range(105):
            parser.feed(piece)

    with pytest.raises(TooLong):
        feed_for_ever()


LINE = st.sampled_from(
    [b"data: x", b"data:", b"data", b"event: e", b"id: 1", b": c", b"", b"retry: 5", b"data: \xc3\xa9"]
)
BREAK = st.sampled_from([b"\n", b"\r", b"\r\n"])


@settings(deadline=None)
@given(st.lists(st.tuples(LINE, BREAK), max_size=30), st.lists(st.integers(0, 300), max_size=30), st.booleans())
def test_cut_of_the_chunks_changes_nothing(lines: list[tuple[bytes, bytes]], cuts: list[int], mark: bool) -> None:
    text = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line, end in lines)
    places = sorted({min(cut, len(text)) for cut in cuts})
    chunks = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    one, many = EventParser(10_000), EventParser(10_000)
    assert one.feed(text) == [event for chunk in chunks for event in many.feed(chunk)]
    assert (one.last_id, one.retry_ms) == (many.last_id, many.retry_ms)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_a_fault(text: bytes) -> None:
    whole = parse(text)
    assert whole == parse(*(text[i : i + 1] for i in range(len(text))))
