"""The log as one SQLite file: opened, checked, appended to. One thread uses it; it knows no event loop.

`audit.db` stands apart from the hub's other data, so that its waits for the disk hold up nothing else. Beside it lies
a reserve of disk space, given up to write down that the disk is full.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from hub.audit.chain import GENESIS, ChainReport, Row, check_rows, hash_of
from hub.audit.record import Entry, line_of
from hub.core.errors import HubError

SCHEMA_VERSION: Final = 1
RESERVE_BYTES: Final = 4 * 1024 * 1024
TAIL: Final = 256  # entries that are checked at every start; `check_chain` looks at all
BUSY_S: Final = 2.0  # how long another process may hold the file before a write fails
_ROWS: Final = 64  # per INSERT; one statement, so that the interpreter is given up and won back once, not per row
_CHECKPOINT: Final = 1000  # pages; until that many were written the file grows, and a commit costs 40 us more
_PREPARED: Final = 2 * _ROWS  # statements kept: one for each number of rows, and what the rest needs
_COLUMNS: Final = "seq, tenant, call, kind, open_from, hash, line"
_SCHEMA: Final = (
    # open_from: no intent before it waits for its outcome, so that a start need not read the whole log
    """CREATE TABLE entries (
        seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, call TEXT NOT NULL, kind TEXT NOT NULL,
        open_from INTEGER NOT NULL, hash BLOB NOT NULL, line TEXT NOT NULL)""",
    "CREATE INDEX entries_by_call ON entries (tenant, call)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_OPEN_INTENTS: Final = """
    SELECT i.seq, i.line FROM entries i WHERE i.kind = 'intent'
    AND i.seq >= (SELECT open_from FROM entries ORDER BY seq DESC LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.tenant = i.tenant AND c.call = i.call AND c.kind = 'call')
    ORDER BY i.seq"""

_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})

Connect = Callable[[Path], sqlite3.Connection]


class LogUnusable(HubError):
    """The log cannot be opened as it is; the text says what to do."""


def connect(path: Path) -> sqlite3.Connection:
    """A writer's connection: every commit is on the disk when it returns."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=_PREPARED
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    return connection


def is_full(exc: Exception) -> bool:
    """Whether the disk has no room left."""
    if isinstance(exc, OSError):
        return exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(exc, "sqlite_errorcode", None) in _FULL


def rows_of(connection: sqlite3.Connection, where: str, values: Sequence[Any] = ()) -> Iterator[Row]:
    """Rows whatever was made of them: bytes that are no text come as escapes that no line has."""
    connection.text_factory = _lenient
    query = f"SELECT seq, tenant, call, kind, line, hash FROM entries {where}"  # noqa: S608 - our own clauses
    for seq, tenant, call, kind, line, hashed in connection.execute(query, values):
        yield Row(seq, str(tenant), str(call), str(kind), _bytes(line), _bytes(hashed))


