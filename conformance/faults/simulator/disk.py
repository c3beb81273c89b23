"""The disk under the audit log: it can be full, broken or slow."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal

from conformance.faults.simulator.crew import Crew

Trouble = Literal["none", "full", "broken", "slow"]
_WRITES = ("INSERT", "COMMIT", "BEGIN")


class Disk:
    def __init__(self, crew: Crew) -> None:
        self.trouble: Trouble = "none"
        self.slow_s = 0.0
        self._crew = crew

    def connect(self, path: Path) -> sqlite3.Connection:
        """A connection as the log makes its own, but for the wait for a real disk: no power cut is simulated."""
        connection = sqlite3.connect(
            path, timeout=2.0, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        connection.disk = self
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def before(self, sql: str) -> None:
        """Called in the log's thread before each statement."""
        if self.trouble == "none" or not sql.startswith(_WRITES):
            return
        if self.trouble == "slow":
            self._crew.wait(lambda: self.trouble != "slow", self.slow_s)
            return
        full = self.trouble == "full"
        exc = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
        exc.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
        raise exc


class _Connection(sqlite3.Connection):
    disk: Disk

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.disk.before(sql)
        return super().execute(sql, *args)
