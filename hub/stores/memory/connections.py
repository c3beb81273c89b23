"""Outbound connections and registrations in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from hub.core.connections import ConnectionRow, RegistrationRow
from hub.core.ports import Conflict


class MemoryConnections:
    """`hub.core.connections.ConnectionStore`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], ConnectionRow] = {}
        self._registrations: dict[tuple[str, str, str], RegistrationRow] = {}

    async def all(self, tenant: str) -> tuple[ConnectionRow, ...]:
        mine = [row for row in self._rows.values() if row.tenant == tenant]
        return tuple(sorted(mine, key=lambda row: (row.created_at, row.id)))

    async def one(self, tenant: str, id: str) -> ConnectionRow | None:
        return self._rows.get((tenant, id))

    async def put(self, row: ConnectionRow, expected: int | None) -> None:
        there = self._rows.get((row.tenant, row.id))
        if (None if there is None else there.version) != expected:
            raise Conflict(f"the connection {row.id} was changed by somebody else")
        if any(other.id != row.id and _place(other) == _place(row) for other in self._rows.values()):
            raise KeyError(row.label)
        self._rows[row.tenant, row.id] = row

    async def remove(self, tenant: str, id: str) -> ConnectionRow | None:
        return self._rows.pop((tenant, id), None)

    async def registrations(self, tenant: str) -> tuple[RegistrationRow, ...]:
        mine = [row for row in self._registrations.values() if row.tenant == tenant]
        return tuple(sorted(mine, key=lambda row: (row.created_at, row.issuer, row.client)))

    async def put_registration(self, row: RegistrationRow, expected: int | None) -> None:
        there = self._registrations.get((row.tenant, row.issuer, row.client))
        if (None if there is None else there.version) != expected:
            raise Conflict(f"the registration at {row.issuer} was changed by somebody else")
        self._registrations[row.tenant, row.issuer, row.client] = row

    async def remove_registration(self, tenant: str, issuer: str, client: str) -> None:
        self._registrations.pop((tenant, issuer, client), None)


def _place(row: ConnectionRow) -> tuple[str, ...]:
    return row.tenant, row.user, row.server, row.issuer, row.resource, row.label