def _lenient(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


class LogFile:
    """The end of the chain, and the way to lengthen it. Raises sqlite3.Error and OSError as they come."""

    def __init__(self, path: Path, connect: Connect = connect) -> None:
        """Open or create the file, and check the end of its chain. Raises LogUnusable when it is not to be trusted."""
        self.path = path
        self._reserve = path.with_name(path.name + ".reserve")
        self._seq = 0
        self._prev = GENESIS
        self._open: dict[tuple[str, str], int] = {}  # intents without outcome: (tenant, call) -> seq, oldest first
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        with ExitStack() as undo:
            try:
                self._db = connect(path)
                undo.callback(self._db.close)
                self._prepare()
                report = self._check_tail()
            except sqlite3.DatabaseError as exc:
                raise LogUnusable(f"{path} cannot be used as the audit log ({exc}): {_WAY_OUT}") from exc
            if not report.ok:
                raise LogUnusable(f"{path} is damaged, {report.reason}: {_WAY_OUT}")
            self.reread_head()
            self.restore_reserve()
            undo.pop_all()

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > SCHEMA_VERSION:
            raise LogUnusable(
                f"{self.path} was written by a newer hub (schema {version}, this one knows {SCHEMA_VERSION}): "
                "start that version, or restore an older backup"
            )
        if version == 0:
            if tables:
                raise LogUnusable(f"{self.path} is a database, but no audit log: {_WAY_OUT}")
            with _transaction(self._db):
                for statement in _SCHEMA:
                    self._db.execute(statement)

    def _check_tail(self) -> ChainReport:
        newest = list(rows_of(self._db, "ORDER BY seq DESC LIMIT ?", (TAIL,)))[::-1]
        if not newest:
            return ChainReport(True, 0)
        first = newest[0].seq
        whole = first == 1
        return check_rows(newest, after_seq=first - 1, prev=GENESIS if whole else None)

    def reread_head(self) -> None:
        """Take the end of the chain from the file: after a failure, it alone knows what was written."""
        head = self._db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        self._seq, self._prev = (0, GENESIS) if head is None else (head[0], head[1].hex())

    def open_intents(self) -> list[dict[str, Any]]:
        """Intents whose outcome is not in the log, oldest first. They count as open from now on."""
        found = []
        for seq, line in self._db.execute(_OPEN_INTENTS).fetchall():
            try:
                intent = json.loads(line)
                tenant, call, _, _ = (intent[name] for name in ("tenant", "call", "who", "item"))
                self._open[tenant, call] = seq
            except (ValueError, KeyError, TypeError) as exc:
                raise LogUnusable(f"{self.path} is damaged, entry {seq} cannot be read: {_WAY_OUT}") from exc
            found.append(intent)
        return found

    def append(self, entries: Sequence[Entry]) -> None:
        """Number, link and write the entries, in one transaction: durable when it returns, or none is there."""
        seq, prev, waiting = self._seq, self._prev, dict(self._open)
        values: list[Any] = []
        for entry in entries:
            seq += 1
            entry.seq, entry.prev = seq, prev
            line = line_of(entry)
            hashed = hash_of(line)
            prev = hashed.hex()
            key = (entry.tenant, entry.call)
            if entry.kind == "intent":
                waiting[key] = seq
            elif entry.kind == "call":
                waiting.pop(key, None)
            oldest = next(iter(waiting.values()), seq + 1)
            values += (seq, entry.tenant, entry.call, entry.kind, oldest, hashed, line.decode())
        self._insert(values, len(entries))
        self._seq, self._prev, self._open = seq, prev, waiting

    def _insert(self, values: list[Any], count: int) -> None:
        if count <= _ROWS:
            self._db.execute(_insert(count), values)  # a transaction of its own: two statements less, 20 us
            return
        with _transaction(self._db):
            for done in range(0, count, _ROWS):
                rows = min(_ROWS, count - done)
                self._db.execute(_insert(rows), values[done * _WIDTH : (done + rows) * _WIDTH])

    def free_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    def restore_reserve(self) -> None:
        """Lay the reserve aside. Raises OSError while the disk has no room for it; does nothing when it is there."""
        if self._reserve.exists():
            return
        partial = self._reserve.with_name(self._reserve.name + ".new")
        try:
            with closing(os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")) as file:
                file.write(os.urandom(RESERVE_BYTES))  # random, so that no file system stores it for free
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._reserve)
        finally:
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        self._db.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # a commit that fails leaves it open
            connection.execute("ROLLBACK")


_WAY_OUT: Final = "move it away to start a new log, or restore a backup"
_WIDTH: Final = _COLUMNS.count(",") + 1


@cache
def _insert(rows: int) -> str:
    row = "(" + ", ".join("?" * _WIDTH) + ")"
    return f"INSERT INTO entries ({_COLUMNS}) VALUES {', '.join([row] * rows)}"  # noqa: S608 - our own words
