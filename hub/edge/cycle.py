"""One request and its answer on an inbound connection, as an ASGI app sees them.

Owns how an answer is framed, and writes its head together with the first of its body. Must not look into what it
carries.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from hub.edge.request import Message

log = logging.getLogger(__name__)

WHOLE_BODY: Final = "io.mcp-hub.body"
"""An extension of the ASGI scope: the body, when all of it had come before the app began. `receive` gives it too."""

_PLAIN: Final = bytes(code for code in range(256) if code == 9 or (code >= 32 and code != 127))
_BODILESS: Final = (204, 304)
_JOINED: Final = 64 * 1024  # a longer body is not copied to go with its head
_BROKEN: Final = b"Internal Server Error"

_Lines = list[tuple[bytes, bytes]]


class Cycle(RequestResponseCycle):
    """uvicorn's, which writes twice for every answer and searches each of its headers twice: 8 us of a call's CPU."""

    _head: tuple[int, _Lines] | None = None  # begun and not written: ASGI wants it to wait for the body
    _is_written = False
    task: asyncio.Task[None] | None = None
    tasks: set[asyncio.Task[None]]

    def start(self, loop: asyncio.AbstractEventLoop, app: Any, tasks: set[asyncio.Task[None]]) -> None:
        """Run the app in a task that is one of `tasks` until it has ended."""
        self.tasks, self.task = tasks, loop.create_task(self.run_asgi(app))
        tasks.add(self.task)

    async def run_asgi(self, app: Any) -> None:
        if not self.more_body and not self.waiting_for_100_continue:
            self.scope["extensions"] = {WHOLE_BODY: {"body": bytes(self.body)}}
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            return  # cut off: the connection is gone, there is nobody to tell
        except Exception:
            log.exception("a request broke the app")
            self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                log.error("a request was left without a whole answer")
                self._give_up()
        finally:
            self.on_response = _nothing  # cycle and connection held one another
            if self.task is not None:
                self.tasks.discard(self.task)
                self.task = None

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = message["status"], message.get("headers", [])
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), not message.get("more_body", False))
        else:
            raise RuntimeError(f"the answer has no place for another {kind!r}")

    def _give_up(self) -> None:
        if self.response_complete or self.disconnected:
            return
        if self._is_written:
            self.transport.close()
            return
        self.response_started = True
        length = str(len(_BROKEN)).encode()
        self._head = 500, [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
        self._write(_BROKEN, True)

    def _write(self, body: bytes, last: bool) -> None:
        data = b""
        if self._head is not None:
            data, self._head = self._begin(*self._head), None
        framed = self._framed(body, last)
        self._is_written = True
        if data and len(framed) > _JOINED:
            self.transport.write(data)
            data = b""
        data += framed
        if data:
            self.transport.write(data)
        if last:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _begin(self, status: int, headers: _Lines) -> bytes:
        """Status line and headers; how the body will be framed is known from here on."""
        parts = [STATUS_LINE[status]]
        lines, sized, closing = 2, False, False
        for name, value in (*self.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            lines += 1
            key = name.lower()
            if key == b"content-length":
                sized, self.expected_content_length = True, int(value)
            elif key == b"connection" and b"close" in value.lower():
                closing, self.keep_alive = True, False
            elif key == b"transfer-encoding":
                raise RuntimeError("how an answer is framed is not the app's to say")
        if not self.keep_alive and not closing:
            parts.append(b"connection: close\r\n")
            lines += 1
        self.chunked_encoding = not sized and self.scope["method"] != "HEAD" and status not in _BODILESS
        if self.chunked_encoding:
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.translate(None, _PLAIN) != b"\r\n" * lines:
            raise RuntimeError("a header of the answer holds a line end or another control character")
        return head

    def _framed(self, body: bytes, last: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            return b""
        if self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if last else chunk
        self.expected_content_length -= len(body)
        if self.expected_content_length < 0 or (last and self.expected_content_length):
            raise RuntimeError("the body is not as long as its Content-Length says")
        return body


def _nothing() -> None:
    return None
