"""Answers that break HTTP itself, by the name of the tool: the raw parts of one answer to a POST.

Each but the slow ones holds a good result, so that a hub that overlooks what is wrong passes it on and is found out.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from conformance.servers.hostile_messages import ENDLESS_S, HUGE_BYTES, MEGABYTE, POISON, Id, answer

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BOMB_BYTES: Final = 100_000_000  # of what the bomb unpacks to


def _sized(head: bytes, body: bytes) -> bytes:
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def _said(id: Id) -> bytes:
    return answer(id, POISON).rstrip()


@cache
def bomb() -> bytes:
    """The long part of a gzip stream; the rest follows as another member."""
    return gzip.compress(b" " * BOMB_BYTES, 1)


def closes(id: Id, port: int) -> Iterator[bytes]:
    """Not a byte."""
    return iter(())


def halved(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK, _said(id))[:-20]


def server_error(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(b"HTTP/1.1 500 Broken\r\nContent-Type: text/plain\r\n", b"Traceback: " + POISON.encode())


def no_json(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK, b"<html>" + POISON.encode())


def web_page(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", _said(id))


def no_type(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(b"HTTP/1.1 200 OK\r\n", b"<html>" + POISON.encode())


def redirects(id: Id, port: int) -> Iterator[bytes]:
    head = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:%d/elsewhere\r\n" % port
    yield _sized(head, _said(id))


def gzip_bomb(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK + b"Content-Encoding: gzip\r\n", bomb() + gzip.compress(_said(id)))


def huge_sized(id: Id, port: int) -> Iterator[bytes]:
    yield OK + b"Content-Length: %d\r\n\r\n" % HUGE_BYTES
    for _ in range(HUGE_BYTES // len(MEGABYTE)):
        yield MEGABYTE


def huge_chunks(id: Id, port: int) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(HUGE_BYTES // len(MEGABYTE)):
        yield b"%x\r\n%b\r\n" % (len(MEGABYTE), MEGABYTE)


def endless_headers(id: Id, port: int) -> Iterator[bytes]:
    yield OK
    end = time.monotonic() + ENDLESS_S
    while time.monotonic() < end:
        yield b"X-More: %b\r\n" % (b"x" * 1000)


def endless_line(id: Id, port: int) -> Iterator[bytes]:
    yield OK + b"X-More: "
    end = time.monotonic() + ENDLESS_S
    while time.monotonic() < end:
        yield b"x" * 1000


def dripping_head(id: Id, port: int) -> Iterator[bytes]:
    end = time.monotonic() + ENDLESS_S
    for byte in OK * 20:
        if time.monotonic() > end:
            return
        yield bytes((byte,))
        time.sleep(0.02)


def dripping_body(id: Id, port: int) -> Iterator[bytes]:
    yield OK + b"Content-Length: 100000\r\n\r\n"
    end = time.monotonic() + ENDLESS_S
    while time.monotonic() < end:
        yield b" "
        time.sleep(0.02)


def two_lengths(id: Id, port: int) -> Iterator[bytes]:
    body = _said(id)
    yield _sized(OK + b"Content-Length: %d\r\n" % (len(body) - 1), body)


def length_and_chunks(id: Id, port: int) -> Iterator[bytes]:
    body = _said(id)
    yield _sized(OK + b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


def huge_chunk_size(id: Id, port: int) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n" + _said(id)


def bare_line_feeds(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK, _said(id)).replace(b"\r\n", b"\n")


def null_in_header(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK + b"X-Null: a\0b\r\n", _said(id))


def folded_header(id: Id, port: int) -> Iterator[bytes]:
    yield _sized(OK + b"X-Folded: a\r\n  b\r\n", _said(id))


def no_http(id: Id, port: int) -> Iterator[bytes]:
    yield b"SSH-2.0-OpenSSH_9.6\r\n" + _said(id)


def two_answers(id: Id, port: int) -> Iterator[bytes]:
    """The second one is meant for whoever uses the connection next."""
    yield _sized(OK, answer(id, "own").rstrip()) + _sized(OK, _said(id))


ANSWERS: Final[dict[str, Callable[[Id, int], Iterator[bytes]]]] = {
    way.__name__: way
    for way in (
        closes,
        halved,
        server_error,
        no_json,
        web_page,
        no_type,
        redirects,
        gzip_bomb,
        huge_sized,
        huge_chunks,
        endless_headers,
        endless_line,
        dripping_head,
        dripping_body,
        two_lengths,
        length_and_chunks,
        huge_chunk_size,
        bare_line_feeds,
        null_in_header,
        folded_header,
        no_http,
        two_answers,
    )
}
