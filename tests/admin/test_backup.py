"""A backup is whole or not there, tells one moment, and holds no secret that was to be left out."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from hub.admin import backup
from hub.admin.archive import ArchiveError
from hub.admin.backup import make_backup
from hub.admin.restore import restore
from hub.core.accounts import CodeRow, GrantRow, UserRow
from hub.core.connections import ConnectionRow, RegistrationRow
from hub.core.ports import KeyRow
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.grants import SqliteGrants
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.migrations import MIGRATIONS
from hub.stores.sqlite.users import SqliteUsers
from tests.admin import data
from tests.stores.test_upgrade import FIXTURES


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry)) is not None}


async def test_a_backup_holds_both_databases_and_every_key_with_their_checksums(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    data.private(source / "run.json", b"{}")
    data.private(source / "keys" / ".audit-hmac.123", b"a draft")
    manifest = make_backup(source, tmp_path / "b.tar.gz")
    found = contents(tmp_path / "b.tar.gz")
    said = json.loads(found.pop("manifest.json"))
    assert said == json.loads(json.dumps(manifest.shown()))
    assert sorted(found) == ["audit.db", "hub.db", "kek", "keys/audit-hmac", "keys/cursors", "tokens/client"]
    assert {name: sha256(content).hexdigest() for name, content in found.items()} == {
        name: member["sha256"] for name, member in said["members"].items()
    }
    assert said["schemas"] == {"hub.db": len(MIGRATIONS), "audit.db": 1}
    [(seq, line)] = data.rows(source / "audit.db", "SELECT seq, line FROM entries ORDER BY seq DESC LIMIT 1")
    assert said["audit"]["head"] == {"seq": seq, "hash": sha256(str(line).encode()).hexdigest()}
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "d"]


async def test_without_secrets_nothing_of_the_vault_remains(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    manifest = make_backup(source, tmp_path / "b.tar.gz", secrets=False)
    found = contents(tmp_path / "b.tar.gz")
    assert sorted(found) == ["audit.db", "hub.db", "manifest.json"]
    assert data.CANARY in (source / "hub.db").read_bytes()
    assert all(secret not in content for content in found.values() for secret in (data.CANARY, data.KEK, b"t" * 43))
    assert manifest.left_out["secrets"] == ["WIKI_TOKEN"]
    assert "new ones" in manifest.left_out["tokens"]
    (tmp_path / "copy.db").write_bytes(found["hub.db"])
    assert data.rows(tmp_path / "copy.db", "SELECT count(*) FROM secrets") == [(0,)]
    assert data.rows(tmp_path / "copy.db", "SELECT name FROM keys") == [("ci",)]
    assert data.rows(source / "hub.db", "SELECT count(*) FROM secrets") == [(1,)]


async def test_without_secrets_users_are_there_and_what_they_log_in_with_is_not(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    database = await open_database(source / "hub.db")
    user = UserRow("local", "u1", "ada", ("admin",), (), 1.0, password=data.CANARY.decode(), otp=data.CANARY)
    await SqliteUsers(database).put((user,), (None,))
    ends = (("mcp",), "otp", 1.0, 1.0, 9e9, data.CANARY.decode(), None, None, data.CANARY)
    grant = GrantRow("local", "g1", "u1", "c", "C", "https://h/mcp", *ends)  # type: ignore[arg-type]
    await SqliteGrants(database).open(grant, CodeRow("local", data.CANARY.decode(), "c", "r", "s", "g1", 9e9))
    await database.aclose()
    manifest = make_backup(source, tmp_path / "b.tar.gz", secrets=False)
    copy = tmp_path / "copy.db"
    copy.write_bytes(contents(tmp_path / "b.tar.gz")["hub.db"])
    assert data.CANARY not in copy.read_bytes()
    assert data.rows(copy, "SELECT name, roles, password, otp FROM users") == [("ada", '["admin"]', None, None)]
    assert data.rows(copy, "SELECT (SELECT count(*) FROM grants) + (SELECT count(*) FROM codes)") == [(0,)]
    assert "users passwd" in manifest.left_out["users"]
    make_backup(source, tmp_path / "whole.tar.gz")
    copy.write_bytes(contents(tmp_path / "whole.tar.gz")["hub.db"])
    assert data.rows(copy, "SELECT password FROM users") == [(data.CANARY.decode(),)]


async def test_without_secrets_nothing_is_left_that_the_hub_could_act_with_elsewhere(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    database = await open_database(source / "hub.db")
    store = SqliteConnections(database)
    where = ("u1", "wiki", "https://as", "https://wiki/mcp", "", "c1", ())
    await store.put(ConnectionRow("local", "o1", *where, data.CANARY, 1.0, 1.0, None, 1.0), None)
    public = RegistrationRow("local", "https://as", "c1", "dynamic", {}, 1.0)
    await store.put_registration(public, None)
    await store.put_registration(replace(public, client="c2", sealed=data.CANARY), None)
    await database.aclose()
    make_backup(source, tmp_path / "b.tar.gz", secrets=False)
    copy = tmp_path / "copy.db"
    copy.write_bytes(contents(tmp_path / "b.tar.gz")["hub.db"])
    assert data.CANARY not in copy.read_bytes()
    assert data.rows(copy, "SELECT count(*) FROM connections") == [(0,)]
    assert data.rows(copy, "SELECT client FROM registrations") == [("c1",)]


async def test_a_hub_that_writes_meanwhile_is_not_disturbed_and_its_log_is_not_behind(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    database = await open_database(source / "hub.db")
    keys, going, count = SqliteKeys(database), True, 0

    async def work() -> None:
        nonlocal count
        while going:
            count += 1
            await keys.add(KeyRow(f"x{count}", "local", f"n{count}", "ab", ("mcp",), None, None, data.AT))

    working = asyncio.create_task(work())
    manifests = [await asyncio.to_thread(make_backup, source, tmp_path / f"{number}.tar.gz") for number in range(3)]
    going = False
    await working
    await database.aclose()
    assert count > 3
    for number, manifest in enumerate(manifests):
        assert manifest.audit["before"]["seq"] <= manifest.audit["head"]["seq"]
        (tmp_path / "copy.db").write_bytes(contents(tmp_path / f"{number}.tar.gz")["hub.db"])
        assert data.rows(tmp_path / "copy.db", "PRAGMA integrity_check") == [("ok",)]


async def test_a_log_that_grows_between_the_copies_shows_in_both_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await data.made(tmp_path / "d")
    real = backup._copy

    def copy(path: Path, target: Path) -> None:
        real(path, target)
        if path.name == "hub.db":
            asyncio.run(data.written(source, 4))

    monkeypatch.setattr(backup, "_copy", copy)
    manifest = await asyncio.to_thread(make_backup, source, tmp_path / "b.tar.gz")
    assert manifest.audit["head"]["seq"] == manifest.audit["before"]["seq"] + 6  # the start and the stop too


async def test_a_vault_whose_key_is_replaced_meanwhile_is_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await data.made(tmp_path / "d")
    real, fresh = backup._copy, b"f" * 32

    def copy(path: Path, target: Path) -> None:
        real(path, target)
        if path.name == "hub.db" and (source / "kek").read_bytes() != fresh:
            data.change(path, f"UPDATE secrets SET kek = '{sha256(fresh).hexdigest()[:12]}'")
            data.private(source / "kek", fresh)

    monkeypatch.setattr(backup, "_copy", copy)
    make_backup(source, tmp_path / "b.tar.gz")
    found = contents(tmp_path / "b.tar.gz")
    (tmp_path / "copy.db").write_bytes(found["hub.db"])
    assert found["kek"] == fresh
    assert data.rows(tmp_path / "copy.db", "SELECT kek FROM secrets") == [(sha256(fresh).hexdigest()[:12],)]


async def test_a_vault_between_two_keys_is_copied_with_both(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    data.private(source / "kek.next", b"f" * 32)
    data.add_secret(source / "hub.db", "OTHER", b"f" * 32)
    assert "kek.next" in make_backup(source, tmp_path / "b.tar.gz").members


async def test_secrets_that_no_key_opens_are_told_before_it_is_too_late(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    (source / "kek").unlink()
    with pytest.raises(ArchiveError, match="1 secrets are sealed under a key"):
        make_backup(source, tmp_path / "b.tar.gz")
    make_backup(source, tmp_path / "b.tar.gz", secrets=False)


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_no_file_is_replaced(kind: str, tmp_path: Path) -> None:
    source, target = await data.made(tmp_path / "d"), tmp_path / "b.tar.gz"
    if kind == "file":
        target.write_text("the only copy")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArchiveError, match="exists"):
        make_backup(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "d"]


@pytest.mark.parametrize("wrong", ["no data", "no folder", "damaged", "not a database"])
async def test_what_cannot_be_backed_up_is_told_and_leaves_nothing(wrong: str, tmp_path: Path) -> None:
    source, target = await data.made(tmp_path / "d"), tmp_path / "b.tar.gz"
    if wrong == "no data":
        source = tmp_path / "elsewhere"
    elif wrong == "no folder":
        target = tmp_path / "no" / "b.tar.gz"
    elif wrong == "damaged":
        whole = (source / "hub.db").read_bytes()
        (source / "hub.db").write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    else:
        (source / "hub.db").write_bytes(b"no database at all" * 300)
    with pytest.raises(ArchiveError, match=r"nothing to back up|make it first|nothing was written"):
        make_backup(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("secrets", [True, False])
def test_the_data_of_an_older_hub_are_backed_up_before_it_is_upgraded(secrets: bool, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    shutil.copy(FIXTURES / "hub-v1.db", tmp_path / "d" / "hub.db")
    manifest = make_backup(tmp_path / "d", tmp_path / "b.tar.gz", secrets=secrets)
    assert manifest.schemas == {"hub.db": 1}
    assert asyncio.run(restore(tmp_path / "b.tar.gz", tmp_path / "new")).manifest == manifest


async def test_a_hub_without_a_log_yet_has_an_empty_head(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    (source / "audit.db").unlink()
    manifest = make_backup(source, tmp_path / "b.tar.gz")
    assert manifest.audit["head"] == {"seq": 0, "hash": "0" * 64}
    with closing(sqlite3.connect(source / "audit.db")) as file:
        file.execute("PRAGMA user_version = 0")
    assert make_backup(source, tmp_path / "c.tar.gz").audit["head"]["seq"] == 0


LIMITED = """
import resource, sys
from pathlib import Path
from hub.admin.archive import ArchiveError
from hub.admin.backup import make_backup
from hub.admin.restore import restore
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    make_backup(Path(sys.argv[1]), Path(sys.argv[2]))
except ArchiveError as exc:
    print(exc)
