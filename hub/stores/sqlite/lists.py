"""The last list of each server in `hub.db`, whole: unknown fields, key order and exact integers survive."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from hub.core.call import Json
from hub.stores.sqlite.database import Database


class SqliteLists:
    """`hub.core.ports.ListStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, tenant: str) -> Mapping[str, Json]:
        query = "SELECT server, body FROM lists WHERE tenant = ? ORDER BY server"
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return {server: json.loads(body) for server, body in rows}

    async def save(self, tenant: str, server: str, lists: Json) -> None:
        values = (tenant, server, json.dumps(dict(lists)))

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO lists VALUES (?, ?, ?)", values)

        await self._database.write(insert)

    async def remove(self, tenant: str, server: str) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM lists WHERE tenant = ? AND server = ?", (tenant, server))

        await self._database.write(delete)
