"""Keys in `hub.db`. Holds hashes only; decides nothing about what a key may do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from hub.core.ports import KeyRow
from hub.stores.sqlite.database import Database

_COLUMNS: Final = (
    "id, tenant, name, sha256, scopes, servers, tools, created_at, expires_at, revoked_at, last_used_at, replaced_by"
)
_INSERT: Final = f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_REPLACE: Final = """
    UPDATE keys SET replaced_by = ?, expires_at = ? WHERE tenant = ? AND id = ? AND revoked_at IS NULL
    AND (replaced_by IS NULL OR replaced_by IN (SELECT id FROM keys WHERE tenant = ? AND revoked_at IS NOT NULL))"""
_NAMESAKE: Final = """
    SELECT 1 FROM keys WHERE tenant = ? AND name = ? AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > ?)"""


class SqliteKeys:
    """`hub.core.ports.KeyStore`. A key that has expired by the time the new one is made gives its name free."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: KeyRow) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            if connection.execute(_NAMESAKE, (row.tenant, row.name, row.created_at)).fetchone():
                raise KeyError(row.name)
            connection.execute(_INSERT, _values(row))

        await self._database.write(insert)

    async def all(self, tenant: str) -> tuple[KeyRow, ...]:
        query = f"SELECT {_COLUMNS} FROM keys WHERE tenant = ? ORDER BY created_at, rowid"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(_row(values) for values in rows)

    async def revoke(self, tenant: str, id: str, at: str) -> None:
        """Raises KeyError when there is no such key; the time of a first revocation stands."""

        def update(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE tenant = ? AND id = ?", (at, tenant, id)
            )
            if not done.rowcount:
                raise KeyError(id)

        await self._database.write(update)

    async def rotate(self, new: KeyRow, old_id: str, old_expires_at: str) -> None:
        def replace(connection: sqlite3.Connection) -> None:
            if not connection.execute(_REPLACE, (new.id, old_expires_at, new.tenant, old_id, new.tenant)).rowcount:
                raise KeyError(old_id)
            connection.execute(_INSERT, _values(new))

        await self._database.write(replace)

    async def used(self, tenant: str, at: Mapping[str, str]) -> None:
        values = [(when, tenant, id) for id, when in at.items()]

        def update(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE keys SET last_used_at = ? WHERE tenant = ? AND id = ?", values)

        await self._database.write(update)


def _values(row: KeyRow) -> tuple[str | None, ...]:
    return (
        *(row.id, row.tenant, row.name, row.sha256, json.dumps(row.scopes), _packed(row.servers)),
        *(_packed(row.tools), row.created_at, row.expires_at, row.revoked_at, row.last_used_at, row.replaced_by),
    )


def _packed(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else json.dumps(names)


def _unpacked(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def _row(values: tuple[Any, ...]) -> KeyRow:
    id, tenant, name, sha256, scopes, servers, tools, *times = values
    created_at, expires_at, revoked_at, last_used_at, replaced_by = times
    return KeyRow(
        id=id,
        tenant=tenant,
        name=name,
        sha256=sha256,
        scopes=tuple(json.loads(scopes)),
        servers=_unpacked(servers),
        tools=_unpacked(tools),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
        replaced_by=replaced_by,
    )
