"""Databases that older hubs wrote serve this one: everything is there, and a copy of what was."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from hub.audit.read import check_chain
from hub.audit.writer import AuditLog
from hub.core.accounts import UserRow
from hub.core.ports import KeyRow
from hub.identity.keys import Keys
from hub.stores.sqlite.database import Database, open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.lists import SqliteLists
from hub.stores.sqlite.migrations import MIGRATIONS
from hub.stores.sqlite.pins import SqlitePins
from hub.stores.sqlite.users import SqliteUsers

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
KEY = "mhk_Jfa6XYiObv9LQoXQm38NNJxugGqgVrxwNmJppg9E08w"  # of a hub that never was anybody's


async def upgraded(folder: Path) -> Database:
    shutil.copy(FIXTURES / "hub-v1.db", folder / "hub.db")
    with closing(sqlite3.connect(folder / "hub.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
    return await open_database(folder / "hub.db")


async def test_keys_of_the_first_schema_still_open_the_hub(tmp_path: Path) -> None:
    database = await upgraded(tmp_path)
    keys = Keys(SqliteKeys(database))
    await keys.load()
    found = {row.name: row for row in keys.rows()}
    assert set(found) == {"ci", "old"}
    assert found["old"].revoked_at is not None
    assert (found["ci"].last_used_at, found["ci"].replaced_by) == (None, None)
    who = keys.principal(sha256(KEY.encode()).hexdigest())
    assert who is not None
    assert (who.name, who.scopes, who.grants.servers) == ("key:ci", frozenset({"mcp"}), frozenset({"notes"}))
    made, fresh = await keys.create("new", ("mcp",), ("*",), None, None)
    assert keys.principal(sha256(fresh.encode()).hexdigest()) is not None
    assert made.name in {row.name for row in await SqliteKeys(database).all("local")}
    await database.aclose()


async def test_definitions_and_lists_of_the_first_schema_are_as_they_were(tmp_path: Path) -> None:
    database = await upgraded(tmp_path)
    pins = await SqlitePins(database).load("local")
    lists = await SqliteLists(database).load("local")
    await database.aclose()
    assert len(pins) == 26
    assert {(pin.server, pin.kind) for pin in pins} == {
        ("notes", kind) for kind in ("tool", "prompt", "resource", "template")
    }
    assert {tool["name"] for tool in lists["notes"]["tool"]} == {pin.native for pin in pins if pin.kind == "tool"}


async def test_an_upgrade_leaves_a_whole_copy_of_what_was(tmp_path: Path) -> None:
    await (await upgraded(tmp_path)).aclose()
    with closing(sqlite3.connect(tmp_path / "hub.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert file.execute("SELECT count(*) FROM registry").fetchone() == (0,)
        for table in ("secrets", "users", "clients", "codes", "grants", "connections", "registrations"):
            assert file.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    copy = tmp_path / "hub.db.schema-1"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as old, closing(sqlite3.connect(FIXTURES / "hub-v1.db")) as fixture:
        assert list(old.iterdump()) == list(fixture.iterdump())


async def test_a_hub_without_users_gets_room_for_them_and_keeps_its_keys(tmp_path: Path) -> None:
    old = await open_database(tmp_path / "hub.db", MIGRATIONS[:2])
    key = KeyRow("k1", "local", "ci", "ab", ("mcp",), None, None, "2026-01-01T00:00:00.000Z")
    await SqliteKeys(old).add(key)
    await old.aclose()
    database = await open_database(tmp_path / "hub.db")
    user = UserRow("local", "u1", "ada", ("admin",), (), 1.0)
    await SqliteUsers(database).put((user,), (None,))
    assert await SqliteKeys(database).all("local") == (key,)
    assert await SqliteUsers(database).all("local") == (user,)
    await database.aclose()
    assert (tmp_path / "hub.db.schema-2").exists()


async def test_the_log_of_an_older_hub_is_continued(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "audit-v1.db", tmp_path / "audit.db")
    before = check_chain(tmp_path / "audit.db")
    log = AuditLog(tmp_path / "audit.db", policy_version="p", hmac_key=b"k" * 32)
    await log.start()
    await log.event("admin", "local:admin", "done", None, {"act": "keys.create"})
    await log.aclose()
    after = check_chain(tmp_path / "audit.db")
    assert before.ok
    assert after.ok
    assert after.entries == before.entries + 3  # the start and the stop too
