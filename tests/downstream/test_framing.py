"""Lines come out the same however the bytes were cut, in bounded memory, and overlong ones leave a trace."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.downstream.framing import Lines, Overlong


def read(lines: Lines, *chunks: bytes) -> list[bytes | Overlong]:
    found: list[bytes | Overlong] = []
    for chunk in chunks:
        lines.feed(chunk)
        while (line := lines.take()) is not None:
            found.append(line)
    return found


def test_blank_lines_and_line_ends_are_left_out() -> None:
    assert read(Lines(100), b"a\r\n\n  \nb", b"c\n", b"rest") == [b"a", b"bc"]


def test_line_of_exactly_the_cap_passes_and_one_more_byte_does_not() -> None:
    assert read(Lines(4), b"abcd\n") == [b"abcd"]
    assert read(Lines(4), b"abcde\n", b"ok\n") == [Overlong(b"abcde", b"abcde"), b"ok"]


def test_overlong_line_is_thrown_away_as_it_comes() -> None:
    lines = Lines(1000)
    for _ in range(1000):
        lines.feed(b"x" * 10_000)
        assert lines.take() is None
        assert len(lines._buffer) == 0
    found = read(lines, b"end\nnext\n")
    assert isinstance(found[0], Overlong)
    assert found[0].tail.endswith(b"xend")
    assert found[1:] == [b"next"]


@pytest.mark.parametrize(
    ("head", "tail", "id"),
    [
        (b'{"jsonrpc":"2.0","id":17,"result":{', b"}}", 17),
        (b'{"id": "17", "jsonrpc": "2.0", "result": {', b"}}", 17),
        (b'{"result":{"content":', b'},"jsonrpc":"2.0","id":17}', 17),
        (b'{"result":{"content":', b'},"id":17,"jsonrpc":"2.0"}  ', 17),
        (b'{"result":{"id":9,', b'"}}', None),
        (b'{"jsonrpc":"2.0","method":"x","id":17,', b"}", None),
        (b"garbage", b"garbage", None),
        (b'{"id":99999999999999999999,', b"}", None),
    ],
)
def test_id_of_an_overlong_answer_is_read_from_its_edges(head: bytes, tail: bytes, id: int | None) -> None:
    assert Overlong(head, tail).id == id


@given(st.lists(st.text(alphabet="ab\r é", max_size=12), max_size=12), st.data())
def test_cutting_the_bytes_elsewhere_changes_nothing(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(text.encode() + b"\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = read(Lines(10), stream), read(Lines(10), *chunks)
    assert [line if isinstance(line, bytes) else "overlong" for line in cut] == [
        line if isinstance(line, bytes) else "overlong" for line in whole
    ]


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_json_of_one_line_survives(value: object) -> None:
    text = json.dumps(value).encode()
    assert read(Lines(1 << 20), text + b"\n") == [text]
