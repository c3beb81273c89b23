"""OAuth clients, codes and grants in `hub.db`. Holds hashes and sealed texts only; decides nothing about either."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from time import time
from typing import Any, Final

from hub.core.accounts import ClientRow, CodeRow, GrantRow
from hub.stores.sqlite.database import Database

DAY_S: Final = 86_400.0

_CLIENT: Final = ("tenant", "id", "metadata", "digest", "created_at", "used_at", "secret_sha256", "origin")
_CODE: Final = ("tenant", "sha256", "client", "redirect_uri", "challenge", "grant", "expires_at", "used_at")
_GRANT: Final = (
    *("tenant", "id", "user", "client", "client_name", "resource", "scopes", "strength", "auth_time", "created_at"),
    *("expires_at", "refresh_sha256", "previous_sha256", "previous_until", "successor", "used_at", "revoked_at"),
    "reason",
)


def _columns(fields: Sequence[str]) -> str:
    return ", ".join(f'"{field}"' for field in fields)  # `grant` and `user` are words of SQL elsewhere


def _into(table: str, fields: Sequence[str]) -> str:
    return f"INTO {table} ({_columns(fields)}) VALUES ({', '.join('?' * len(fields))})"


_ROTATE: Final = (
    f"UPDATE grants SET ({_columns(_GRANT)}) = ({', '.join('?' * len(_GRANT))}) "  # noqa: S608
    "WHERE tenant = ? AND id = ? AND refresh_sha256 IS ? AND revoked_at IS NULL"
)
_REVOKE: Final = "UPDATE grants SET revoked_at = ?, reason = ? WHERE tenant = ? AND id = ? AND revoked_at IS NULL"


class SqliteGrants:
    """`hub.core.accounts.GrantStore`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._database, self._clock = database, clock

    async def clients(self, tenant: str) -> tuple[ClientRow, ...]:
        """Oldest first."""
        query = f"SELECT {_columns(_CLIENT)} FROM clients WHERE tenant = ? ORDER BY created_at, id"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(_client(values) for values in rows)

    async def put_client(self, row: ClientRow) -> None:
        values = (
            *(row.tenant, row.id, json.dumps(dict(row.metadata)), row.digest, row.created_at, row.used_at),
            *(row.secret_sha256, row.origin),
        )
        statement = f"INSERT OR REPLACE {_into('clients', _CLIENT)}"
        await self._database.write(lambda connection: _done(connection, statement, values))

    async def remove_clients(self, tenant: str, ids: Sequence[str]) -> None:
        gone = [(tenant, id) for id in ids]

        def delete(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM clients WHERE tenant = ? AND id = ?", gone)

        await self._database.write(delete)

    async def open(self, grant: GrantRow, code: CodeRow) -> None:
        """Raises KeyError when there is such a grant, or such a code."""

        def insert(connection: sqlite3.Connection) -> None:
            _new(connection, "grants", _GRANT, _grant_values(grant), grant.id)
            _new(connection, "codes", _CODE, tuple(getattr(code, field) for field in _CODE), code.grant)

        await self._database.write(insert)

    async def add(self, grant: GrantRow) -> None:
        """Raises KeyError when there is such a grant."""
        values = _grant_values(grant)
        await self._database.write(lambda connection: _new(connection, "grants", _GRANT, values, grant.id))

    async def redeem(self, tenant: str, sha256: str, now: float) -> CodeRow | None:
        def use(connection: sqlite3.Connection) -> CodeRow | None:
            query = f"SELECT {_columns(_CODE)} FROM codes WHERE tenant = ? AND sha256 = ?"  # noqa: S608
            values = connection.execute(query, (tenant, sha256)).fetchone()
            if values is None:
                return None
            mark = "UPDATE codes SET used_at = ? WHERE tenant = ? AND sha256 = ? AND used_at IS NULL"
            connection.execute(mark, (now, tenant, sha256))
            return CodeRow(**dict(zip(_CODE, values, strict=True)))

        return await self._database.write(use)

    async def grants(self, tenant: str) -> tuple[GrantRow, ...]:
        """Oldest first."""
        query = (
            f"SELECT {_columns(_GRANT)} FROM grants WHERE tenant = ? AND revoked_at IS NULL AND expires_at >= ? "  # noqa: S608
            "ORDER BY created_at, id"
        )
        bound = (tenant, self._clock() - DAY_S)
        rows = await self._database.read(lambda connection: connection.execute(query, bound).fetchall())
        return tuple(_grant(values) for values in rows)

    async def rotate(self, row: GrantRow, from_sha256: str | None) -> bool:
        values = (*_grant_values(row), row.tenant, row.id, from_sha256)
        return await self._database.write(lambda connection: _done(connection, _ROTATE, values)) == 1

    async def revoke(self, tenant: str, ids: Sequence[str], at: float, reason: str) -> None:
        ended = [(at, reason, tenant, id) for id in ids]

        def update(connection: sqlite3.Connection) -> None:
            connection.executemany(_REVOKE, ended)

        await self._database.write(update)

    async def sweep(self, tenant: str, before: float) -> int:
        def delete(connection: sqlite3.Connection) -> int:
            codes = "DELETE FROM codes WHERE tenant = ? AND expires_at < ?"
            grants = "DELETE FROM grants WHERE tenant = ? AND (expires_at < ? OR revoked_at < ?)"
            return _done(connection, codes, (tenant, before)) + _done(connection, grants, (tenant, before, before))

        return await self._database.write(delete)


def _done(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> int:
    return connection.execute(statement, values).rowcount


def _new(connection: sqlite3.Connection, table: str, fields: Sequence[str], values: tuple[Any, ...], id: str) -> None:
    if not _done(connection, f"INSERT OR IGNORE {_into(table, fields)}", values):
        raise KeyError(id)


def _grant_values(row: GrantRow) -> tuple[Any, ...]:
    return tuple(json.dumps(row.scopes) if field == "scopes" else getattr(row, field) for field in _GRANT)


def _client(values: Sequence[Any]) -> ClientRow:
    found = dict(zip(_CLIENT, values, strict=True))
    return ClientRow(**{**found, "metadata": json.loads(found["metadata"])})


def _grant(values: Sequence[Any]) -> GrantRow:
    found = dict(zip(_GRANT, values, strict=True))
    return GrantRow(**{**found, "scopes": tuple(json.loads(found["scopes"]))})
