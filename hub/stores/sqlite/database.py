"""`hub.db`: one file, one thread that uses it, one transaction per write. Knows no table.

A second process may read; a second writer waits its turn and fails in words after 5 s.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from hub.core.errors import HubError
from hub.stores.sqlite.migrations import MIGRATIONS, Migration, SchemaError, migrate

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_S: Final = 5.0
ANSWER_S: Final = 30.0  # the disk's part of an answer: beyond that, the caller is told
WAITING: Final = 1000  # works that may wait for the thread


class DatabaseUnavailable(HubError):
    """The work was not done, or (after a timeout) it is not known whether it was."""


class Database:
    """Open, migrated, and for one event loop. Made by `open_database`."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, thread: ThreadPoolExecutor, answer_s: float = ANSWER_S
    ) -> None:
        self.path, self._answer_s = path, answer_s
        self._connection, self._thread = connection, thread
        self._waiting = 0
        self._open = True

    async def read(self, work: Work[T]) -> T:
        """What `work` returns; it runs on the database's thread and must not write."""
        return await self._run(lambda: _called(work, self._connection))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction: durable when it returns; when `work` raises, nothing is kept.

        A cancelled caller loses the wait: what had begun is committed whole.
        """
        return await self._run(lambda: _transacted(work, self._connection))

    async def aclose(self) -> None:
        """Finish what was asked, then close. Idempotent."""
        if not self._open:
            return
        self._open = False
        closed = asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)
        await asyncio.wait({closed}, timeout=self._answer_s)

    async def _run(self, job: Callable[[], T]) -> T:
        if not self._open:
            raise DatabaseUnavailable(f"{self.path.name} is closed")
        if self._waiting >= WAITING:
            raise DatabaseUnavailable(f"{self.path.name} is overloaded: {WAITING} requests wait for it")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._answer_s):
                return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except TimeoutError as exc:
            raise DatabaseUnavailable(f"{self.path.name} did not answer within {self._answer_s:g} s") from exc
        finally:
            self._waiting -= 1


async def open_database(path: Path, steps: Sequence[Migration] = MIGRATIONS, answer_s: float = ANSWER_S) -> Database:
    """Open or create the file (mode 0600) and bring its schema up to date. Raises SchemaError, in words."""
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hub-db")
    try:
        connection = await asyncio.get_running_loop().run_in_executor(thread, _opened, path, steps)
    except BaseException:
        thread.shutdown(wait=False)
        raise
    return Database(path, connection, thread, answer_s)


def _opened(path: Path, steps: Sequence[Migration]) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, path, steps)
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise SchemaError(f"{path} cannot be used as the hub's database ({exc}): restore a backup") from exc
    except SchemaError:
        connection.close()
        raise
    return connection


def _called(work: Work[T], connection: sqlite3.Connection) -> T:
    try:
        return work(connection)
    except sqlite3.Error as exc:
        raise DatabaseUnavailable(f"the hub's database cannot be read: {exc}") from exc


def _transacted(work: Work[T], connection: sqlite3.Connection) -> T:
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as exc:
        raise DatabaseUnavailable(f"the hub's database cannot be written: {exc}") from exc
    return result
