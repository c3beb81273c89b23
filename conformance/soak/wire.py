"""One HTTP/1.1 connection to the hub, as light as it goes: the load must not cost more than what it loads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import httptools

ANSWER_S: Final = 30.0  # an answer that takes longer counts as none

Json = dict[str, Any]


class Gone(Exception):
    """The connection ended before the answer did."""


class Answer:
    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def messages(self) -> list[Json]:
        """All of them: notifications that came before the answer, and the answer last."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return Events().feed(self.body)
        return [json.loads(self.body)] if self.body else []


class Events:
    """Makes messages of an event stream that comes in pieces; the event `endpoint` becomes {"endpoint": address}."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Json]:
        *whole, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        return [message for event in whole if (message := _message(event)) is not None]


def _message(event: bytes) -> Json | None:
    name, data = b"message", b""
    for line in event.split(b"\n"):
        if line.startswith(b"event:"):
            name = line[6:].strip()
        elif line.startswith(b"data:"):
            data += line[5:].strip()
    if not data:
        return None
    return {"endpoint": data.decode()} if name == b"endpoint" else json.loads(data)


class Wire(asyncio.Protocol):
    """Asks one thing at a time; or carries one stream until it is closed."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._status, self._headers, self._body = 0, dict[str, str](), bytearray()
        self._waiting: asyncio.Future[Any] | None = None
        self._on_event: Callable[[Json], None] | None = None
        self._events = Events()
        self._ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, port: int) -> Wire:
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return wire

    @property
    def open(self) -> bool:
        return not self._ended.done()

    async def ask(self, data: bytes, timeout_s: float = ANSWER_S) -> Answer:
        """Raises Gone and TimeoutError; the connection is of no use after either."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._send(data)
        try:
            async with asyncio.timeout(timeout_s):
                return cast(Answer, await self._waiting)
        finally:
            self._waiting = None

    async def stream(self, data: bytes, on_event: Callable[[Json], None]) -> int:
        """Open a stream; its status. What comes on it goes to `on_event` until the connection ends."""
        self._on_event = on_event
        try:
            return (await self.ask(data)).status
        except Gone:
            return 0

    async def ended(self) -> None:
        await asyncio.shield(self._ended)

    def send(self, data: bytes) -> None:
        """Without waiting for what it is answered with."""
        self._send(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def _send(self, data: bytes) -> None:
        if self._transport is None or not self.open:
            raise Gone
        self._transport.write(data)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Gone())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._on_event is not None:
            self._tell(Answer(self._status, self._headers, b""))

    def on_body(self, body: bytes) -> None:
        if self._on_event is None:
            self._body += body
            return
        for message in self._events.feed(body):
            self._on_event(message)

    def on_message_complete(self) -> None:
        if self._on_event is None:
            self._tell(Answer(self._status, self._headers, bytes(self._body)))
        else:
            self.close()

    def _tell(self, answer: Answer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


def request(verb: str, path: str, port: int, token: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = [
        f"{verb} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {token}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if verb == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
