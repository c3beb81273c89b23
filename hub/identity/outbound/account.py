"""One's own connections, as a page or a program shows them, and what one may do with them.

Whose they are is the first question of each act: somebody else's connection is no different from one that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hub.core.connections import SHARED, ConnectionRow
from hub.identity.outbound.held import WORDS
from hub.identity.outbound.refresher import Connections, Unusable


@dataclass(frozen=True, slots=True)
class Connection:
    """What people may know of one. No token, sealed or open."""

    id: str
    server: str
    issuer: str
    resource: str
    label: str
    account: str | None  # who one is there, as the issuer said: somebody else's text
    scopes: tuple[str, ...]
    state: Literal["connected", "needs_login"]
    why: str | None  # in words, where a login is needed
    is_chosen: bool  # this account is used there, of several
    logged_in_at: float  # seconds since 1970
    renewed_at: float
    ends_at: float | None  # of what is held now; the hub renews it in time if the issuer lets it


class OwnConnections:
    """Those of one user, by id of the user. What everybody shares is nobody's own."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, user: str) -> tuple[Connection, ...]:
        """By server and label."""
        if user == SHARED:
            return ()
        return tuple(self._shown(row) for row in self._connections.of(user))

    def get(self, user: str, id: str) -> Connection:
        """Raises `Unusable`."""
        return self._shown(self._own(user, id))

    async def rename(self, user: str, id: str, label: str) -> Connection:
        """Raises `Unusable`, in words."""
        self._own(user, id)
        return self._shown(await self._connections.rename(id, label))

    async def choose(self, user: str, id: str) -> Connection:
        """Use this account from now on. Raises `Unusable`."""
        self._own(user, id)
        return self._shown(await self._connections.choose(id))

    async def remove(self, user: str, id: str) -> Connection:
        """What there was: the hub cannot act with it any more. Raises `Unusable`."""
        shown = self._shown(self._own(user, id))
        await self._connections.remove(id)
        return shown

    def _own(self, user: str, id: str) -> ConnectionRow:
        row = self._connections.get(id)
        if row is None or user == SHARED or row.user != user:
            raise Unusable("there is no such connection: the list of your connections shows those there are")
        return row

    def _shown(self, row: ConnectionRow) -> Connection:
        needed = self._connections.needs_login(row)
        chosen = self._connections.current(row.server, row.user)
        return Connection(
            id=row.id,
            server=row.server,
            issuer=row.issuer,
            resource=row.resource,
            label=row.label,
            account=row.account,
            scopes=row.scopes,
            state="connected" if needed is None else "needs_login",
            why=None if needed is None else WORDS[needed.reason],
            is_chosen=chosen is not None and chosen.id == row.id,
            logged_in_at=row.created_at,
            renewed_at=row.obtained_at,
            ends_at=row.expires_at,
        )
