"""One HTTP/1.1 connection: strict framing of answers, one exchange at a time.

It owns the socket's bytes and when the connection may be used again. It knows neither MCP nor JSON, follows no
redirect, keeps no cookie and sends nothing twice. Whatever could be read in two ways (two lengths, unknown transfer
codings, folded headers, bytes that no request asked for) ends the connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import httptools

from hub.core.alarms import Alarms
from hub.core.errors import DownstreamError, Garbled, Lost
from hub.wire.repeated import body_at, cut

HEAD_CAP: Final = 64 * 1024
INTERIM_CAP: Final = 8  # 100 to 102 answers before the real one
KEPT: Final = 4  # heads of one connection's answers; a `Date` changes every second
KEPT_BYTES: Final = 4096  # of one of them
_BODILESS: Final = (204, 304)  # whatever length their head tells

_KNOWN: Final = {
    written.encode(): key
    for key in ("content-type", "content-length", "date", "connection", "transfer-encoding", "server", "keep-alive")
    for written in (key, key.title())
}
# A head before and after the number of its Content-Length, and what the parser said of it: the status, the headers, and
# how long the connection may be idle.
_Head = tuple[bytes, bytes, int, dict[str, str], float | None]


class Receiver(Protocol):
    """Who reads one answer. Called from the event loop, never after `on_end` or `on_failed`; must not raise."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Names in lower case; of a repeated name, values joined by a comma."""

    def on_body(self, data: bytes) -> None: ...

    def on_end(self) -> None:
        """The answer is whole."""

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        """The answer will not come. `untouched`: a reused connection died without one byte of it."""


