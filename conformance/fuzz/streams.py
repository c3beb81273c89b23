"""Framing: lines, event streams and HTTP/1.1 answers, cut anywhere; and the requests that the hub writes itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import h11

from conformance.fuzz.target import Target, cut, halves
from hub.core.alarms import Alarms
from hub.core.errors import DownstreamError
from hub.downstream.framing import Lines, Overlong
from hub.downstream.h1 import HEAD_CAP, Connection
from hub.downstream.h1_request import Target as Address
from hub.downstream.h1_request import header_lines, parse_url
from hub.downstream.sse_events import Event, EventParser
from hub.downstream.sse_events import TooLong as EventTooLong
from hub.edge.request import EventStream
from hub.wire.lines import LineSplitter, TooLong

_CAP: Final = 4096


def check_lines(data: bytes) -> None:
    """Both splitters: the cut of the chunks changes nothing, and no line is longer than the cap."""
    places, text = halves(data)
    cap = 32
    whole = _splitter_lines([text], cap)
    assert _splitter_lines(cut(text, places), cap) == whole
    expected = [
        line.rstrip(b"\r") if len(line) <= cap else None
        for line in text.split(b"\n")
        if len(line) > cap or line.strip()
    ]
    assert [line for line in whole if line is None or line.strip()] == expected
    taken = _framing_lines([text], cap)
    assert _framing_lines(cut(text, places), cap) == taken


def _splitter_lines(chunks: list[bytes], cap: int) -> list[bytes | None]:
    splitter = LineSplitter(cap)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    if (last := splitter.end()) is not None:
        lines.append(last)
    return [None if isinstance(line, TooLong) else line for line in lines]


def _framing_lines(chunks: list[bytes], cap: int) -> list[bytes | tuple[bytes, bytes]]:
    lines = Lines(cap)
    found: list[bytes | tuple[bytes, bytes]] = []
    for chunk in chunks:
        lines.feed(chunk)
        while (line := lines.take()) is not None:
            if not isinstance(line, Overlong):
                assert len(line) <= cap
            found.append((line.head[:cap], line.tail[-cap:]) if isinstance(line, Overlong) else line)
    return found


def check_events(data: bytes) -> None:
    """The parser reads what the standard says, wherever the chunks are cut, or says that it is too long."""
    places, text = halves(data)
    try:
        whole = EventParser(_CAP).feed(text)
    except EventTooLong:
        assert len(text) > _CAP
        return
    parser = EventParser(_CAP)
    pieces = [event for chunk in cut(text, places) for event in parser.feed(chunk)]
    assert pieces == whole
    assert whole == _events_by_the_standard(text)


def check_event_writing(data: bytes) -> None:
    """What the edge writes as one event is read as one event with these bytes; a comment is none."""
    body = bytes(byte for byte in data if byte not in b"\r\n")  # one line of JSON
    written = bytearray()

    async def send(message: Any) -> None:
        written.extend(message.get("body", b""))

    async def write() -> None:
        stream = EventStream(send)
        await stream.open()
        await stream.comment()
        await stream.event(body)
        await stream.event(b"/path", "endpoint")
        await stream.event(body, event_id="7")
        await stream.close()

    for _ in _finished(write()):
        pass
    parser = EventParser(len(body) + 100)
    assert parser.feed(bytes(written)) == [Event(body), Event(b"/path", "endpoint"), Event(body)]
    assert parser.last_id == "7"


def _finished(work: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return ()
    raise AssertionError("it waited")


def _events_by_the_standard(text: bytes) -> list[Event]:
    """WHATWG HTML 9.2.6, line by line over the whole text."""
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    lines = re.split(rb"\r\n|\r|\n", text)
    for at, line in enumerate(lines[:-1]):  # the last one has not ended
        line = line.removeprefix(b"\xef\xbb\xbf") if at == 0 else line
        if not line:
            if data:
                events.append(Event(b"\n".join(data), name.decode("utf-8", "replace") or "message"))
            data, name = [], b""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
    return events


# HTTP/1.1: what the hub's own hop reads, and what h11 reads of the same bytes.


@dataclass
class Seen:
    """One answer, as far as it was read."""

    status: int = 0
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    whole: bool = False
    failed: bool = False
    reusable: bool = False


class _Reader:
    def __init__(self) -> None:
        self.seen = Seen()
        self.ends = 0

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.seen.status, self.seen.headers = status, dict(headers)

    def on_body(self, data: bytes) -> None:
        self.seen.body += data

    def on_end(self) -> None:
        self.ends += 1
        self.seen.whole = True

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self.ends += 1
        self.seen.failed = True


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None:
        return None

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def read_by_the_hub(chunks: list[bytes], *, eof: bool = True) -> Seen:
    """One answer by the hub's own hop."""
    freed: list[Connection] = []
    wire, reader = _Wire(), _Reader()
    connection = Connection("peer", Alarms(), freed.append, lambda gone: None)
    connection.connection_made(wire)
    connection.send(reader, b"POST / HTTP/1.1\r\n\r\n")
    for chunk in chunks:
        if not wire.closed:
            connection.data_received(chunk)
    reader.seen.reusable = bool(freed) and not wire.closed
    if eof and not wire.closed:
        connection.eof_received()
        connection.connection_lost(None)
        assert reader.ends == 1, "neither an end nor an error, or both"
    return reader.seen


