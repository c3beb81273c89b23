"""What the hub was registered as, in the store of connections: `hub.identity.outbound.logins.Kept`.

Only what issuers gave stands there: apps of the configuration and the hub's own document need no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import time
from typing import Any, Final

from hub.core.connections import ConnectionStore, RegistrationRow
from hub.core.ports import Conflict
from hub.identity.outbound.errors import Unavailable
from hub.identity.outbound.held import Sealer, opened_secret, sealed_secret
from hub.identity.outbound.parties import METHODS, Client

TENANT: Final = "local"
TRIES: Final = 3
_METHOD: Final = "token_endpoint_auth_method"


class Registered:
    """One event loop uses it."""

    def __init__(self, store: ConnectionStore, sealer: Sealer, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._store, self._sealer, self._clock = store, sealer, clock

    async def known(self, issuer: str) -> Client | None:
        rows = await self._store.registrations(TENANT)
        mine = [row for row in rows if row.issuer == issuer and row.refused_at is None]
        opened = (client_of(row, self._sealer) for row in reversed(mine))
        return next((client for client in opened if client is not None), None)

    async def keep(self, client: Client) -> None:
        """In the place of what there was under the same id. Raises Unavailable."""
        for _ in range(TRIES):
            rows = await self._store.registrations(TENANT)
            before = next((row for row in rows if (row.issuer, row.client) == (client.issuer, client.id)), None)
            version = 1 if before is None else before.version + 1
            row = row_of(client, TENANT, self._clock(), self._sealer, version)
            try:
                return await self._store.put_registration(row, None if before is None else before.version)
            except Conflict:
                continue
        raise Unavailable("what the hub was registered as could not be stored: others store it at the same time")


def client_of(row: RegistrationRow, sealer: Sealer) -> Client | None:
    """None: its secret does not open, or it is of a kind that is not known here."""
    method, uris = row.metadata.get(_METHOD, "none"), row.metadata.get("redirect_uris", [])
    secret = opened_secret(sealer, row)
    if method not in METHODS or (method == "none") != (secret is None) or not isinstance(uris, list):
        return None
    return Client(row.issuer, row.client, row.origin, method, secret, row.expires_at, tuple(map(str, uris)))


def row_of(client: Client, tenant: str, now: float, sealer: Sealer, version: int = 1) -> RegistrationRow:
    metadata: dict[str, Any] = {_METHOD: client.method, "redirect_uris": list(client.redirect_uris)}
    row = RegistrationRow(
        tenant, client.issuer, client.id, client.origin, metadata, now, version, expires_at=client.expires_at
    )
    if client.secret is None:
        return row
    return replace(row, sealed=sealed_secret(sealer, row, client.secret))
