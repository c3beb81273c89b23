"""The log, read from its file alone: no hub need run, and a running hub is not disturbed. Read-only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hub.audit.chain import ChainReport, Row, check_rows
from hub.audit.logfile import BUSY_S, rows_of
from hub.audit.record import LOCAL

MAX_LIMIT: Final = 10_000  # entries in one answer


def read_entries(path: Path, *, after_seq: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Entries after `after_seq`, oldest first, each with its own `hash`. Raises FileNotFoundError, sqlite3.Error."""
    with _reading(path) as connection:
        rows = rows_of(connection, "WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, _bounded(limit)))
        return [_told(row) for row in rows]


def tail(path: Path, limit: int) -> list[dict[str, Any]]:
    """The newest entries, oldest of them first."""
    with _reading(path) as connection:
        return [_told(row) for row in rows_of(connection, "ORDER BY seq DESC LIMIT ?", (_bounded(limit),))][::-1]


def entries_of(path: Path, call: str, tenant: str = LOCAL) -> list[dict[str, Any]]:
    """All entries of one call, oldest first; none when there is no such call."""
    with _reading(path) as connection:
        where = "WHERE tenant = ? AND call = ? ORDER BY seq LIMIT ?"
        return [_told(row) for row in rows_of(connection, where, (tenant, call, MAX_LIMIT))]


def check_chain(path: Path) -> ChainReport:
    """Look at every entry from the first: its hash, its link to the one before, its place. Raises FileNotFoundError.

    Finds every edit, removal and change of order with entries after it. That the newest entries were cut off, or that
    all from some point on were written anew, no chain can tell without a witness.
    """
    with _reading(path) as connection:
        counted = _Counted(rows_of(connection, "ORDER BY seq"))
        try:
            return check_rows(counted)
        except sqlite3.DatabaseError as exc:
            return ChainReport(False, counted.seen, counted.seen + 1, f"the file itself is damaged: {exc}")


class _Counted:
    """How far reading came, should the file break off."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows, self.seen = rows, 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            yield row
            self.seen += 1


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise FileNotFoundError(f"there is no audit log at {path}: the hub makes it at its first start")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def _bounded(limit: int) -> int:
    return max(0, min(limit, MAX_LIMIT))


def _told(row: Row) -> dict[str, Any]:
    """The line as it was written; one that was damaged says so, and never stops the reader."""
    try:
        said = json.loads(row.line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        said = {"seq": row.seq, "call": row.call, "kind": row.kind, "damaged": True}
    return {**said, "hash": row.hash.hex()}
