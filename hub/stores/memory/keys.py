"""Keys in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Mapping
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

    async def rotate(self, new: KeyRow, old_id: str, old_expires_at: str) -> None:
        old = self._rows[new.tenant, old_id]
        successor = self._rows.get((new.tenant, old.replaced_by)) if old.replaced_by is not None else None
        if old.revoked_at is not None or (successor is not None and successor.revoked_at is None):
            raise KeyError(old_id)
        self._rows[new.tenant, old_id] = replace(old, replaced_by=new.id, expires_at=old_expires_at)
        self._rows[new.tenant, new.id] = new

    async def used(self, tenant: str, at: Mapping[str, str]) -> None:
        for id, when in at.items():
            if (tenant, id) in self._rows:
                self._rows[tenant, id] = replace(self._rows[tenant, id], last_used_at=when)


def _is_live(row: KeyRow, at: str) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > at)
