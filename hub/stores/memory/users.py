"""Users in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hub.core.accounts import UserRow
from hub.core.ports import Conflict


class MemoryUsers:
    """`hub.core.accounts.UserStore`. A disabled user gives name and subject free."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], UserRow] = {}

    async def all(self, tenant: str) -> tuple[UserRow, ...]:
        mine = [row for row in self._rows.values() if row.tenant == tenant]
        return tuple(sorted(mine, key=lambda row: (row.name, row.created_at, row.id)))

    async def put(self, rows: Sequence[UserRow], expected: Sequence[int | None]) -> None:
        after = dict(self._rows)
        for row, version in zip(rows, expected, strict=True):
            there = after.get((row.tenant, row.id))
            if (None if there is None else there.version) != version:
                raise Conflict(f"the user {row.id} was changed by somebody else")
            after[row.tenant, row.id] = row
        for row in rows:
            _check_alone(row, after)
        self._rows = after


def _check_alone(row: UserRow, after: dict[tuple[str, str], UserRow]) -> None:
    if row.disabled_at is not None:
        return
    for other in after.values():
        if other.tenant != row.tenant or other.id == row.id or other.disabled_at is not None:
            continue
        if other.name == row.name:
            raise KeyError(row.name)
        if row.subject is not None and row.issuer is not None and _subject(other) == _subject(row):
            raise KeyError(row.subject)


def _subject(row: UserRow) -> tuple[str | None, str | None]:
    return row.issuer, row.subject
