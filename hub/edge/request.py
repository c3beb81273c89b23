"""One HTTP request as the edges see it, and the ways to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hub.core.call import Principal
from hub.core.ports import Endpoint
from hub.core.values import value

if TYPE_CHECKING:
    from hub.edge.heads import Head

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Whole = Callable[[int, bytes, Headers], bool]
"""One whole JSON answer (status, body, headers) without a wait; False when it cannot be given so, and nothing was."""

CALL_ID = b"hub-call-id"


class Channel(NamedTuple):
    """The ways of one request: what comes, what goes, and the short way for a whole answer, where there is one."""

    receive: Receive
    send: Send
    whole: Whole | None = None


@value(eq=False)
class Request:
    """Authenticated, from an allowed host and origin, its body read within its limits."""

    who: Principal
    endpoint: Endpoint
    method: str  # HTTP method
    headers: Mapping[str, str]  # lower-case names, blanks around values removed
    query: str
    body: bytes
    message: Any  # the body as decoded JSON; None without a body
    whole: Whole | None = None  # the short way to answer, where there is one
    head: Head | None = None  # of a connection that repeats it


async def respond(send: Send, status: int, body: bytes = b"", headers: Headers = ()) -> None:
    """One whole answer. A body is JSON unless the headers say otherwise."""
    lines = [(b"content-length", b"%d" % len(body)), *headers]
    if body and not [True for name, _ in headers if name == b"content-type"]:
        lines.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


class EventStream:
    """A `text/event-stream` answer. Not safe for concurrent writers: one task owns it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def open(self, headers: Headers = ()) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-cache, no-transform"),
                    (b"x-accel-buffering", b"no"),
                    *headers,
                ],
            }
        )
        await self._write(b"")  # ASGI keeps a head back until there is something of the body

    async def event(self, data: bytes, name: str = "message", event_id: str | None = None) -> None:
        """One event; `data` is a single line of JSON (or, for `endpoint`, a path)."""
        head = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
        await self._write(head.encode() + b"data: " + data + b"\n\n")

    async def comment(self) -> None:
        """Keeps idle connections and proxies awake."""
        await self._write(b": \n\n")

    async def close(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
