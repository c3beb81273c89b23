"""What admins added at run time, in `hub.db`. Decides nothing about what an entry may say."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from hub.core.ports import Conflict, RegistryKind, RegistryRow
from hub.stores.sqlite.database import Database

_COLUMNS: Final = "tenant, kind, id, body, version, created_at, updated_at, updated_by"


class SqliteRegistry:
    """`hub.core.ports.RegistryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, tenant: str) -> tuple[RegistryRow, ...]:
        query = f"SELECT {_COLUMNS} FROM registry WHERE tenant = ? ORDER BY kind, id"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(
            RegistryRow(tenant, kind, id, json.loads(body), version, created_at, updated_at, updated_by)
            for tenant, kind, id, body, version, created_at, updated_at, updated_by in rows
        )

    async def put(self, row: RegistryRow, expected: int | None) -> None:
        key = (row.tenant, row.kind, row.id)
        rest = (json.dumps(dict(row.body)), row.version, row.created_at, row.updated_at, row.updated_by)

        def write(connection: sqlite3.Connection) -> None:
            if expected is None:
                insert = f"INSERT OR IGNORE INTO registry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
                done = connection.execute(insert, (*key, *rest))
            else:
                update = """UPDATE registry SET body = ?, version = ?, created_at = ?, updated_at = ?, updated_by = ?
                    WHERE tenant = ? AND kind = ? AND id = ? AND version = ?"""
                done = connection.execute(update, (*rest, *key, expected))
            if not done.rowcount:
                raise Conflict(f"{row.kind} {row.id!r} was changed by somebody else")

        await self._database.write(write)

    async def remove(self, tenant: str, kind: RegistryKind, id: str, expected: int) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "DELETE FROM registry WHERE tenant = ? AND kind = ? AND id = ? AND version = ?",
                (tenant, kind, id, expected),
            )
            if not done.rowcount:
                raise Conflict(f"{kind} {id!r} was changed by somebody else")

        await self._database.write(delete)
