"""Outbound connections and registrations in `hub.db`. Holds sealed tokens only; decides nothing about them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from hub.core.connections import ConnectionRow, RegistrationRow
from hub.core.ports import Conflict
from hub.stores.sqlite.database import Database

_CONNECTION: Final = (
    *("tenant", "id", "user", "server", "issuer", "resource", "label", "client", "scopes", "sealed", "created_at"),
    *("obtained_at", "expires_at", "chosen_at", "version", "grant", "account", "ended", "ended_at", "renewing_by"),
    "renewing_until",
)
_REGISTRATION: Final = (
    *("tenant", "issuer", "client", "origin", "metadata", "created_at", "version", "sealed", "expires_at"),
    "refused_at",
)
_PLACE: Final = ("tenant", "user", "server", "issuer", "resource", "label")


def _columns(fields: Sequence[str]) -> str:
    return ", ".join(f'"{field}"' for field in fields)  # `grant` and `user` are words of SQL elsewhere


def _marks(fields: Sequence[str]) -> str:
    return ", ".join("?" * len(fields))


_SELECT: Final = f"SELECT {_columns(_CONNECTION)} FROM connections WHERE tenant = ?"  # noqa: S608
_INSERT: Final = f"INSERT INTO connections ({_columns(_CONNECTION)}) VALUES ({_marks(_CONNECTION)})"  # noqa: S608
_UPDATE: Final = (
    f"UPDATE connections SET ({_columns(_CONNECTION)}) = ({_marks(_CONNECTION)}) "  # noqa: S608
    "WHERE tenant = ? AND id = ? AND version = ?"
)
_VERSION: Final = "SELECT version FROM connections WHERE tenant = ? AND id = ?"
_NAMESAKE: Final = f"SELECT count(*) FROM connections WHERE ({_columns(_PLACE)}) = ({_marks(_PLACE)}) AND id <> ?"  # noqa: S608
_INSERT_CLIENT: Final = (
    f"INSERT OR IGNORE INTO registrations ({_columns(_REGISTRATION)}) VALUES ({_marks(_REGISTRATION)})"  # noqa: S608
)
_UPDATE_CLIENT: Final = (
    f"UPDATE registrations SET ({_columns(_REGISTRATION)}) = ({_marks(_REGISTRATION)}) "  # noqa: S608
    "WHERE tenant = ? AND issuer = ? AND client = ? AND version = ?"
)


class SqliteConnections:
    """`hub.core.connections.ConnectionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, tenant: str) -> tuple[ConnectionRow, ...]:
        query = f"{_SELECT} ORDER BY created_at, id"
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(_connection(values) for values in rows)

    async def one(self, tenant: str, id: str) -> ConnectionRow | None:
        return await self._database.read(lambda connection: _one(connection, tenant, id))

    async def put(self, row: ConnectionRow, expected: int | None) -> None:
        place = tuple(getattr(row, name) for name in _PLACE)

        def write(connection: sqlite3.Connection) -> None:
            found = connection.execute(_VERSION, (row.tenant, row.id)).fetchone()
            if (None if found is None else found[0]) != expected:
                raise Conflict(f"the connection {row.id} was changed by somebody else")
            if connection.execute(_NAMESAKE, (*place, row.id)).fetchone()[0]:
                raise KeyError(row.label)
            if expected is None:
                connection.execute(_INSERT, _values(row))
            else:
                connection.execute(_UPDATE, (*_values(row), row.tenant, row.id, expected))

        await self._database.write(write)

    async def remove(self, tenant: str, id: str) -> ConnectionRow | None:
        def delete(connection: sqlite3.Connection) -> ConnectionRow | None:
            found = _one(connection, tenant, id)
            connection.execute("DELETE FROM connections WHERE tenant = ? AND id = ?", (tenant, id))
            return found

        return await self._database.write(delete)

    async def registrations(self, tenant: str) -> tuple[RegistrationRow, ...]:
        query = (
            f"SELECT {_columns(_REGISTRATION)} FROM registrations WHERE tenant = ? "  # noqa: S608
            "ORDER BY created_at, issuer, client"
        )
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(_registration(values) for values in rows)

    async def put_registration(self, row: RegistrationRow, expected: int | None) -> None:
        values = tuple(
            json.dumps(dict(row.metadata)) if name == "metadata" else getattr(row, name) for name in _REGISTRATION
        )

        def write(connection: sqlite3.Connection) -> None:
            if expected is None:
                done = connection.execute(_INSERT_CLIENT, values)
            else:
                done = connection.execute(_UPDATE_CLIENT, (*values, row.tenant, row.issuer, row.client, expected))
            if not done.rowcount:
                raise Conflict(f"the registration at {row.issuer} was changed by somebody else")

        await self._database.write(write)

    async def remove_registration(self, tenant: str, issuer: str, client: str) -> None:
        statement = "DELETE FROM registrations WHERE tenant = ? AND issuer = ? AND client = ?"
        await self._database.write(lambda connection: connection.execute(statement, (tenant, issuer, client)).rowcount)


def _one(connection: sqlite3.Connection, tenant: str, id: str) -> ConnectionRow | None:
    values = connection.execute(f"{_SELECT} AND id = ?", (tenant, id)).fetchone()
    return None if values is None else _connection(values)


def _values(row: ConnectionRow) -> tuple[Any, ...]:
    return tuple(json.dumps(row.scopes) if name == "scopes" else getattr(row, name) for name in _CONNECTION)


def _connection(values: Sequence[Any]) -> ConnectionRow:
    found = dict(zip(_CONNECTION, values, strict=True))
    return ConnectionRow(**{**found, "scopes": tuple(json.loads(found["scopes"]))})


def _registration(values: Sequence[Any]) -> RegistrationRow:
    found = dict(zip(_REGISTRATION, values, strict=True))
    return RegistrationRow(**{**found, "metadata": json.loads(found["metadata"])})
