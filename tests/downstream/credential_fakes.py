"""A credential that a test fills, and real servers of every way of speaking that look at the token of each request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.core.call import Json
from hub.core.errors import DownstreamError, NeedsLogin, Unreachable
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link
from hub.downstream.sse import SseOpener
from hub.wire import jsonrpc
from tests.downstream.raw_http import (
    STREAM,
    Got,
    Heard,
    RawServer,
    Say,
    discovery,
    event,
    failure,
    initialized,
    raw_server,
    result,
    spec,
    status,
)

Kind = Literal["modern", "legacy", "sse"]
Handler = Callable[[Got, Say], Awaitable[None]]
CALL: Json = {"name": "echo", "arguments": {"text": "hi"}}
CHANGING: Json = {"tools": {"listChanged": True}}
CHALLENGE = 'Bearer resource_metadata="https://peer.example/m", scope="a b"'
STEP_UP = 'Bearer error="insufficient_scope", scope="write"'


@dataclass(slots=True)
class Held:
    """A credential with a token, those that follow it when it is refused, and what it was told."""

    current: str | None
    next: deque[str] = field(default_factory=deque)
    silent: bool = False
    broken: DownstreamError | None = None  # raised in the place of a token
    told_breaks: bool = False  # from a refusal on, nobody can be asked
    gate: asyncio.Event | None = None  # every answer waits for it
    asked: int = 0
    told: list[tuple[str | None, int, str | None]] = field(default_factory=list)
    served_with: list[str | None] = field(default_factory=list)

    async def token(self) -> str | None:
        self.asked += 1
        assert not self.silent
        await self._turn()
        return self.current

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        self.told.append((token, status, challenge))
        await self._turn()
        if self.told_breaks:
            raise Unreachable("peer", "its issuer is on holiday")
        if not self.next:
            raise NeedsLogin("peer", "log in at the page of this test")
        self.current = self.next.popleft()
        return self.current

    def served(self) -> None:
        self.served_with.append(self.current)

    async def _turn(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.broken is not None:
            raise self.broken


def held(*tokens: str, **more: Any) -> Held:
    return Held(tokens[0] if tokens else None, deque(tokens[1:]), **more)


def refuse(line: str = "401 Unauthorized", challenge: str = CHALLENGE) -> bytes:
    return status(line, f"www-authenticate: {challenge}\r\n" if challenge else "")


@dataclass(slots=True)
class Guarded:
    """A server that refuses what `bar` says, by itself nothing. `stream`: what a standing stream gets."""

    kind: Kind
    bar: Callable[[Got], bytes | None] = lambda got: None
    call: Handler | None = None
    stream: Handler | None = None
    said: Say | None = None  # into the one stream of `sse`

    async def __call__(self, got: Got, say: Say) -> None:
        refusal = self.bar(got)
        if refusal is not None:
            await say(refusal)
        elif got.method in ("subscriptions/listen", "GET"):
            await self._stand(got, say)
        elif got.method.startswith("notifications/") or got.verb == "DELETE":
            await say(status("202 Accepted"))
        elif self.kind == "sse":
            await self._on_stream(got, say)
        elif got.method == "server/discover":
            await say(discovery(got, CHANGING) if self.kind == "modern" else failure(got, -32601, "404 Not Found"))
        elif got.method == "initialize":
            await say(initialized(got, CHANGING))
        elif self.call is not None:
            await self.call(got, say)
        else:
            await say(result(got, {"resultType": "complete", "ok": True}))

    async def _stand(self, got: Got, say: Say) -> None:
        if self.kind == "sse":
            self.said = say
            await say(STREAM + event(b"/messages", name="endpoint"))
        elif self.stream is not None:
            await self.stream(got, say)
            return
        else:
            await say(STREAM)
        await asyncio.Event().wait()

    async def _on_stream(self, got: Got, say: Say) -> None:
        assert self.said is not None
        told: Json = {"ok": True}
        if got.method == "initialize":
            told = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
        await say(status("202 Accepted"))
        await self.said(event(jsonrpc.result(got.message["id"], told)))


def bearing(*tokens: str) -> Callable[[Got], bytes | None]:
    """Refuses every request without one of these tokens."""
    good = {f"Bearer {token}" for token in tokens}
    return lambda got: None if got.headers.get("authorization") in good else refuse()


async def opened(kind: Kind, server: RawServer, heard: Heard, credential: Held | None, **more: Any) -> Link:
    if kind == "sse":
        return await SseOpener()(spec(server.url, **more), heard.events(), credential)
    return await HttpOpener(reopen_s=0.01)(spec(server.url, **more), heard.events(), credential)


@asynccontextmanager
async def linked(
    guarded: Guarded, credential: Held | None, **more: Any
) -> AsyncIterator[tuple[Link, RawServer, Heard]]:
    heard = Heard()
    async with raw_server(guarded) as server:
        link = await opened(guarded.kind, server, heard, credential, **more)
        try:
            yield link, server, heard
        finally:
            await link.aclose()


def presented(server: RawServer, *methods: str) -> list[str | None]:
    """The `Authorization` of each request, or of those of these methods."""
    return [got.headers.get("authorization") for got in server.got if not methods or got.method in methods]
