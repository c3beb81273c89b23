"""One request and its answer on an inbound connection, as an ASGI app sees them.

Owns how an answer is framed, and writes its head together with the first of its body. Must not look into what it
carries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from hub.edge.heads import Head
from hub.edge.request import Headers, Message, Scope

log = logging.getLogger(__name__)

WHOLE_BODY: Final = "io.mcp-hub.body"
"""An extension of the ASGI scope: the body, when all of it had come before the app began. `receive` gives it too."""

HEAD: Final = "io.mcp-hub.head"
"""An extension of the ASGI scope: the `Head` of this request, on which the app may leave what it found out."""

_PLAIN: Final = bytes(code for code in range(256) if code == 9 or (code >= 32 and code != 127))
_BODILESS: Final = (204, 304)
_JOINED: Final = 64 * 1024  # a longer body is not copied to go with its head
_BROKEN: Final = b"Internal Server Error"

_Lines = list[tuple[bytes, bytes]]


class Cycle:
    """What uvicorn's does, at an eighth of its price: that one writes twice and searches each header twice."""

    __slots__ = (
        "_chunked",
        "_event",
        "_flow",
        "_head",
        "_is_head",
        "_left",
        "_news",
        "_on_response",
        "_started",
        "_state",
        "_transport",
        "_written",
        "body",
        "disconnected",
        "head",
        "keep_alive",
        "more_body",
        "response_complete",
        "scope",
        "task",
        "waiting_for_100_continue",
    )

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        state: ServerState,
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
        expects_100: bool = False,
        is_head: bool = False,
    ) -> None:
        self.scope = scope
        self.keep_alive, self.waiting_for_100_continue, self._is_head = keep_alive, expects_100, is_head
        self._transport, self._flow, self._state, self._on_response = transport, flow, state, on_response
        self.head: Head | None = None
        self.body = bytearray()
        self.more_body = True
        self.disconnected = self.response_complete = False
        self.task: asyncio.Task[None] | None = None
        self._event: asyncio.Event | None = None
        self._news = False  # there is something to receive
        self._started = self._written = self._chunked = False
        self._left = 0  # bytes of the body that the head has promised
        self._head: tuple[int, _Lines] | None = None  # begun and not written: ASGI wants it to wait for the body

    @property
    def message_event(self) -> asyncio.Event:
        """uvicorn's connection sets it when it is lost. Made when somebody waits: most requests end without."""
        event = self._event
        if event is None:
            event = self._event = asyncio.Event()
            if self._news:
                event.set()
        return event

    def wake(self) -> None:
        """There is something to receive."""
        self._news = True
        if self._event is not None:
            self._event.set()

    def start(self, loop: asyncio.AbstractEventLoop, app: Any) -> None:
        """Run the app in a task of the server's."""
        self._begin_task(loop, self._asgi(app))

    def start_judged(self, loop: asyncio.AbstractEventLoop, app: Any, head: Head, body: bytes) -> None:
        """As `start`, for one whole request whose head the app knows."""
        self.head, self.more_body = head, False
        self._begin_task(loop, self._guarded(app.again(head, body, self)))

    def _begin_task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        self.task = loop.create_task(work)
        self._state.tasks.add(self.task)

    async def _asgi(self, app: Any) -> None:
        if not self.more_body and not self.waiting_for_100_continue:
            self.scope["extensions"] = {WHOLE_BODY: {"body": bytes(self.body)}, HEAD: self.head}
        await self._guarded(app(self.scope, self.receive, self.send))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
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
            self._on_response = _nothing  # cycle and connection held one another
            if self.task is not None:
                self._state.tasks.discard(self.task)
                self.task = None

    async def receive(self) -> Message:
        if self.waiting_for_100_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            event = self.message_event
            await event.wait()
            event.clear()
            self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._started:
            self._started = True
            self.waiting_for_100_continue = False
            self._head = message["status"], message.get("headers", [])
        elif kind == "http.response.body" and self._started and not self.response_complete:
            self._write(message.get("body", b""), not message.get("more_body", False))
        else:
            raise RuntimeError(f"the answer has no place for another {kind!r}")

    def answer(self, status: int, body: bytes, headers: Headers) -> bool:
        """A whole answer in JSON at once, as `send` would give it in two; False when it has to wait, or is no first.

        `headers` come from the program's own words: line ends in them are looked for by `send` alone.
        """
        if self._started or self._flow.write_paused or self.disconnected or not self.keep_alive or self._is_head:
            return False
        self._started = True
        lines = b"".join([b"%b: %b\r\n" % line for line in (*self._state.default_headers, *headers)])
        head = b"%bcontent-length: %d\r\ncontent-type: application/json\r\n%b\r\n" % (
            STATUS_LINE[status],
            len(body),
            lines,
        )
        if len(body) > _JOINED:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)
        self._written = True
        self._complete()
        return True

    def _give_up(self) -> None:
        if self.response_complete or self.disconnected:
            return
        if self._written:
            self._transport.close()
            return
        self._started = True
        length = str(len(_BROKEN)).encode()
        self._head = 500, [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
        self._write(_BROKEN, True)

    def _write(self, body: bytes, last: bool) -> None:
        data = b""
        if self._head is not None:
            data, self._head = self._begin(*self._head), None
        framed = self._framed(body, last)
        self._written = True
        if data and len(framed) > _JOINED:
            self._transport.writelines((data, framed))
        elif data := data + framed:
            self._transport.write(data)
        if last:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.wake()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()

    def _begin(self, status: int, headers: _Lines) -> bytes:
        """Status line and headers; how the body will be framed is known from here on."""
        parts = [STATUS_LINE[status]]
        lines, sized, closing = 2, False, False
        for name, value in (*self._state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            lines += 1
            key = name.lower()
            if key == b"content-length":
                sized, self._left = True, int(value)
            elif key == b"connection" and b"close" in value.lower():
                closing, self.keep_alive = True, False
            elif key == b"transfer-encoding":
                raise RuntimeError("how an answer is framed is not the app's to say")
        if not self.keep_alive and not closing:
            parts.append(b"connection: close\r\n")
            lines += 1
        self._chunked = not sized and not self._is_head and status not in _BODILESS
        if self._chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.translate(None, _PLAIN) != b"\r\n" * lines:
            raise RuntimeError("a header of the answer holds a line end or another control character")
        return head

    def _framed(self, body: bytes, last: bool) -> bytes:
        if self._is_head:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if last else chunk
        self._left -= len(body)
        if self._left < 0 or (last and self._left):
            raise RuntimeError("the body is not as long as its Content-Length says")
        return body


def _nothing() -> None:
    return None
