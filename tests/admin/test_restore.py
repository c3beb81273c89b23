"""Nothing is put in place before it is proven, and nothing that is there is touched."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hub.admin import restore as module
from hub.admin.archive import ArchiveError
from hub.admin.backup import make_backup
from hub.admin.restore import restore
from hub.audit.chain import canonical, hash_of
from hub.audit.read import check_chain
from hub.identity.keys import Keys
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys
from tests.admin import data

Members = dict[str, bytes]


async def backup(folder: Path, secrets: bool = True) -> Path:
    """The directory `d` and its backup `b.tar.gz`, both made once and copied for every test."""
    kept = folder.parent / f"backed-up-{secrets}"
    if not kept.exists():
        kept.mkdir()
        make_backup(await data.made(kept / "d"), kept / "b.tar.gz", secrets=secrets)
        (kept / "d" / "audit.db.reserve").unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return folder / "b.tar.gz"


def rewritten(path: Path, change: Callable[[dict[str, Any], Members], None], *, measure: bool = True) -> Path:
    """The same backup with something changed, its checksums made to fit again."""
    with tarfile.open(path) as tar:
        members = {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry)) is not None}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    if measure:
        for name, content in members.items():
            manifest["members"][name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
    target = path.with_name("changed.tar.gz")
    with tarfile.open(target, "w:gz") as tar:
        for name, content in ({"manifest.json": json.dumps(manifest).encode()} | members).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target


def in_database(members: Members, name: str, folder: Path, statement: str) -> None:
    path = folder / "edited.db"
    path.write_bytes(members[name])
    data.change(path, statement)
    members[name] = path.read_bytes()


async def test_a_restored_hub_is_the_one_that_was_backed_up(tmp_path: Path) -> None:
    done = await restore(await backup(tmp_path), tmp_path / "new")
    for name in ("kek", "keys/audit-hmac", "keys/cursors", "tokens/client"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    query = "SELECT name, sealed FROM secrets"
    assert data.rows(tmp_path / "new" / "hub.db", query) == [("WIKI_TOKEN", data.CANARY)]
    database = await open_database(tmp_path / "new" / "hub.db")
    keys = Keys(SqliteKeys(database))
    await keys.load()
    await database.aclose()
    assert [row.name for row in keys.rows()] == ["ci"]
    assert done.entries == 7
    assert done.shown()["left_out"] == {}
    assert not (tmp_path / ".new.partial").exists()


async def test_the_restored_log_goes_on_where_it_was_and_says_so(tmp_path: Path) -> None:
    await restore(await backup(tmp_path), tmp_path / "new")
    log = tmp_path / "new" / "audit.db"
    assert check_chain(log).ok
    assert data.acts(log)[-1] == "restore"
    await data.written(tmp_path / "new", 2)
    assert check_chain(log).ok
    assert "canary" not in str(data.rows(log, "SELECT line FROM entries"))


async def test_an_empty_directory_is_filled_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    await restore(await backup(tmp_path, secrets=False), tmp_path / "x" / ".." / "new")
    assert (tmp_path / "new" / "hub.db").exists()
    assert not (tmp_path / "new" / "kek").exists()


@pytest.mark.parametrize("there", ["a hub", "a file", "a link", "no parent"])
async def test_only_an_empty_directory_is_taken(there: str, tmp_path: Path) -> None:
    source, into = await backup(tmp_path), tmp_path / "new"
    if there == "a hub":
        into = tmp_path / "d"
    elif there == "a file":
        into.write_text("mine")
    elif there == "a link":
        (tmp_path / "elsewhere").mkdir()
        into.symlink_to(tmp_path / "elsewhere")
    else:
        into = tmp_path / "no" / "new"
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=r"not empty|no directory"):
        await restore(source, into)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


async def test_what_appears_in_the_directory_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real = await backup(tmp_path), module._proven

    def proven(*args: Any) -> int:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "precious").write_text("precious")
        return real(*args)

    monkeypatch.setattr(module, "_proven", proven)
    with pytest.raises(ArchiveError, match="not empty"):
        await restore(source, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["precious"]


async def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    whole = (await backup(tmp_path)).read_bytes()
    broken = tmp_path / "broken.tar.gz"
    for place in (12, len(whole) // 3, len(whole) // 2, len(whole) - 300):
        broken.write_bytes(whole[:place] + bytes((whole[place] ^ 0x55,)) + whole[place + 1 :])
        with pytest.raises(ArchiveError):
            await restore(broken, tmp_path / "new")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["nothing", "text", "gzip", "another tar", "cut off", "a directory", "empty"])
async def test_what_is_no_backup_is_told(kind: str, tmp_path: Path) -> None:
    whole = (await backup(tmp_path)).read_bytes()
    given = tmp_path / "given"
    if kind == "text":
        given.write_text("hello" * 1000)
    elif kind == "gzip":
        given.write_bytes(gzip.compress(b"hello" * 1000))
    elif kind == "another tar":
        with tarfile.open(given, "w:gz") as tar:
            tar.add(__file__, "test.py")
    elif kind == "cut off":
        given.write_bytes(whole[: len(whole) // 2])
    elif kind == "a directory":
        given.mkdir()
    elif kind == "empty":
        given.touch()
    with pytest.raises(ArchiveError):
        await restore(given, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir() if path != given) == ["b.tar.gz", "d"]


def _no_hub(manifest: dict[str, Any], members: Members) -> None:
    del members["hub.db"], manifest["members"]["hub.db"]


def _lacking(manifest: dict[str, Any], members: Members) -> None:
    del members["kek"]


def _more(manifest: dict[str, Any], members: Members) -> None:
    members["lock"] = b"x"


def _outside(manifest: dict[str, Any], members: Members) -> None:
    manifest["members"]["../../evil"] = {"bytes": 1, "sha256": "0" * 64}


def _hidden(manifest: dict[str, Any], members: Members) -> None:
    manifest["members"]["keys/.."] = {"bytes": 1, "sha256": "0" * 64}


def _many(manifest: dict[str, Any], members: Members) -> None:
    manifest["members"] |= {f"keys/{number}": {"bytes": 0, "sha256": ""} for number in range(2000)}


def _huge(manifest: dict[str, Any], members: Members) -> None:
    manifest["members"]["kek"]["bytes"] = 1 << 60


def _no_list(manifest: dict[str, Any], members: Members) -> None:
    manifest["members"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_no_hub, "no hub.db"),
        (_lacking, "lacks kek"),
        (_more, "'lock' otherwise"),
        (_outside, "manifest of .* is damaged"),
        (_hidden, "manifest of .* is damaged"),
        (_many, "manifest of .* is damaged"),
        (_huge, "bytes left and"),
        (_no_list, "manifest of .* is damaged"),
    ],
)
async def test_a_backup_that_is_not_what_its_manifest_says_is_refused(
    change: Callable[[dict[str, Any], Members], None], words: str, tmp_path: Path
) -> None:
    changed = rewritten(await backup(tmp_path), change, measure=False)
    with pytest.raises(ArchiveError, match=words):
        await restore(changed, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
async def test_only_plain_files_come_out_of_a_backup(kind: bytes, tmp_path: Path) -> None:
    source = await backup(tmp_path)
    with tarfile.open(source) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        text = manifest.read()
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        link = tarfile.TarInfo("kek")
        link.type, link.linkname = kind, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ArchiveError, match="'kek' otherwise"):
        await restore(tmp_path / "evil.tar.gz", tmp_path / "new")


@pytest.mark.parametrize("name", ["hub.db", "audit.db"])
@pytest.mark.parametrize("told", [True, False])
async def test_a_newer_schema_is_refused_in_words(name: str, told: bool, tmp_path: Path) -> None:
    def newer(manifest: dict[str, Any], members: Members) -> None:
        if told:
            manifest["schemas"][name] = 99
        in_database(members, name, tmp_path, "PRAGMA user_version = 99")

    changed = rewritten(await backup(tmp_path), newer)
    with pytest.raises(ArchiveError, match="newer hub.*restore it with that version" if told else "has schema 99"):
        await restore(changed, tmp_path / "new")
    assert not (tmp_path / "new").exists()


async def test_a_newer_form_is_refused_in_words(tmp_path: Path) -> None:
    changed = rewritten(await backup(tmp_path), lambda manifest, members: manifest.update(format=2, hub="9.9"))
    with pytest.raises(ArchiveError, match=r"newer hub \(9\.9\)"):
        await restore(changed, tmp_path / "new")


async def test_a_log_that_was_edited_is_refused_even_with_fitting_checksums(tmp_path: Path) -> None:
    def edited(manifest: dict[str, Any], members: Members) -> None:
        in_database(members, "audit.db", tmp_path, "UPDATE entries SET line = replace(line, 'act-2', 'act-9')")

    changed = rewritten(await backup(tmp_path), edited)
    with pytest.raises(ArchiveError, match="log in the backup was changed"):
        await restore(changed, tmp_path / "new")


@pytest.mark.parametrize("left", [0, 3])
async def test_a_log_that_was_cut_off_is_refused(left: int, tmp_path: Path) -> None:
    def cut(manifest: dict[str, Any], members: Members) -> None:
        in_database(members, "audit.db", tmp_path, f"DELETE FROM entries WHERE seq > {left}")

    changed = rewritten(await backup(tmp_path), cut)
    with pytest.raises(ArchiveError, match="does not end where its manifest says"):
        await restore(changed, tmp_path / "new")


async def test_a_log_whose_last_entry_was_written_anew_is_refused(tmp_path: Path) -> None:
    def forged(manifest: dict[str, Any], members: Members) -> None:
        path = tmp_path / "edited.db"
        path.write_bytes(members["audit.db"])
        [(seq, line)] = data.rows(path, "SELECT seq, line FROM entries ORDER BY seq DESC LIMIT 1")
        new = canonical({**json.loads(str(line)), "who": "somebody else"})
        data.change(
            path, f"UPDATE entries SET line = '{new.decode()}', hash = x'{hash_of(new).hex()}' WHERE seq = {seq}"
        )
        members["audit.db"] = path.read_bytes()

    changed = rewritten(await backup(tmp_path), forged)
    with pytest.raises(ArchiveError, match="does not end where its manifest says"):
        await restore(changed, tmp_path / "new")


async def test_a_damaged_database_is_refused_even_with_fitting_checksums(tmp_path: Path) -> None:
    def damaged(manifest: dict[str, Any], members: Members) -> None:
        whole = members["hub.db"]
        members["hub.db"] = whole[:4096] + b"\xff" * (len(whole) - 4096)

    changed = rewritten(await backup(tmp_path), damaged)
    with pytest.raises(ArchiveError, match=r"is damaged|nothing was restored"):
        await restore(changed, tmp_path / "new")
    assert not (tmp_path / "new").exists()


async def test_a_backup_without_a_log_begins_a_new_one(tmp_path: Path) -> None:
    source = await data.made(tmp_path / "d")
    (source / "audit.db").unlink()
    make_backup(source, tmp_path / "b.tar.gz")
    assert (await restore(tmp_path / "b.tar.gz", tmp_path / "new")).entries == 0
    assert data.acts(tmp_path / "new" / "audit.db") == ["restore"]


async def test_a_mount_point_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").mkdir()
    source = await backup(tmp_path)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "new")
    with pytest.raises(ArchiveError, match="name a new directory in it"):
        await restore(source, tmp_path / "new")


async def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await backup(tmp_path)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "unpack", full)
    with pytest.raises(ArchiveError, match=r"no room left: nothing was restored; free some"):
        await restore(source, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "d"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from hub.admin import restore
def placed(staged, into):
    os.kill(os.getpid(), signal.SIGKILL)
restore._placed = placed
asyncio.run(restore.restore(Path(sys.argv[1]), Path(sys.argv[2])))
"""


async def test_a_killed_restore_leaves_the_target_alone_and_can_be_repeated(tmp_path: Path) -> None:
    source = await backup(tmp_path)
    command = (sys.executable, "-c", KILLED, str(source), str(tmp_path / "new"))
    assert subprocess.run(command, timeout=30).returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    await restore(source, tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["b.tar.gz", "d", "new"]
