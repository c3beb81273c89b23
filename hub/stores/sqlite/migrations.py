"""The schema of `hub.db`, as numbered steps that only go forward. A step that was released is never edited."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from hub.core.errors import HubError

Migration = tuple[str, ...]  # statements of one step; the tenant is the first column of every key

MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        """CREATE TABLE keys (
            tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, scopes TEXT NOT NULL,
            servers TEXT, tools TEXT, created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT,
            PRIMARY KEY (tenant, id))""",
        "CREATE INDEX keys_by_name ON keys (tenant, name)",
        """CREATE TABLE pins (
            tenant TEXT NOT NULL, server TEXT NOT NULL, kind TEXT NOT NULL, native TEXT NOT NULL,
            sha256 TEXT NOT NULL, definition TEXT NOT NULL,
            PRIMARY KEY (tenant, server, kind, native)) WITHOUT ROWID""",
        """CREATE TABLE lists (
            tenant TEXT NOT NULL, server TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (tenant, server)) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE registry (
            tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, version INTEGER NOT NULL,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL, updated_by TEXT NOT NULL,
            PRIMARY KEY (tenant, kind, id)) WITHOUT ROWID""",
        """CREATE TABLE secrets (
            tenant TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, nonce BLOB NOT NULL,
            sealed BLOB NOT NULL, key_nonce BLOB NOT NULL, sealed_key BLOB NOT NULL, kek TEXT NOT NULL,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
            PRIMARY KEY (tenant, name)) WITHOUT ROWID""",
        "ALTER TABLE keys ADD COLUMN last_used_at TEXT",
        "ALTER TABLE keys ADD COLUMN replaced_by TEXT",
    ),
    (
        """CREATE TABLE users (
            tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, roles TEXT NOT NULL, groups TEXT NOT NULL,
            created_at REAL NOT NULL, version INTEGER NOT NULL, display TEXT, email TEXT, password TEXT, otp BLOB,
            issuer TEXT, subject TEXT, attributes TEXT, disabled_at REAL,
            PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
        "CREATE INDEX users_by_name ON users (tenant, name)",
        "CREATE INDEX users_by_subject ON users (tenant, issuer, subject)",
        """CREATE TABLE clients (
            tenant TEXT NOT NULL, id TEXT NOT NULL, metadata TEXT NOT NULL, digest TEXT NOT NULL,
            created_at REAL NOT NULL, used_at REAL NOT NULL, secret_sha256 TEXT, origin TEXT NOT NULL,
            PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
        """CREATE TABLE codes (
            tenant TEXT NOT NULL, sha256 TEXT NOT NULL, client TEXT NOT NULL, redirect_uri TEXT NOT NULL,
            challenge TEXT NOT NULL, "grant" TEXT NOT NULL, expires_at REAL NOT NULL, used_at REAL,
            PRIMARY KEY (tenant, sha256)) WITHOUT ROWID""",
        """CREATE TABLE grants (
            tenant TEXT NOT NULL, id TEXT NOT NULL, "user" TEXT NOT NULL, client TEXT NOT NULL,
            client_name TEXT NOT NULL, resource TEXT NOT NULL, scopes TEXT NOT NULL, strength TEXT NOT NULL,
            auth_time REAL NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL, refresh_sha256 TEXT,
            previous_sha256 TEXT, previous_until REAL, successor BLOB, used_at REAL, revoked_at REAL, reason TEXT,
            PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE connections (
            tenant TEXT NOT NULL, id TEXT NOT NULL, "user" TEXT NOT NULL, server TEXT NOT NULL, issuer TEXT NOT NULL,
            resource TEXT NOT NULL, label TEXT NOT NULL, client TEXT NOT NULL, scopes TEXT NOT NULL,
            sealed BLOB NOT NULL, created_at REAL NOT NULL, obtained_at REAL NOT NULL, expires_at REAL,
            chosen_at REAL NOT NULL, version INTEGER NOT NULL, "grant" TEXT NOT NULL, account TEXT, ended TEXT,
            ended_at REAL, renewing_by TEXT, renewing_until REAL,
            PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
        """CREATE UNIQUE INDEX connections_by_place ON connections
            (tenant, "user", server, issuer, resource, label)""",
        """CREATE TABLE registrations (
            tenant TEXT NOT NULL, issuer TEXT NOT NULL, client TEXT NOT NULL, origin TEXT NOT NULL,
            metadata TEXT NOT NULL, created_at REAL NOT NULL, version INTEGER NOT NULL, sealed BLOB, expires_at REAL,
            refused_at REAL,
            PRIMARY KEY (tenant, issuer, client)) WITHOUT ROWID""",
    ),
)


class SchemaError(HubError):
    """The database cannot be used as it is; the text says what to do."""


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the newest schema. Before the first step an existing file is copied beside itself.

    Each step is one transaction with its number, so that an interrupted migration goes on where it stopped.
    Raises SchemaError when the file is newer than this hub, or is no hub's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise SchemaError(
            f"{path} was written by a newer hub (schema {version}, this one knows {len(steps)}): "
            "start that version, or restore an older backup"
        )
    if version == len(steps):
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version == 0 and tables:
        raise SchemaError(f"{path} is a database, but not a hub's: move it away, or set another data_dir")
    if version:
        copy_aside(connection, path, version)
    for number, statements in enumerate(steps[version:], version + 1):
        _apply(connection, statements, number)


def copy_aside(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """A whole, readable copy named after the schema it holds; one of an earlier attempt is replaced."""
    copy = path.with_name(f"{path.name}.schema-{version}")
    partial = copy.with_name(copy.name + ".new")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(partial)) as target:
        connection.backup(target)
    partial.replace(copy)
    return copy


def _apply(connection: sqlite3.Connection, statements: Migration, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise SchemaError(f"schema step {number} failed, nothing of it was kept: {exc}") from exc
