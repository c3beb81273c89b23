from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hub.core.ports import KeyRow
from hub.stores.sqlite.database import Database, open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.migrations import MIGRATIONS, Migration, SchemaError

NEXT: Migration = ("ALTER TABLE keys ADD COLUMN note TEXT", "CREATE TABLE more (tenant TEXT PRIMARY KEY)")
TABLES = {
    *("keys", "pins", "lists", "registry", "secrets", "users", "clients", "codes", "grants"),
    *("connections", "registrations"),
}
BROKEN: Migration = ("CREATE TABLE half (tenant TEXT PRIMARY KEY)", "ALTER TABLE no_such ADD COLUMN x")


async def tables(database: Database) -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return {name for (name,) in await database.read(lambda connection: connection.execute(query).fetchall())}


async def version(database: Database) -> int:
    found = await database.read(lambda connection: connection.execute("PRAGMA user_version").fetchone())
    return int(found[0])


async def test_a_new_file_gets_the_newest_schema_and_no_copy(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    assert await tables(database) == TABLES
    assert await version(database) == len(MIGRATIONS)
    await database.aclose()
    assert [file.name for file in tmp_path.iterdir()] == ["hub.db"]


async def test_every_key_of_every_table_begins_with_the_tenant(tmp_path: Path) -> None:
    await (await open_database(tmp_path / "hub.db")).aclose()
    with closing(sqlite3.connect(tmp_path / "hub.db")) as file:
        names = file.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        tables = [file.execute(f"PRAGMA table_info({name})").fetchall() for kind, name in names if kind == "table"]
        indexes = [file.execute(f"PRAGMA index_info({name})").fetchone() for kind, name in names if kind == "index"]
    assert len(tables) == len(TABLES)
    firsts = [[column[1] for column in columns if column[5] == 1] for columns in tables]
    assert firsts == [["tenant"]] * len(tables)
    assert {index[2] for index in indexes} == {"tenant"}


async def test_an_old_file_is_copied_whole_before_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    database = await open_database(path)
    await SqliteKeys(database).add(KeyRow("k1", "local", "ci", "ab", ("mcp",), None, None, "2026-01-01T00:00:00.000Z"))
    await database.aclose()
    copy = tmp_path / f"hub.db.schema-{len(MIGRATIONS)}"
    copy.write_text("of an earlier attempt")
    database = await open_database(path, (*MIGRATIONS, NEXT))
    assert "more" in await tables(database)
    assert await version(database) == len(MIGRATIONS) + 1
    await database.aclose()
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as old:
        assert old.execute("SELECT name FROM keys").fetchall() == [("ci",)]
        assert old.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_failed_step_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await (await open_database(path)).aclose()
    with pytest.raises(SchemaError, match=f"step {len(MIGRATIONS) + 2} failed"):
        await open_database(path, (*MIGRATIONS, NEXT, BROKEN))
    database = await open_database(path, (*MIGRATIONS, NEXT))
    assert await version(database) == len(MIGRATIONS) + 1
    assert "half" not in await tables(database)
    await database.aclose()


async def test_a_newer_schema_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await (await open_database(path, (*MIGRATIONS, NEXT))).aclose()
    with pytest.raises(SchemaError, match="newer hub"):
        await open_database(path)


async def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE songs (title TEXT)")
        foreign.commit()
    with pytest.raises(SchemaError, match="not a hub's"):
        await open_database(path)


async def test_a_step_that_cannot_begin_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await (await open_database(path)).aclose()
    with pytest.raises(SchemaError, match=f"step {len(MIGRATIONS) + 1} failed"):
        await open_database(path, (*MIGRATIONS, ("COMMIT",)))
