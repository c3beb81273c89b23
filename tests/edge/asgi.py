"""One HTTP request to an edge, as the server would make it, and what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hub.core.call import Principal
from hub.core.ports import Endpoint
from hub.edge.request import Message, Receive, Request, Send
from hub.wire import jsonrpc
from tests.edge.fakes import CLIENT, CLIENT_TOKEN, OTHER_TOKEN, eventually

BOTH = "application/json, text/event-stream"
TOKENS = {"cred-client": CLIENT_TOKEN, "cred-other": OTHER_TOKEN}

Handler = Callable[[Request, Receive, Send], Awaitable[None]]


def make_request(
    message: Any = None,
    *,
    who: Principal = CLIENT,
    endpoint: Endpoint | None = None,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> Request:
    body = b"" if message is None else jsonrpc.dumps(message)
    given = {"accept": BOTH, "authorization": f"Bearer {TOKENS.get(who.credential, '')}", **(headers or {})}
    return Request(who, endpoint or Endpoint(""), method, given, query, body, message)


class Reply:
    """An answer as it arrives. `leave()` is the client going away."""

    def __init__(self, handler: Handler, request: Request) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.done = False
        self.broken = False  # writing to the client fails
        self.unread: asyncio.Event | None = None  # set to an Event: writing waits for it
        self._left = asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.create_task(self._run(handler, request))

    def leave(self) -> None:
        self._left.set()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, str]]:
        """(event, data) of a stream."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            if "data" in fields:
                found.append((fields.get("event", "message"), fields["data"]))
        return found

    @property
    def messages(self) -> list[Any]:
        return [json.loads(data) for event, data in self.events if event == "message"]

    async def finished(self) -> Reply:
        await asyncio.wait_for(asyncio.shield(self.task), 5)
        return self

    async def started(self) -> Reply:
        await eventually(lambda: self.status != 0)
        return self

    async def _run(self, handler: Handler, request: Request) -> None:
        async def receive() -> Message:
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if self.broken:
                raise ConnectionResetError("the client is gone")
            if self.unread is not None and self.status:
                await self.unread.wait()
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self.body += message["body"]
                self.done = not message.get("more_body", False)

        await handler(request, receive, send)


async def ask(handler: Handler, message: Any = None, **how: Any) -> Reply:
    """The whole answer to one request."""
    return await Reply(handler, make_request(message, **how)).finished()
