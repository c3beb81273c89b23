"""Sealed secrets in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hub.core.ports import SecretRow


class MemorySecrets:
    """`hub.core.ports.SecretStore`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], SecretRow] = {}

    async def all(self, tenant: str) -> tuple[SecretRow, ...]:
        return tuple(row for key, row in sorted(self._rows.items()) if key[0] == tenant)

    async def put(self, rows: Sequence[SecretRow]) -> None:
        self._rows.update({(row.tenant, row.name): row for row in rows})

    async def remove(self, tenant: str, name: str) -> bool:
        return self._rows.pop((tenant, name), None) is not None
