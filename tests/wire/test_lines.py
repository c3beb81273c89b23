from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.wire.lines import TOO_LONG, LineSplitter, TooLong


def split(chunks: list[bytes], cap: int = 100) -> list[bytes | TooLong]:
    splitter = LineSplitter(cap)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    last = splitter.end()
    return lines if last is None else [*lines, last]


def test_lines_do_not_depend_on_how_the_bytes_arrived() -> None:
    assert split([b"one\ntwo\r\nth", b"ree", b"\n"]) == [b"one", b"two", b"three"]


def test_blank_lines_are_left_out() -> None:
    assert split([b"\n  \n\r\none\n\n"]) == [b"one"]


def test_a_last_line_without_an_end_is_still_a_line() -> None:
    assert split([b"one\ntw", b"o"]) == [b"one", b"two"]


def test_a_line_of_exactly_the_cap_passes_and_one_byte_more_does_not() -> None:
    assert split([b"x" * 10 + b"\n" + b"y" * 11 + b"\n"], cap=10) == [b"x" * 10, TOO_LONG]


def test_the_line_after_one_too_long_is_whole() -> None:
    assert split([b"x" * 60, b"x" * 60, b"x\nnext\n"], cap=100) == [TOO_LONG, b"next"]


def test_a_line_too_long_that_never_ends_is_reported_at_the_end() -> None:
    assert split([b"x" * 101]) == [TOO_LONG]


def test_an_endless_line_is_not_kept() -> None:
    splitter = LineSplitter(100)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 1000)) == []
    assert sum(map(len, splitter._parts)) <= 100


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_any_chunking_gives_the_lines_of_the_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = [line.rstrip(b"\r") for line in whole.split(b"\n")]
    assert split(chunks, cap=1000) == [line for line in expected if line.strip()]
