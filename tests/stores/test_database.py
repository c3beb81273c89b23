from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event

import anyio
import pytest

from hub.stores.sqlite import database as module
from hub.stores.sqlite.database import Database, DatabaseUnavailable, open_database
from hub.stores.sqlite.migrations import SchemaError


def insert(server: str) -> module.Work[None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO lists VALUES ('local', ?, '{}')", (server,))

    return work


async def servers(database: Database) -> list[str]:
    rows = await database.read(lambda connection: connection.execute("SELECT server FROM lists").fetchall())
    return [server for (server,) in rows]


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.touch(0o666)
    database = await open_database(path)
    await database.write(insert("a"))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    await database.aclose()


async def test_a_write_that_raises_keeps_nothing(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")

    def half(connection: sqlite3.Connection) -> None:
        insert("a")(connection)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError):
        await database.write(half)
    with pytest.raises(DatabaseUnavailable, match="written"):
        await database.write(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(DatabaseUnavailable, match="read"):
        await database.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
    assert await servers(database) == []
    await database.aclose()


async def test_what_was_written_is_there_for_a_second_process(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    await database.write(insert("a"))
    with closing(sqlite3.connect(tmp_path / "hub.db")) as other:
        assert other.execute("SELECT server FROM lists").fetchall() == [("a",)]
        assert database.path == tmp_path / "hub.db"
    (mode,) = await database.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
    assert mode == 2
    await database.aclose()


async def test_a_cancelled_caller_loses_the_wait_not_the_write(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    begun, go_on = Event(), Event()

    def slow(connection: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(5)
        insert("a")(connection)

    task = asyncio.create_task(database.write(slow))
    with anyio.fail_after(5):
        while not begun.is_set():
            await anyio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await servers(database) == ["a"]
    await database.aclose()


async def test_too_many_waiting_works_are_refused_at_once(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    gate = Event()
    first = asyncio.create_task(database.read(lambda connection: gate.wait(5)))
    rest = [asyncio.create_task(database.read(lambda connection: True)) for _ in range(module.WAITING - 1)]
    await anyio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="overloaded"):
        await database.read(lambda connection: True)
    gate.set()
    with anyio.fail_after(5):
        assert all(await asyncio.gather(first, *rest))
    await database.aclose()


async def test_closing_finishes_what_was_asked_and_takes_no_more(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    written = asyncio.create_task(database.write(insert("a")))
    await anyio.sleep(0)
    await database.aclose()
    await database.aclose()
    await written
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.read(lambda connection: None)
    again = await open_database(tmp_path / "hub.db")
    assert await servers(again) == ["a"]
    await again.aclose()


async def test_a_database_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    opened = await open_database(tmp_path / "hub.db")
    await opened.aclose()
    database = await open_database(tmp_path / "hub.db", answer_s=0.05)
    gate = Event()
    with pytest.raises(DatabaseUnavailable, match=r"within 0\.05 s"):
        await database.read(lambda connection: gate.wait(5))
    gate.set()
    await database.aclose()


async def test_what_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(SchemaError, match="restore a backup"):
        await open_database(path)


async def test_a_missing_directory_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await open_database(tmp_path / "nowhere" / "hub.db")
