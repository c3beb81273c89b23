"""Users in `hub.db`. Holds password hashes and sealed secrets only; decides nothing about what a user may do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from hub.core.accounts import UserRow
from hub.core.ports import Conflict
from hub.stores.sqlite.database import Database

_FIELDS: Final = (
    *("tenant", "id", "name", "roles", "groups", "created_at", "version", "display", "email", "password", "otp"),
    *("issuer", "subject", "attributes", "disabled_at"),
)
_COLUMNS: Final = ", ".join(_FIELDS)
_MARKS: Final = ", ".join("?" * len(_FIELDS))
_INSERT: Final = f"INSERT OR IGNORE INTO users ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608
_UPDATE: Final = f"UPDATE users SET ({_COLUMNS}) = ({_MARKS}) WHERE tenant = ? AND id = ? AND version = ?"  # noqa: S608
_NAMESAKES: Final = "SELECT count(*) FROM users WHERE tenant = ? AND name = ? AND disabled_at IS NULL"
_SUBJECTS: Final = "SELECT count(*) FROM users WHERE tenant = ? AND issuer = ? AND subject = ? AND disabled_at IS NULL"


class SqliteUsers:
    """`hub.core.accounts.UserStore`. A disabled user gives name and subject free."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, tenant: str) -> tuple[UserRow, ...]:
        query = f"SELECT {_COLUMNS} FROM users WHERE tenant = ? ORDER BY name, created_at, id"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, (tenant,)).fetchall())
        return tuple(_row(values) for values in rows)

    async def put(self, rows: Sequence[UserRow], expected: Sequence[int | None]) -> None:
        pairs = tuple(zip(rows, expected, strict=True))

        def write(connection: sqlite3.Connection) -> None:
            for row, version in pairs:
                if version is None:
                    done = connection.execute(_INSERT, _values(row))
                else:
                    done = connection.execute(_UPDATE, (*_values(row), row.tenant, row.id, version))
                if not done.rowcount:
                    raise Conflict(f"the user {row.id} was changed by somebody else")
            for row, _ in pairs:  # once all are there: two may have changed names with each other
                _check_alone(connection, row)

        await self._database.write(write)


def _check_alone(connection: sqlite3.Connection, row: UserRow) -> None:
    if connection.execute(_NAMESAKES, (row.tenant, row.name)).fetchone()[0] > 1:
        raise KeyError(row.name)
    if row.issuer is None or row.subject is None:
        return
    if connection.execute(_SUBJECTS, (row.tenant, row.issuer, row.subject)).fetchone()[0] > 1:
        raise KeyError(row.subject)


def _values(row: UserRow) -> tuple[Any, ...]:
    attributes = None if row.attributes is None else json.dumps(dict(row.attributes))
    return (
        *(row.tenant, row.id, row.name, json.dumps(row.roles), json.dumps(row.groups), row.created_at, row.version),
        *(row.display, row.email, row.password, row.otp, row.issuer, row.subject, attributes, row.disabled_at),
    )


def _row(values: Sequence[Any]) -> UserRow:
    found = dict(zip(_FIELDS, values, strict=True))
    found["roles"], found["groups"] = tuple(json.loads(found["roles"])), tuple(json.loads(found["groups"]))
    found["attributes"] = None if found["attributes"] is None else json.loads(found["attributes"])
    return UserRow(**found)