"""


@pytest.mark.parametrize("room", [8 * 1024, 100 * 1024])
async def test_a_place_without_room_is_told_and_nothing_half_done_is_left(room: int, tmp_path: Path) -> None:
    """The smaller limit stops the copy of a database, the larger one the archive."""
    source = await data.made(tmp_path / "d")
    data.private(source / "keys" / "large", os.urandom(90 * 1024))
    data.private(source / "keys" / "larger", os.urandom(90 * 1024))
    command = (sys.executable, "-c", LIMITED, str(source), str(tmp_path / "b.tar.gz"), str(room))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "nothing was written" in done.stdout, done.stderr
    assert "no room left" in done.stdout or room < 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


KILLED = """
import os, signal, sys
from pathlib import Path
from hub.admin import backup
real = backup.pack
def pack(manifest, folder, target):
    target.write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
backup.pack = pack
backup.make_backup(Path(sys.argv[1]), Path(sys.argv[2]))
"""


async def test_a_killed_backup_leaves_no_file_of_that_name_and_the_next_one_clears_up(tmp_path: Path) -> None:
    source, target = await data.made(tmp_path / "d"), tmp_path / "b.tar.gz"
    done = subprocess.run((sys.executable, "-c", KILLED, str(source), str(target)), timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert (tmp_path / ".b.tar.gz.partial").is_dir()
    make_backup(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "d"]


async def test_two_backups_of_one_name_do_not_meet(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    busy = tmp_path / ".b.tar.gz.partial"
    busy.mkdir(mode=0o700)
    fd = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ArchiveError, match="by another process"):
            make_backup(source, tmp_path / "b.tar.gz")
    finally:
        os.close(fd)


@pytest.mark.parametrize("trap", ["link", "open to others", "file"])
async def test_a_trap_where_the_backup_would_be_written_is_not_stepped_into(trap: str, tmp_path: Path) -> None:
    source, place = await data.made(tmp_path / "d"), tmp_path / ".b.tar.gz.partial"
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "precious").write_text("precious")
    if trap == "link":
        place.symlink_to(victim)
    elif trap == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(ArchiveError):
        make_backup(source, tmp_path / "b.tar.gz")
    assert (victim / "precious").exists()
    assert not (tmp_path / "b.tar.gz").exists()
