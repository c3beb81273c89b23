"""Reads the answer to one posted request: one JSON body, or the events of one stream.

It owns the request's clock, its size cap and which message is its answer. It opens and sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import field
from time import monotonic
from typing import Any, Final, Protocol

from hub.core.alarms import Alarms
from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, Late, Lost, Oversize
from hub.core.values import value
from hub.downstream.envelope import rank
from hub.downstream.h1 import Connection
from hub.downstream.http_frames import Frames
from hub.downstream.link import Exchange, as_dict
from hub.downstream.sse_events import TooLong
from hub.wire.jsonrpc import Malformed, loads

PROBLEM_CAP: Final = 64 * 1024  # of the body of a refusal
JSON: Final = "application/json"
LINGER_S: Final = 1.0  # for a stream to end after its answer, so that its connection can serve again
STREAM_FACTOR: Final = 4  # a stream with all its notifications may be this much longer than its answer


@value(eq=False)
class Reply:
    """What came back. `message` is the answer itself, or what a refusing body says, if it is JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: Any = None


class Bystander(Protocol):
    """Takes the messages of a stream that are not the answer to its request. Never waits."""

    def aside(self, message: dict[str, Any]) -> None: ...

    def noise(self, what: str) -> None: ...


class Unheard:
    """The bystander of requests of the hub's own: nothing but the answer is of interest, and noise is counted."""

    def __init__(self, noise: Callable[[str], None]) -> None:
        self.noise = noise

    def aside(self, message: dict[str, Any]) -> None:
        return None


