"""OAuth clients, codes and grants in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import time
from typing import Final

from hub.core.accounts import ClientRow, CodeRow, GrantRow

DAY_S: Final = 86_400.0


class MemoryGrants:
    """`hub.core.accounts.GrantStore`."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._clients: dict[tuple[str, str], ClientRow] = {}
        self._codes: dict[tuple[str, str], CodeRow] = {}
        self._grants: dict[tuple[str, str], GrantRow] = {}

    async def clients(self, tenant: str) -> tuple[ClientRow, ...]:
        """Oldest first."""
        mine = [row for row in self._clients.values() if row.tenant == tenant]
        return tuple(sorted(mine, key=lambda row: (row.created_at, row.id)))

    async def put_client(self, row: ClientRow) -> None:
        self._clients[row.tenant, row.id] = row

    async def remove_clients(self, tenant: str, ids: Sequence[str]) -> None:
        for id in ids:
            self._clients.pop((tenant, id), None)

    async def open(self, grant: GrantRow, code: CodeRow) -> None:
        """Raises KeyError when there is such a grant, or such a code."""
        if (code.tenant, code.sha256) in self._codes:
            raise KeyError(code.grant)
        await self.add(grant)
        self._codes[code.tenant, code.sha256] = code

    async def add(self, grant: GrantRow) -> None:
        """Raises KeyError when there is such a grant."""
        if (grant.tenant, grant.id) in self._grants:
            raise KeyError(grant.id)
        self._grants[grant.tenant, grant.id] = grant

    async def redeem(self, tenant: str, sha256: str, now: float) -> CodeRow | None:
        row = self._codes.get((tenant, sha256))
        if row is not None and row.used_at is None:
            self._codes[tenant, sha256] = replace(row, used_at=now)
        return row

    async def grants(self, tenant: str) -> tuple[GrantRow, ...]:
        """Oldest first."""
        since = self._clock() - DAY_S
        mine = [row for row in self._grants.values() if row.tenant == tenant]
        standing = [row for row in mine if row.revoked_at is None and row.expires_at >= since]
        return tuple(sorted(standing, key=lambda row: (row.created_at, row.id)))

    async def rotate(self, row: GrantRow, from_sha256: str | None) -> bool:
        there = self._grants.get((row.tenant, row.id))
        if there is None or there.revoked_at is not None or there.refresh_sha256 != from_sha256:
            return False
        self._grants[row.tenant, row.id] = row
        return True

    async def revoke(self, tenant: str, ids: Sequence[str], at: float, reason: str) -> None:
        for id in ids:
            row = self._grants.get((tenant, id))
            if row is not None and row.revoked_at is None:
                self._grants[tenant, id] = replace(row, revoked_at=at, reason=reason)

    async def sweep(self, tenant: str, before: float) -> int:
        codes = {key for key, code in self._codes.items() if key[0] == tenant and code.expires_at < before}
        grants = {key for key, grant in self._grants.items() if key[0] == tenant and _end(grant) < before}
        self._codes = {key: code for key, code in self._codes.items() if key not in codes}
        self._grants = {key: grant for key, grant in self._grants.items() if key not in grants}
        return len(codes) + len(grants)


def _end(row: GrantRow) -> float:
    return row.expires_at if row.revoked_at is None else min(row.expires_at, row.revoked_at)
