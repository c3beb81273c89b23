"""What logins at a downstream stand on, whole: a server behind a login, its issuer, and the hub's parts that log in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hub.admin.connection_desk import ConnectionDesk
from hub.admin.connections import operations
from hub.admin.operation import Answer as Told
from hub.admin.operation import Asked, Operation
from hub.core.connections import SHARED, ConnectionRow, EnteredClient, ServerAuth
from hub.downstream.fetch import GuardedFetcher
from hub.identity.outbound.acts import Acts
from hub.identity.outbound.clients import Clients, hub_client
from hub.identity.outbound.desk import Desk
from hub.identity.outbound.leaving import Leaving
from hub.identity.outbound.parts import Parts as OutboundParts
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.refresher import Connections
from hub.identity.roles import Roles
from hub.identity.sealer import KeySealer
from hub.identity.users import Users
from hub.stores.memory.connections import MemoryConnections
from hub.stores.memory.users import MemoryUsers
from tests.admin.asking import ADMIN, Answer, Api
from tests.admin.fakes import Parts
from tests.identity.outbound.downstream import CODE, Downstream, query_of

CANARIES = ("canary-access", "canary-refresh", "canary-secret")
BROWSER = "a-browser"
BASE = "http://127.0.0.1:8700"


@dataclass
class World:
    down: Downstream
    parts: Parts = field(default_factory=Parts)
    users: Users = field(default_factory=lambda: Users(MemoryUsers(), Roles()))
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.down.tokens |= {"access_token": CANARIES[0], "refresh_token": CANARIES[1]}
        entered = ServerAuth("shared", "client_credentials", EnteredClient("hub", CANARIES[2], "client_secret_basic"))
        self.servers = {
            "wiki": Protected(self.down.url, ServerAuth()),
            "team": Protected(self.down.url, ServerAuth("shared")),
            "robot": Protected(self.down.url, entered),
        }
        hub, store, sealer = hub_client(BASE), MemoryConnections(), KeySealer(b"k" * 32)
        fetcher = GuardedFetcher(local=["127.0.0.1"])
        clients = Clients(lambda: self.servers, lambda: hub, fetcher, store, sealer)
        self.connections = Connections(store, sealer, clients)
        outbound = OutboundParts(lambda: self.servers, lambda: hub, clients, self.connections, Acts(self.parts.journal))
        self.logins, self.leaving = Desk(outbound), Leaving(outbound)
        self.desk = ConnectionDesk(
            self.connections, self.logins, self.leaving, self.users, self.parts.journal, lambda: self.now
        )
        self.parts.more = (*operations(self.desk), self._browser())

    async def open(self, url: str) -> ConnectionRow:
        """What a person does with the page, and the browser with the issuer's answer."""
        [token] = parse_qs(urlsplit(url).query)["c"]
        asked = query_of(await self.logins.begin(token, BROWSER))
        answer = [("code", CODE), ("state", asked["state"]), ("iss", self.down.issuer)]
        return (await self.logins.finish(answer, BROWSER)).connection

    async def connect(self, account: str, label: str = "", server: str = "wiki") -> ConnectionRow:
        whose = "everybody" if account == SHARED else f"user {account}"
        return await self.open(self.logins.offer_to(account, whose, server, label).url)

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        found = await Api(self.parts.ports()).ask(method, f"/api/v1{path}", more.pop("who", ADMIN), body, **more)
        for canary in CANARIES:
            assert canary.encode() not in found.body
            assert canary not in repr(self.parts.journal.events)
        return found

    def acts(self) -> list[tuple[str, str, str]]:
        return [(kind, outcome, detail["act"]) for kind, _, outcome, detail in self.parts.journal.events]

    def _browser(self) -> Operation:
        """For programs in another thread than the hub's."""

        async def opened(asked: Asked) -> Told:
            return Told({"id": (await self.open(asked.body["url"])).id})

        body = {"type": "object"}
        return Operation("POST", "/browser", "browser", "a person at a page", opened, body=body, answer=body)


@asynccontextmanager
async def a_world(**more: Any) -> AsyncIterator[World]:
    async with Downstream(**more) as down:
        world = World(down)
        try:
            yield world
        finally:
            await world.leaving.aclose()
            await world.connections.aclose()
