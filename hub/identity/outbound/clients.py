"""Each server's own way to its tokens: what is entered for it, and what its issuers registered, shared by issuer.

An app that is entered without an issuer is good at whichever issuer the server names at its first login. From then on,
while anybody is connected by it, at that one only: its secret is not for a server to send elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Final
from weakref import WeakValueDictionary

from hub.core.connections import ConnectionRow, ConnectionStore, RegistrationRow, ServerAuth
from hub.core.ports import Fetcher
from hub.identity.outbound.challenge import Challenge
from hub.identity.outbound.discovery import Discovery
from hub.identity.outbound.errors import OutboundFailed, Refused, Unavailable, Unfit, Unregistered
from hub.identity.outbound.held import Sealer, Tokens
from hub.identity.outbound.logins import Login, Logins, Wanted
from hub.identity.outbound.parties import AuthServer, Client, Place
from hub.identity.outbound.protected import Protected, entered_client, entered_place, entered_server, narrowed
from hub.identity.outbound.registered import TENANT, Registered
from hub.identity.outbound.registration import HubClient, Registrar
from hub.identity.outbound.renewing import Renewing
from hub.identity.outbound.tokens import TokenEndpoint, where

log = logging.getLogger(__name__)

GIVE_BACK_S: Final = 5.0
CALLBACK: Final = "/oauth/connect/callback"
_GONE: Final = Protected("", ServerAuth())  # a server that is none any more: nothing is entered for it


def hub_client(base: str, document_url: str | None = None, name: str = "MCP hub") -> HubClient:
    """The hub, as browsers reach it at `base` (scheme, host and port). Raises ValueError for another document_url."""
    return HubClient((base + CALLBACK,), name, base, document_url)


@dataclass(frozen=True, slots=True)
class _Ways:
    """Of one server, as it is entered."""

    protected: Protected
    hub: HubClient | None
    discovery: Discovery
    logins: Logins
    renewing: Renewing


class Clients:
    """`hub.identity.outbound.held.TokenClient`, and logins at each server. One event loop uses it."""

    def __init__(
        self,
        protected: Callable[[], Mapping[str, Protected]],
        hub: Callable[[], HubClient | None],
        fetcher: Fetcher,
        store: ConnectionStore,
        sealer: Sealer,
        clock: Callable[[], float] = time,
    ) -> None:
        """`hub`: as issuers know it now; None while no browser reaches it. `clock` gives seconds since 1970."""
        self._protected, self._hub, self._fetcher, self._store = protected, hub, fetcher, store
        self._sealer, self._clock = sealer, clock
        self._endpoint, self._kept = TokenEndpoint(fetcher), Registered(store, sealer, clock)
        self._registering: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ways: dict[str, _Ways] = {}
        self._refused: dict[str, Client] = {}  # by server: the client that its issuer did not know a moment ago

    async def begin(self, server: str, challenge: Challenge, held: Sequence[str], key: str) -> Login:
        """A login of a person; `held` are the scopes of the one there was. Raises OutboundFailed."""
        ways = self._of(server)
        if ways.hub is None:
            raise Unregistered("no browser reaches this hub, so that nobody can log in through it")
        place = await self._place(server, ways, challenge)
        wanted = Wanted(ways.protected.url, challenge, tuple(held), place, key)
        return await ways.logins.begin(wanted, ways.hub.redirect_uris[0], self._refused.get(server))

    async def finish(self, server: str, login: Login, query: Sequence[tuple[str, str]]) -> Tokens:
        """Raises OutboundFailed."""
        try:
            tokens = await self._of(server).logins.finish(login, query)
        except Refused as exc:
            if exc.error == "invalid_client":
                self._refused[server] = login.client
            raise
        self._refused.pop(server, None)
        return tokens

    async def give_back(self, login: Login, tokens: Tokens) -> None:
        """What nobody will use is ended at its issuer, if that can be done within some seconds."""
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                await self._ended(login.server, login.client, tokens)
        except (OutboundFailed, TimeoutError) as exc:
            log.warning("what a login gave is not used, and its issuer was not told: %s", exc or "it took too long")

    async def own(self, server: str, challenge: Challenge) -> tuple[Place, Client, Tokens]:
        """Tokens in the hub's own name. Raises OutboundFailed."""
        ways = self._of(server)
        if ways.protected.auth.client is None:
            raise Unregistered("the hub gets tokens in its own name only by an app with a secret: enter one")
        place = await self._place(server, ways, challenge)
        return await ways.logins.own(Wanted(ways.protected.url, challenge, place=place))

    async def refresh(self, row: ConnectionRow, held: Tokens, registration: RegistrationRow | None) -> Tokens:
        if row.server not in self._protected():
            raise Unavailable(f"the server {row.server} is not logged in to any more")
        return await self._of(row.server).renewing.refresh(row, held, registration)

    async def revoke(self, row: ConnectionRow, held: Tokens) -> bool:
        """Have the issuer end what this connection holds (RFC 7009). False: it ends nothing. Raises OutboundFailed."""
        ways = self._of(row.server, _GONE)
        found = await self._store.registrations(TENANT)
        registration = next((of for of in found if (of.issuer, of.client) == (row.issuer, row.client)), None)
        client = ways.renewing.client(row, registration)
        if client is None:
            raise Refused("invalid_client", "the hub itself")
        return await self._ended(await ways.discovery.server(row.issuer), client, held)

    async def _ended(self, server: AuthServer, client: Client, held: Tokens) -> bool:
        """The refresh token first: with it many issuers end the other one too."""
        faults: list[OutboundFailed] = []
        is_ended = True
        for token in (held.refresh, held.access):
            try:
                is_ended = is_ended and (token is None or await self._endpoint.revoke(server, client, token))
            except OutboundFailed as exc:
                faults.append(exc)
        if faults:
            raise faults[0]
        return is_ended

    async def _place(self, server: str, ways: _Ways, challenge: Challenge) -> Place:
        """Who gives tokens for it: as entered, or else as the server says. Raises Unavailable, Unfit, Unregistered."""
        auth, url = ways.protected.auth, ways.protected.url
        place = entered_place(ways.protected)
        if place is None:
            try:
                place = narrowed(await ways.discovery.place(url, challenge.metadata), auth)
            except Unfit:
                if auth.issuer is None:
                    raise
                place = Place(url, (auth.issuer,), auth.scopes or None)  # it need not say what is entered
        if auth.client is not None and auth.issuer is None:
            rows = await self._store.all(TENANT)
            mine = [row for row in rows if row.server == server and row.client == auth.client.id]
            if any(row.issuer != place.issuers[0] for row in mine):
                raise Unregistered(
                    f"the server names another issuer ({where(place.issuers[0])}) than the app for it was used at: "
                    "enter the issuer of the app, if the server has moved"
                )
        return place

    def _of(self, server: str, gone: Protected | None = None) -> _Ways:
        """Raises Unfit for a server that is not logged in to, unless it is taken as `gone`."""
        protected, hub = self._protected().get(server, gone), self._hub()
        if protected is None:
            self._ways.pop(server, None)
            raise Unfit(f"the hub does not log in to the server {server}")
        kept = self._ways.get(server)
        if kept is not None and kept.protected == protected and kept.hub == hub:
            return kept
        auth = protected.auth
        discovery = Discovery(self._fetcher, lambda issuer: entered_server(auth, issuer), self._clock)
        registrar = Registrar(hub, self._fetcher, lambda issuer: entered_client(auth, issuer), self._clock)
        made = _Ways(
            protected,
            hub,
            discovery,
            Logins(discovery, registrar, self._endpoint, self._kept, self._registering),
            Renewing(discovery, registrar, self._endpoint, self._sealer),
        )
        if protected is not gone:
            self._ways[server] = made
        return made
