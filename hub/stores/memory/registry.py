"""What admins added at run time, in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from hub.core.ports import Conflict, RegistryKind, RegistryRow


class MemoryRegistry:
    """`hub.core.ports.RegistryStore`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], RegistryRow] = {}

    async def all(self, tenant: str) -> tuple[RegistryRow, ...]:
        return tuple(row for key, row in sorted(self._rows.items()) if key[0] == tenant)

    async def put(self, row: RegistryRow, expected: int | None) -> None:
        key = (row.tenant, row.kind, row.id)
        self._expect(key, expected)
        self._rows[key] = row

    async def remove(self, tenant: str, kind: RegistryKind, id: str, expected: int) -> None:
        key = (tenant, kind, id)
        self._expect(key, expected)
        del self._rows[key]

    def _expect(self, key: tuple[str, str, str], expected: int | None) -> None:
        found = self._rows.get(key)
        if (found.version if found is not None else None) != expected:
            raise Conflict(f"{key[1]} {key[2]!r} was changed by somebody else")
