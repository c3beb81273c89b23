"""One login at a downstream from its challenge to its tokens: the parts of this package in their order.

What was begun, and what came of it, is for whoever asked to keep; only what the hub is at an issuer is kept from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from weakref import WeakValueDictionary

from hub.identity.outbound import asking
from hub.identity.outbound.answer import code_in
from hub.identity.outbound.asking import Begun
from hub.identity.outbound.challenge import Challenge
from hub.identity.outbound.discovery import Discovery
from hub.identity.outbound.errors import Unfit
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.parties import AuthServer, Client, Place
from hub.identity.outbound.registration import Registrar
from hub.identity.outbound.tokens import TokenEndpoint


class Kept(Protocol):
    """What the hub was registered as."""

    async def known(self, issuer: str) -> Client | None:
        """The newest there, of those that the issuer did not refuse."""

    async def keep(self, client: Client) -> None:
        """Durable when it returns."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A login that somebody needs."""

    url: str  # of the downstream, as it is entered
    challenge: Challenge = field(default_factory=Challenge)
    held: tuple[str, ...] = ()  # scopes of the login there was; they are asked for again
    place: Place | None = None  # as an admin entered it; None: as the server says
    key: str = ""  # comes back before the first dot of `state`


@dataclass(frozen=True, slots=True)
class Login:
    begun: Begun
    server: AuthServer
    client: Client


class Logins:
    """One event loop uses it. Raises, from each: Unavailable, Unfit, Refused, Unregistered."""

    def __init__(
        self,
        discovery: Discovery,
        registrar: Registrar,
        endpoint: TokenEndpoint,
        kept: Kept,
        registering: WeakValueDictionary[str, asyncio.Lock] | None = None,
    ) -> None:
        """`registering`: locks by issuer, of all who log in by the same `kept`."""
        self._discovery, self._registrar, self._endpoint, self._kept = discovery, registrar, endpoint, kept
        self._registering = WeakValueDictionary[str, asyncio.Lock]() if registering is None else registering

    async def begin(self, wanted: Wanted, redirect_uri: str, refused: Client | None = None) -> Login:
        """`refused`: a client that its issuer answered `invalid_client` to, a moment ago."""
        place, server = await self._parties(wanted)
        asking.check_login(server)  # before anything is left behind there
        scopes = asking.wanted(place, server, wanted.challenge, wanted.held)
        client = await self._client(server, scopes, refused)
        return Login(asking.begin(server, client, place, scopes, redirect_uri, wanted.key), server, client)

    async def finish(self, login: Login, query: Sequence[tuple[str, str]]) -> Tokens:
        """The tokens for the answer that came back, with the scopes they are good for."""
        code = code_in(login.begun, query)
        tokens = await self._endpoint.redeem(login.server, login.client, code, login.begun.proof)
        return tokens if tokens.scopes is not None else replace(tokens, scopes=login.begun.scopes)

    async def own(self, wanted: Wanted) -> tuple[Place, Client, Tokens]:
        """Tokens in the hub's own name, where an admin entered an app with a secret."""
        place, server = await self._parties(wanted)
        client = await self._client(server, (), None)
        if client.secret is None:
            raise Unfit("the hub gets tokens in its own name only by an app with a secret: enter one for this issuer")
        scopes = asking.wanted(place, replace(server, scopes=frozenset()), wanted.challenge, wanted.held)
        tokens = await self._endpoint.own(server, client, place.resource, scopes)
        return place, client, tokens if tokens.scopes is not None else replace(tokens, scopes=scopes)

    async def _parties(self, wanted: Wanted) -> tuple[Place, AuthServer]:
        place = wanted.place
        if place is None:
            place = await self._discovery.place(wanted.url, wanted.challenge.metadata)
        return place, await self._discovery.server(place.issuers[0], anew=True)

    async def _client(self, server: AuthServer, scopes: tuple[str, ...], refused: Client | None) -> Client:
        """Many who log in at a new issuer at once make one registration there."""
        async with self._registering.setdefault(server.issuer, asyncio.Lock()):
            known = await self._kept.known(server.issuer)
            if refused is None or refused.issuer != server.issuer or _is_replaced(refused, known):
                client = await self._registrar.client(server, known, scopes)
            else:
                client = await self._registrar.instead(server, refused, scopes)
            if client.origin == "dynamic" and client != known:
                await self._kept.keep(client)
            return client


def _is_replaced(refused: Client, known: Client | None) -> bool:
    """Somebody else has registered the hub anew since."""
    return refused.origin == "dynamic" and known not in (None, refused)
