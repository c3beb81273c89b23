"""Heads that differ in a length alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.wire.repeated import body_at, cut

HEAD = b"POST / HTTP/1.1\r\nContent-Length: %d\r\nX: y\r\n\r\n"


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_head_of_one_message_is_that_of_another(one: bytes, other: bytes) -> None:
    found = cut(HEAD % len(one) + one)
    assert found is not None
    data = HEAD % len(other) + other
    assert data[body_at(data, *found) :] == other
    assert cut(data) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1 \r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0000000001\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX-Content-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\n\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
    ],
)
def test_what_is_no_whole_message_with_a_plain_length_is_not_cut(data: bytes) -> None:
    assert cut(data) is None


@given(st.binary(max_size=60), st.integers(0, 40), st.sampled_from([b"", b"0", b"12", b"\r", b"x"]))
def test_body_is_found_where_the_head_says_or_not_at_all(body: bytes, told: int, put: bytes) -> None:
    found = cut(HEAD % 1 + b"a")
    assert found is not None
    data = HEAD.replace(b"%d", put + b"%d" % told) + body
    begin = body_at(data, *found)
    assert begin == 0 or (cut(data) == found and data[begin:] == body)
    assert (begin != 0) == (cut(data) is not None)