class Answer:
    """The receiver of one answer. `done` yields the Reply or raises a DownstreamError."""

    untouched = False  # it failed on a reused connection without one byte of the answer
    resume: Callable[[], bool] | None = None  # asked when a stream ends early; True: another will follow
    # Asked, with status and headers, when the stream that should follow is none; True: it is tried again.
    barred: Callable[[int, Mapping[str, str]], bool] | None = None
    last_event_id = ""
    retry_ms: int | None = None
    end = 0.0  # of the waiting, which an alarm keeps
    starts = 0
    _connection: Connection | None = None
    _alarms: Alarms | None = None
    _status, _size = 0, 0
    _headers: Mapping[str, str] = {}
    _body: bytes | bytearray = b""
    _frames: Frames | None = None

    def __init__(
        self,
        server: str,
        request_id: int | None,
        exchange: Exchange,
        bystander: Bystander,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Without a request id what was posted is no request, and only the status matters.

        `loop`: the running one, where it is known; asking for it is a system call.
        """
        self._server, self._id, self._exchange, self._bystander = server, request_id, exchange, bystander
        self.done: asyncio.Future[Reply] = (loop or asyncio.get_running_loop()).create_future()

    # -- for the one who asks

    @property
    def is_settled(self) -> bool:
        """Whether the server has answered."""
        return self.done.done() and not self.done.cancelled() and self.done.exception() is None

    def start(self, connection: Connection, data: bytes) -> None:
        """Send and listen. Once more, on another connection, only after `resume` said so."""
        self.starts += 1
        if self.starts > 1:
            self._status, self._size, self._headers, self._body, self._frames = 0, 0, {}, b"", None
        self._connection = connection
        self._restart_clock()
        self._alarms = alarms = connection.alarms
        alarms.set(self)
        connection.send(self, data)

    def abandon(self) -> None:
        """Nobody waits any more: end the connection at once."""
        self._stop_clock()
        self.done.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def fail(self, error: DownstreamError) -> None:
        """End it, whatever its state; what is settled stays as it is."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # whoever waits still gets it; that nobody waits is no fault
        self.abandon()

    # -- for the connection

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers
        if headers.get("content-type") == JSON:
            return
        if self._id is not None and 200 <= status < 300 and _kind(headers) == "text/event-stream":
            cap = self._exchange.max_bytes
            self._frames = Frames(cap, STREAM_FACTOR * cap, self._bystander.noise)

    def on_body(self, data: bytes) -> None:
        if self._frames is not None:
            self._stream(self._frames, data)
            return
        self._size += len(data)
        if self._size > self._exchange.max_bytes:
            self._too_large()
        elif self._status >= 300 and self._size > PROBLEM_CAP:
            self._body = b""
        elif not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def on_end(self) -> None:
        self._connection = None
        if self.done.done():
            self._stop_clock()
        elif self._frames is not None:
            self._early_end(Lost(self._server, "ended the stream without the answer"))
        elif self.starts > 1:
            if self.barred is None or not self.barred(self._status, self._headers):
                self.fail(Lost(self._server, "did not resume the stream of the answer"))
        elif self._status < 300 and self._id is not None and self._body:
            self._whole_body()
        else:
            self._settle(Reply(self._status, self._headers, self._problem()))

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self._connection, self.untouched = None, untouched
        if self._frames is not None and isinstance(error, Lost) and not self.done.done():
            self._early_end(error)
        else:
            self.fail(error)

    # -- messages

    def _whole_body(self) -> None:
        kind = _kind(self._headers) or JSON
        if kind != JSON:
            self.fail(Garbled(self._server, f"answers with {kind[:60]!r} instead of JSON; check its url"))
            return
        try:
            message = loads(self._body)
        except Malformed as exc:
            self.fail(Garbled(self._server, f"its answer is broken: {exc}"))
            return
        self._body = b""
        for part in message if isinstance(message, list) else (message,):
            self._message(part, self._size)
        if not self.done.done():
            self.fail(Garbled(self._server, "its body holds no answer to the request"))

    def _stream(self, frames: Frames, data: bytes) -> None:
        try:
            told = frames.feed(data, self._connection)
        except TooLong:
            self._too_large()
            return
        self.last_event_id = frames.last_id or self.last_event_id
        self.retry_ms = frames.retry_ms if frames.retry_ms is not None else self.retry_ms
        for frame in told:
            self._message(frame.message, frame.size_bytes)

    def _message(self, message: Any, size_bytes: int) -> None:
        told = message if type(message) is dict else None
        if told is None or told.get("jsonrpc") != "2.0":
            self._bystander.noise("garbage")
        elif "method" in told:
            self._beside(told)
        elif not self._is_answer(told):
            self._bystander.noise("foreign")
        elif self.done.done():
            self._bystander.noise("duplicate")
        else:
            self._exchange.size_bytes = size_bytes
            self._settle(Reply(self._status, self._headers, told))

    def _is_answer(self, told: dict[str, Any]) -> bool:
        got = told.get("id")
        if got is None:
            return "error" in told  # the server could not even read the id
        return (type(got) is int and got == self._id) or got == str(self._id)  # servers exist that send ids as texts

    def _beside(self, told: dict[str, Any]) -> None:
        params = as_dict(told.get("params"))
        if "id" in told or params is None:
            self._bystander.aside(told)
        elif told["method"] == "notifications/progress":
            token = params.get("progressToken")
            if type(token) is not int or token != self._id:
                self._bystander.noise("foreign")
            else:
                self.progress(params)
        elif told["method"] == "notifications/message" and self._exchange.log_level is not None:
            self.log(params)
        else:
            self._bystander.aside(told)

    def progress(self, params: Json) -> None:
        """A sign of life: the silence begins anew."""
        if self.done.done():
            self._bystander.noise("late")
            return
        self._restart_clock()
        if self._exchange.notice is not None:
            told = {name: value for name, value in params.items() if name != "progressToken"}
            self._exchange.notice("notifications/progress", told)

    @property
    def listens(self) -> bool:
        """Whether its caller asked for log messages and still waits."""
        exchange = self._exchange
        return exchange.log_level is not None and exchange.notice is not None and not self.done.done()

    def log(self, params: Json) -> None:
        """A log message, if the caller takes such ones."""
        exchange = self._exchange
        if self.listens and exchange.notice is not None and rank(params.get("level")) >= rank(exchange.log_level):
            exchange.notice("notifications/message", params)

    # -- ends

    def _settle(self, reply: Reply) -> None:
        self.done.set_result(reply)
        if self._connection is None:
            self._stop_clock()
        elif self._alarms is not None:
            self.end = monotonic() + LINGER_S
            self._alarms.set(self)

    def _early_end(self, error: DownstreamError) -> None:
        if self.resume is None or not self.resume():
            self.fail(error)

    def _problem(self) -> Any:
        try:
            return loads(self._body) if self._body else None
        except Malformed:
            return None

    def _too_large(self) -> None:
        cap = self._exchange.max_bytes
        self.fail(Oversize(self._server, f"its answer is longer than {cap} bytes; ask for less, or raise the limit"))

    # -- the clock

    def _restart_clock(self) -> None:
        exchange = self._exchange
        silent = monotonic() + exchange.timeout_s
        self.end = silent if silent < exchange.hard_deadline else exchange.hard_deadline

    def ring(self) -> None:
        if self.done.done():
            self.abandon()  # the stream went on after its answer
        else:
            self.fail(Late(self._server, f"did not answer in time ({self._exchange.timeout_s:g} s without a sign)"))

    def _stop_clock(self) -> None:
        if self._alarms is not None:
            self._alarms.unset(self)


def _kind(headers: Mapping[str, str]) -> str:
    given = headers.get("content-type", "")
    return given if given == JSON else given.partition(";")[0].strip(" \t").lower()