class Connection(asyncio.Protocol):
    """Idle until `send`; then busy until its receiver was told the end."""

    def __init__(
        self, server: str, alarms: Alarms, freed: Callable[[Connection], None], gone: Callable[[Connection], None]
    ) -> None:
        """`freed`: idle again and fit for another request. `gone`: closed; called exactly once.

        `alarms` are for its receivers, to keep their time by.
        """
        self._server, self.alarms, self._freed, self._gone = server, alarms, freed, gone
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._receiver: Receiver | None = None
        self._served = 0
        self.idle_since = 0.0
        self.idle_s: float | None = None  # what the server's `Keep-Alive: timeout` allows
        self._known: list[_Head] = []  # of its answers, the latest first
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._head_size = self._interim = self._received = 0
        self._headed = self._whole = self._until_eof = self._surplus = self._keep = False
        self._fault: str | None = None
        self._is_fresh = True

    # -- use

    @property
    def usable(self) -> bool:
        return self._transport is not None and self._receiver is None and not self._transport.is_closing()

    def send(self, receiver: Receiver, data: bytes) -> None:
        """Only on a usable connection."""
        assert self._transport is not None
        if not self._is_fresh:
            self._reset()
        self._receiver = receiver
        self._transport.write(data)

    def close(self) -> None:
        """At once. The receiver, if any, is not told: it is the one who closes."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def lose(self, text: str) -> None:
        """Close, and tell the receiver."""
        self._fail(Lost(self._server, text))

    def pause_for(self, seconds: float) -> None:
        """Stop reading for a while: the flood waits in the sender's buffers."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a silent stream notices a dead host
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            self.close()  # nothing was asked: an answer left here could be taken for the next request's
            return
        if self._is_fresh and self._is_repeated(data):
            return
        self._is_fresh = False
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self._fail(Lost(self._server, "reading its answer failed inside the hub"))
            raise
        except httptools.HttpParserUpgrade:
            self._broken("wants to switch protocols")
        except httptools.HttpParserError as exc:
            self._broken(f"sends broken HTTP: {exc}")
        if not self._headed and not self._fault and self._received > HEAD_CAP:
            self._fault = "sends endless headers"
        if self._fault:
            self._fail(Garbled(self._server, self._fault))
        elif self._whole:
            if self._received == len(data) and self._keep and not self._surplus:
                self._learn(data)
            self._finish()

    def _broken(self, fault: str) -> None:
        """Behind a whole answer it spoils the connection, and not the answer."""
        if not self._whole:
            self._fault = self._fault or fault
        self._surplus = True

    def eof_received(self) -> bool:
        if self._until_eof and self._receiver is not None and not self._whole:
            self._whole, self._keep = True, False
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._receiver is not None:
            self._fail(Lost(self._server, "closed the connection before the answer was whole"))
        self._transport = self._parser = None
        self._gone(self)

    # -- httptools

    def on_message_begin(self) -> None:
        if self._whole:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._whole or self._fault:
            return
        self._head_size += len(name) + len(value) + 4
        if self._head_size > HEAD_CAP:
            self._fault = "sends endless headers"
        elif not self._headed:  # trailers count, and say nothing
            key = _KNOWN.get(name) or name.decode("latin-1").lower()
            text = value.decode("latin-1").strip(" \t")
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if self._whole or self._fault:
            return
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            self._fault = "answers in another version of HTTP"
        elif status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_CAP:
                self._fault = f"sends HTTP {status} that nothing asked for"
        else:
            self._begin_body(status)

    def on_body(self, data: bytes) -> None:
        if not self._whole and not self._fault and self._receiver is not None:
            self._receiver.on_body(data)

    def on_message_complete(self) -> None:
        if self._whole or self._fault:
            return
        if not self._headed:
            self._headers = {}  # of an interim answer
            return
        self._whole, self._keep = True, self._parser.should_keep_alive()

    # -- inside

    def _begin_body(self, status: int) -> None:
        coding = self._headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._fault = "uses a transfer coding the hub does not read"
            return
        if self._headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            self._fault = "compresses its answer, which the hub did not ask for"
            return
        self._headed = True
        self._until_eof = coding is None and "content-length" not in self._headers and status not in _BODILESS
        assert self._receiver is not None  # nobody goes away before the head
        self._receiver.on_head(status, self._headers)

    def _learn(self, data: bytes) -> None:
        """Remember the head of an answer that came in one piece, framed by its length alone, and left all well."""
        headers, found, status = self._headers, cut(data), self._parser.get_status_code()
        if found is None or self._interim or status in _BODILESS or "transfer-encoding" in headers:
            return
        before, after = found
        if len(before) + len(after) <= KEPT_BYTES:
            told = headers.get("keep-alive")
            idle_s = None if told is None else _keep_alive_s(told)
            self._known = [(before, after, status, dict(headers), idle_s), *self._known[: KEPT - 1]]

    def _is_repeated(self, data: bytes) -> bool:
        """Deal with a whole answer whose head the parser has seen before; it stands where it would stand after it."""
        for before, after, status, headers, idle_s in self._known:
            begin = body_at(data, before, after)
            if begin:
                length = data[len(before) : begin - len(after)].decode()
                self._hand_over(status, {**headers, "content-length": length}, data[begin:])
                self.idle_s = idle_s
                self._leave(reusable=True)
                return True
        return False

    def _hand_over(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        try:
            receiver.on_head(status, headers)
            if body and self._receiver is not None:
                receiver.on_body(body)
        except Exception:
            self._fail(Lost(self._server, "reading its answer failed inside the hub"))
            raise

    def _finish(self) -> None:
        told = self._headers.get("keep-alive")
        self.idle_s = None if told is None else _keep_alive_s(told)
        self._leave(self._keep and not self._surplus)

    def _leave(self, reusable: bool) -> None:
        """The answer is whole."""
        receiver, self._receiver = self._receiver, None
        self._served += 1
        if not reusable or self._transport is None or self._transport.is_closing():
            self.close()
        else:
            self._freed(self)
        if receiver is not None:
            receiver.on_end()

    def _fail(self, error: DownstreamError) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            receiver.on_failed(error, self._served > 0 and self._received == 0)


def _keep_alive_s(header: str) -> float | None:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "timeout" and value.isascii() and value.isdigit():
            return float(value[:9])
    return None
