"""Approved definitions in `hub.db`, whole: unknown fields, key order and exact integers survive."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from hub.core.ports import Pin
from hub.stores.sqlite.database import Database


class SqlitePins:
    """`hub.core.ports.PinStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, tenant: str) -> tuple[Pin, ...]:
        query = """SELECT server, kind, native, sha256, definition FROM pins WHERE tenant = ?
            ORDER BY server, kind, native"""
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(
            Pin(server, kind, native, sha256, json.loads(definition))
            for server, kind, native, sha256, definition in rows
        )

    async def save(self, tenant: str, pins: Sequence[Pin]) -> None:
        values = [
            (tenant, pin.server, pin.kind, pin.native, pin.sha256, json.dumps(dict(pin.definition))) for pin in pins
        ]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?)", values)

        await self._database.write(insert)
