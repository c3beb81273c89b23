"""A hub that logs its users in at a downstream, whole: everything real but the browser, the clocks and the audit log.

The issuer knows whose code, refresh token and access token each is, so that a token which crossed over is seen.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from hub.core.call import Json, Principal
from hub.core.connections import ServerAuth
from hub.core.errors import HubError
from hub.core.ports import EventKind, Fetcher, Offers
from hub.downstream.credential import Credentials
from hub.downstream.fetch import GuardedFetcher
from hub.identity.outbound.acts import Acts
from hub.identity.outbound.asking import Attempts
from hub.identity.outbound.book import Clocks
from hub.identity.outbound.clients import Clients, hub_client
from hub.identity.outbound.desk import Desk, Finished
from hub.identity.outbound.leaving import Leaving
from hub.identity.outbound.parts import Parts
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.refresher import Connections
from hub.identity.outbound.registration import HubClient
from hub.identity.outbound.speaking import Account, Speaking
from hub.identity.sealer import KeySealer
from hub.stores.memory.connections import MemoryConnections
from tests.identity.idp import Asked
from tests.identity.outbound.downstream import Downstream, query_of
from tests.identity.outbound.rotating import Times

BASE = "http://127.0.0.1:7777"
LIFE_S = 3600.0
ANN, BOB = "u" + "a" * 16, "u" + "b" * 16
SEALER = KeySealer(b"k" * 32)


class Full(HubError):
    """The log takes nothing."""


@dataclass
class Log:
    """`Journal`."""

    events: list[tuple[EventKind, str, str, Json]] = field(default_factory=list)
    is_full: bool = False

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        if self.is_full:
            raise Full("the disk is full")
        self.events.append((kind, who, outcome, detail))
        return f"event-{len(self.events)}"

    def acts(self) -> list[tuple[str, str, str]]:
        return [(who, detail["act"], outcome) for _, who, outcome, detail in self.events]


@dataclass
class Bank:
    """Gives tokens at one issuer: strictly, each refresh token once."""

    refreshed: list[str] = field(default_factory=list)
    own: int = 0  # tokens in the clients' own name
    revoked: list[str] = field(default_factory=list)
    scopes: dict[str, str] = field(default_factory=dict)  # granted, by user; else as asked for
    access: dict[str, str] = field(default_factory=dict)  # users by the access tokens in force
    refresh: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    made: int = 0

    def token(self, asked: Asked) -> tuple[int, bytes]:
        form = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        if self.error is not None:
            return 400, json.dumps({"error": self.error}).encode()
        match form["grant_type"]:
            case "authorization_code":
                user = form["code"].removeprefix("code-")
            case "client_credentials":
                self.own, user = self.own + 1, "hub"
            case _:
                self.refreshed.append(form["refresh_token"])
                found = self.refresh.pop(form["refresh_token"], None)
                if found is None:
                    return 400, b'{"error": "invalid_grant"}'
                user = found
                for token in [token for token, whose in self.access.items() if whose == user]:
                    del self.access[token]
        return 200, json.dumps(self._given(user, form["grant_type"] != "client_credentials")).encode()

    def revoke(self, asked: Asked) -> tuple[int, bytes]:
        token = dict(parse_qsl(asked.body.decode()))["token"]
        self.revoked.append(token)
        self.access.pop(token, None)
        self.refresh.pop(token, None)
        return 200, b""

    def _given(self, user: str, is_renewable: bool) -> dict[str, Any]:
        self.made += 1
        access, refresh = f"canary-access-{user}-{self.made}", f"canary-refresh-{user}-{self.made}"
        self.access[access] = user
        given = {"access_token": access, "token_type": "Bearer", "expires_in": LIFE_S}
        if is_renewable:
            self.refresh[refresh] = user
            given["refresh_token"] = refresh
        return given | ({"scope": self.scopes[user]} if user in self.scopes else {})


@dataclass
class Office:
    there: Downstream
    protected: dict[str, Protected] = field(default_factory=dict)
    hub: HubClient | None = field(default_factory=lambda: hub_client(BASE))
    log: Log = field(default_factory=Log)
    bank: Bank = field(default_factory=Bank)
    times: Times = field(default_factory=Times)
    store: MemoryConnections = field(default_factory=MemoryConnections)

    async def start(self, auth: ServerAuth, fetcher: Fetcher | None = None) -> Office:
        self.protected["wiki"] = Protected(self.there.url, auth)
        serve(self.there, self.bank)
        fetcher = fetcher or GuardedFetcher(local=["127.0.0.1"])
        self.clients = Clients(lambda: self.protected, lambda: self.hub, fetcher, self.store, SEALER, self.times.wall)
        clocks = Clocks(self.times.wall, self.times.steady)
        self.connections = Connections(self.store, SEALER, self.clients, clocks, alone=True)
        await self.connections.load()
        attempts = Attempts(self.times.wall)
        self.parts = Parts(
            lambda: self.protected,
            lambda: self.hub,
            self.clients,
            self.connections,
            Acts(self.log),
            attempts=attempts,
            clocks=clocks,
        )
        self.desk, self.speaking = Desk(self.parts), Speaking(self.parts)
        self.leaving = Leaving(self.parts, self.desk.forget)
        self.offers: Offers = self.desk
        self.credentials: Credentials = self.speaking
        return self

    async def aclose(self) -> None:
        await self.speaking.aclose()
        await self.leaving.aclose()
        await self.connections.aclose()

    def back(self, location: str, user: str, at: Downstream | None = None) -> list[tuple[str, str]]:
        """What the browser brings back after this person has logged in at the issuer."""
        there = at or self.there
        iss = there.iss(there.issuer)
        said = [("code", f"code-{user}"), ("state", query_of(location)["state"])]
        return said if iss is None else [*said, ("iss", iss)]

    async def log_in(self, account: str = ANN, server: str = "wiki", label: str = "", whose: str = "") -> Finished:
        offer = self.desk.offer_to(account, whose or f"user {account}", server, label)
        location = await self.desk.begin(token_of(offer.url), f"browser of {account}")
        return await self.desk.finish(self.back(location, account or "all"), f"browser of {account}")

    def voice(self, account: str = ANN, server: str = "wiki") -> Account:
        found = self.speaking.own(server, account)
        assert found is not None
        return found

    def everybody(self, server: str = "wiki") -> Account:
        found = self.speaking.shared(server)
        assert isinstance(found, Account)
        return found


@asynccontextmanager
async def an_office(auth: ServerAuth | None = None, **more: Any) -> AsyncIterator[Office]:
    """`more`: of the `Downstream`."""
    async with Downstream(**more) as there:
        office = await Office(there).start(auth or ServerAuth())
        try:
            yield office
        finally:
            await office.aclose()


def serve(there: Downstream, bank: Bank) -> None:
    there.metadata.setdefault("revocation_endpoint", f"{there.issuer}/revoke")
    there.idp.answers |= {f"{there.path}/token": bank.token, f"{there.path}/revoke": bank.revoke}


def token_of(url: str) -> str:
    page, _, token = url.partition("?c=")
    assert page.endswith("/oauth/connect")
    return token


def principal(user: str | None = ANN, name: str = "user:ann", credential: str = "oauth:x") -> Principal:
    return Principal("local", name, credential, frozenset({"mcp"}), user=user)
