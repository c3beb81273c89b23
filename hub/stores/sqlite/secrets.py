"""Sealed secrets in `hub.db`. Opens nothing: what it holds is of no use without the vault's key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

from hub.core.ports import SecretRow
from hub.stores.sqlite.database import Database

_COLUMNS: Final = "tenant, name, version, nonce, sealed, key_nonce, sealed_key, kek, created_at, updated_at"


class SqliteSecrets:
    """`hub.core.ports.SecretStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, tenant: str) -> tuple[SecretRow, ...]:
        query = f"SELECT {_COLUMNS} FROM secrets WHERE tenant = ? ORDER BY name"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(SecretRow(*values) for values in rows)

    async def put(self, rows: Sequence[SecretRow]) -> None:
        values = [astuple(row) for row in rows]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(
                f"INSERT OR REPLACE INTO secrets ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                values,
            )

        await self._database.write(insert)

    async def remove(self, tenant: str, name: str) -> bool:
        query = "DELETE FROM secrets WHERE tenant = ? AND name = ?"
        return await self._database.write(lambda connection: connection.execute(query, (tenant, name)).rowcount > 0)