def read_by_h11(chunks: list[bytes]) -> tuple[Seen, bytes]:
    """The same by h11, and what was left over."""
    seen = Seen()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_CAP)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    try:
        for chunk in [*chunks, b""]:
            connection.receive_data(chunk)
            while not seen.whole:
                event = connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    break
                if isinstance(event, h11.Response):
                    seen.status = event.status_code
                    seen.headers = _joined(event.headers)
                elif isinstance(event, h11.Data):
                    seen.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    seen.whole = True
            if seen.whole:
                break
    except h11.RemoteProtocolError:
        seen.failed = True
    seen.reusable = seen.whole and connection.their_state is h11.DONE
    return seen, connection.trailing_data[0]


def _joined(headers: Any) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode().lower(), value.decode("latin-1").strip(" \t")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


_ODD_REASON: Final = re.compile(rb"HTTP/1\.[01] [0-9]{3}[^\r\n]*[\0-\x08\x0a-\x1f\x7f]")


def check_http_answer(data: bytes) -> None:
    """What the hop takes for a whole answer, h11 takes for the same; wherever it is cut, and never two answers."""
    places, text = halves(data, b"\0\0\0")
    ours = read_by_the_hub([text])
    pieces = read_by_the_hub(cut(text, places))
    assert (ours.status, ours.headers, ours.whole, ours.failed) == (
        *(pieces.status, pieces.headers, pieces.whole, pieces.failed),
    ), (ours, pieces)
    if ours.whole:
        assert ours.body == pieces.body
        theirs, surplus = read_by_h11([text])
        if theirs.failed and _ODD_REASON.search(text):
            return  # the words after a status say nothing, and the hub reads none of them
        assert not theirs.failed, f"h11 refuses what the hub takes: {text!r}"
        headers = dict(ours.headers or {})
        if "transfer-encoding" in headers:  # h11 shows it in lower case
            headers["transfer-encoding"] = headers["transfer-encoding"].lower()
        assert (ours.status, headers, ours.body) == (theirs.status, theirs.headers, theirs.body), (ours, theirs)
        assert theirs.whole
        if ours.reusable:
            assert theirs.reusable or b"HTTP/1.0 " in text, "h11 would not use it again"  # never 1.0
            assert not surplus.strip(b"\r\n"), "bytes are left that the next request would be answered with"


def check_http_request(data: bytes) -> None:
    """What the hop writes, h11 reads as meant: one request, these headers, this body; or nothing is written."""
    head, body = halves(data)
    parts = head.decode("latin-1").split("\n")
    url, pairs = parts[0], dict(part.partition(":")[::2] for part in parts[1:])
    try:
        address = parse_url(url)
        extra = header_lines(pairs)
    except ValueError:
        return
    request = _written(address, extra, body)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        if not _is_reserved(pairs):
            raise AssertionError(f"h11 refuses what the hub writes: {request!r}") from exc
        return
    if _is_reserved(pairs):
        return
    assert isinstance(event, h11.Request)
    assert (event.method, event.target.decode()) == (b"POST", address.path)
    read = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
    meant = [("host", address.authority), *((name.lower(), value) for name, value in pairs.items())]
    assert read == [*meant, ("content-length", str(len(body)))]
    got = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        got += bytes(event.data)
    assert got == body
    assert connection.trailing_data == (b"", False), "a second request"


def _written(address: Address, extra: bytes, body: bytes) -> bytes:
    return address.head("POST", {}) + extra + f"content-length: {len(body)}\r\n\r\n".encode() + body


def _is_reserved(pairs: Mapping[str, str]) -> bool:
    """Headers that a configuration may not set: they are refused before anything is written."""
    return bool({name.lower() for name in pairs} & {"host", "content-length", "transfer-encoding", "expect", "upgrade"})


_OK: Final = b"HTTP/1.1 200 OK\r\n"
_ANSWERS: Final = (
    _OK + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    _OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
    _OK + b"\r\nto the end",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"Content-Length: 1\r\n\r\na",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
    _OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    _OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    _OK + b"Content-Length: 1\r\n\r\na" + _OK + b"Content-Length: 1\r\n\r\nb",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
)
_HTTP_WORDS: Final = (
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked"),
    *(b"gzip, ", b"Connection: close", b"keep-alive", b"0\r\n\r\n", b"\n", b" \t", b"+1", b"0x1", b"\0", b"1;a=b"),
)
TARGETS: Final = (
    Target("lines", "the cut of the chunks makes no line", check_lines, (b"\1\2\0\0a\nbb\r\n\n" + b"c" * 40 + b"\nd",)),
    Target(
        "sse",
        "event streams are read as the standard says",
        check_events,
        (b"\1\3\0\0event: x\r\ndata: a\rdata:b\n\n: c\n\ndata\n\n", b"\0\0\xef\xbb\xbfdata: a\n\nid: 1\nretry: 5\n\n"),
        (b"data:", b"event:", b"id:", b"retry:", b"\r\n", b"\r", b"\n\n", b"\xef\xbb\xbf", b": "),
    ),
    Target("sse-writing", "one event written is one event read", check_event_writing, (b'{"a":"b"}', b"")),
    Target(
        "http-answer",
        "what is taken for an answer, h11 reads the same",
        check_http_answer,
        tuple(b"\1\5\x21\0\0\0" + answer for answer in _ANSWERS),
        _HTTP_WORDS,
    ),
    Target(
        "http-request",
        "h11 reads what the hub meant to write",
        check_http_request,
        (
            b'http://a.example:81/mcp?x=1\nauthorization:Bearer x\nx-a:b c\0\0{"a":1}',
            b"https://[::1]/\xfc\nmcp-name:=?base64?eA==?=\0\0",
            b"http://a/\nx:y\r\nz: w\0\0",
        ),
        _HTTP_WORDS,
    ),
)
