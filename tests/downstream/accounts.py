"""Accounts at one real HTTP server that says which token it saw, and a hub's side to hold them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hub.core.call import Json
from hub.core.connections import ServerAuth
from hub.core.errors import NeedsLogin
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link, ServerSpec
from hub.downstream.personal_links import PersonalEvents, PersonalLinks, PersonalOpener
from tests.downstream.raw_http import Got, RawServer, Say, discovery, exchange, raw_server, result, spec, status


@dataclass(slots=True)
class Held:
    """What one account held when its link was opened."""

    given: str
    silent: bool = False

    async def token(self) -> str | None:
        return self.given

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        raise NeedsLogin("peer", "it takes this account's token no more")

    def served(self) -> None: ...


@dataclass(slots=True)
class Book:
    """`Credentials`: a token for each account that is connected."""

    tokens: dict[str, str] = field(default_factory=dict)

    def shared(self, server: str) -> None: ...

    def own(self, server: str, account: str) -> Held | None:
        token = self.tokens.get(account)
        return None if token is None else Held(token)


@dataclass(slots=True)
class Peer:
    """The server: modern, one tool, whose answer is the token it was called with."""

    raw: RawServer
    gates: dict[str, asyncio.Event] = field(default_factory=dict)  # by method: closed until set
    away: bool = False
    refused: set[str] = field(default_factory=set)  # tokens

    def count(self, method: str) -> int:
        return self.raw.methods().count(method)

    async def answer(self, got: Got, say: Say) -> None:
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.refused:
            await say(status("401 Unauthorized", "www-authenticate: Bearer\r\n"))
        elif self.away:
            await say(status("503 Service Unavailable"))
        else:
            if (gate := self.gates.get(got.method)) is not None:
                await gate.wait()
            text = {"content": [{"type": "text", "text": token}], "resultType": "complete"}
            await say(discovery(got) if got.method == "server/discover" else result(got, text))


class Rig:
    """Links of accounts to that server."""

    def __init__(self, peer: Peer, opener: PersonalOpener | None = None, **given: Any) -> None:
        self.peer, self.now = peer, 100.0
        self.spec = replace(spec(peer.raw.url), era="modern", auth=ServerAuth())
        self.specs: dict[str, ServerSpec] = {"peer": self.spec}
        self.book = Book({"ada": "ada:1", "bob": "bob:1", "eve": "eve:1"})
        self.up: list[tuple[str, str]] = []
        self.notified: list[tuple[str, str, str]] = []
        events = PersonalEvents(
            lambda server, account, link: self.up.append((server, account)),
            lambda server, account, method, params: self.notified.append((server, account, method)),
        )
        self.links = PersonalLinks({"http": opener or HttpOpener()}, self.book, events, self.specs.get, **given)

    def clock(self) -> float:
        return self.now

    async def call(self, account: str, within_s: float = 5.0) -> str:
        """The token that the server saw."""
        return await said(await self.links.opened("peer", account, within_s))


async def said(link: Link) -> str:
    made: Json = await link.request("tools/call", {"name": "whoami", "arguments": {}}, exchange())
    return str(made["content"][0]["text"])


@asynccontextmanager
async def accounts(**given: Any) -> AsyncIterator[Rig]:
    peers: list[Peer] = []

    async def handle(got: Got, say: Say) -> None:
        await peers[0].answer(got, say)

    async with raw_server(handle) as raw:
        peers.append(Peer(raw))
        rig = Rig(peers[0], **given)
        try:
            yield rig
        finally:
            await rig.links.aclose()
