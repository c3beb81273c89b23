"""Keys in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from dataclasses import replace

from hub.core.ports import KeyRow


class MemoryKeys:
    """`hub.core.ports.KeyStore`. A key that has expired by the time the new one is made gives its name free."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], KeyRow] = {}

    async def add(self, row: KeyRow) -> None:
        for other in self._rows.values():
            if (other.tenant, other.name) == (row.tenant, row.name) and _is_live(other, row.created_at):
                raise KeyError(row.name)
        self._rows[row.tenant, row.id] = row

    async def all(self, tenant: str) -> tuple[KeyRow, ...]:
        mine = [row for row in self._rows.values() if row.tenant == tenant]
        return tuple(sorted(mine, key=lambda row: row.created_at))

    async def revoke(self, tenant: str, id: str, at: str) -> None:
        """Raises KeyError when there is no such key; the time of a first revocation stands."""
        row = self._rows[tenant, id]
        self._rows[tenant, id] = replace(row, revoked_at=row.revoked_at or at)


def _is_live(row: KeyRow, at: str) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > at)
