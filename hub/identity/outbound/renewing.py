"""Renewing what a connection holds: `hub.identity.outbound.held.TokenClient` by the token endpoint of its issuer."""

from __future__ import annotations

from hub.core.connections import ConnectionRow, RegistrationRow
from hub.identity.outbound.discovery import Discovery
from hub.identity.outbound.errors import Refused
from hub.identity.outbound.held import Sealer, Tokens
from hub.identity.outbound.parties import Client
from hub.identity.outbound.registered import client_of
from hub.identity.outbound.registration import Registrar
from hub.identity.outbound.tokens import TokenEndpoint


class Renewing:
    """One event loop uses it."""

    def __init__(self, discovery: Discovery, registrar: Registrar, endpoint: TokenEndpoint, sealer: Sealer) -> None:
        self._discovery, self._registrar, self._endpoint, self._sealer = discovery, registrar, endpoint, sealer

    async def refresh(self, row: ConnectionRow, held: Tokens, registration: RegistrationRow | None) -> Tokens:
        """By the client it was granted to: as it is entered now, or else as it is stored."""
        client = self.client(row, registration)
        if client is None:
            raise Refused("invalid_client", "the hub itself")
        server = await self._discovery.server(row.issuer)
        if held.refresh is not None:
            return await self._endpoint.refresh(server, client, held.refresh, row.resource)
        if row.grant != "client_credentials" or client.secret is None:
            raise Refused("invalid_grant", "the hub itself")
        return await self._endpoint.own(server, client, row.resource, row.scopes)

    def client(self, row: ConnectionRow, registration: RegistrationRow | None) -> Client | None:
        """The one it was granted to; None: the hub is that no more."""
        client = self._registrar.named(row.issuer, row.client)
        if client is None and registration is not None and registration.client == row.client:
            client = client_of(registration, self._sealer)
        return client
