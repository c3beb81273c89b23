"""Takes a backup of a data directory, whether a hub runs on it or not. Reads only; disturbs no writer.

Consistency: `hub.db` is copied first, in one read transaction, then `audit.db` in another. An act is told as done when
both hold it, and at the time of the second copy everything that was told so is in both, but for acts that came after
the first copy: of those the log may already know what `hub.db` does not. So a restored hub finds what it would find
after a power cut at that moment, and never a state whose log is missing. The manifest names the log's end before and
after, which is where such acts stand.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from hub import VERSION
from hub.admin.archive import (
    AUDIT,
    HUB,
    KEK,
    ArchiveError,
    Manifest,
    in_words,
    is_member,
    measured,
    pack,
    sync_folder,
    workshop,
)
from hub.audit.chain import GENESIS

BUSY_S: Final = 5.0
TRIES: Final = 3  # of a copy whose vault key changed meanwhile
FOLDERS: Final = ("keys", "tokens")
NO_SECRETS: Final = {
    "tokens": "the local tokens: the next start makes new ones, which every client has to be given",
    "users": "passwords and one-time secrets of users, and what they let in: mcp-hub users passwd NAME sets one anew",
    "connections": "what the hub holds to speak at servers for people: each logs in there once more",
    "keys": "the sealing keys: hashes of arguments in the log cannot be compared with those of later entries",
}


def make_backup(data_dir: Path, target: Path, *, secrets: bool = True, at: datetime | None = None) -> Manifest:
    """Write the backup to `target`, whole or not at all. Raises ArchiveError, in words."""
    if not (data_dir / HUB).exists():
        raise ArchiveError(f"there is nothing to back up in {data_dir}: no hub was ever started on it")
    _free(target)
    when = (at or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        with workshop(target) as folder:
            manifest = _gathered(data_dir, folder, secrets, when)
            draft = folder / "draft"
            pack(manifest, folder, draft)
            _free(target)
            draft.rename(target)
            sync_folder(target.parent)
            return manifest
    except sqlite3.DatabaseError as exc:
        raise in_words(exc, target, "nothing was written; mcp-hub doctor tells how the databases are") from exc
    except OSError as exc:
        raise in_words(exc, target, "nothing was written") from exc


def _free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ArchiveError(f"{target} exists; a backup replaces no file: give another name")
    if not target.parent.is_dir():
        raise ArchiveError(f"{target.parent} is no directory; make it first")


def _gathered(data_dir: Path, folder: Path, secrets: bool, when: str) -> Manifest:
    before = _head(data_dir / AUDIT)
    vault = _copy_hub(data_dir, folder, secrets)
    head = {"seq": 0, "hash": GENESIS}
    schemas = {HUB: _schema(folder / HUB)}
    if (data_dir / AUDIT).exists():
        _copy(data_dir / AUDIT, folder / AUDIT)
        head, schemas[AUDIT] = _head(folder / AUDIT), _schema(folder / AUDIT)
    if secrets:
        _copy_files(data_dir, folder)
    members = {name: measured(folder / name) for name in sorted(_names(folder))}
    left_out = {} if secrets else {**NO_SECRETS, "secrets": vault}
    return Manifest(VERSION, when, secrets, schemas, {"before": before, "head": head}, left_out, members)


def _copy_hub(data_dir: Path, folder: Path, secrets: bool) -> list[str]:
    """`hub.db` and the key that opens its vault, of one moment; the names of the vault's secrets."""
    copy = folder / HUB
    for _ in range(TRIES):
        copy.unlink(missing_ok=True)
        _copy(data_dir / HUB, copy)
        found = sealed_under(copy)
        if not secrets:
            _forget_secrets(copy)
            break
        for path in _vault_keys(data_dir):
            _write(folder / path.name, path.read_bytes())
        if set(found.values()) <= vault_key_ids(folder):
            break
    else:
        raise ArchiveError(
            f"{len(found)} secrets are sealed under a key that {data_dir / KEK} does not hold: nothing was written; "
            "wait for secrets rekey to end and try again, or leave them out: --without-secrets"
        )
    return sorted(found)


def sealed_under(path: Path) -> dict[str, str]:
    """Which key of the vault each secret was sealed with: key ids by name."""
    with reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'secrets'").fetchone():
            return {}
        return dict(connection.execute("SELECT name, kek FROM secrets").fetchall())


def _forget_secrets(path: Path) -> None:
    """Their rows, what users log in with, what programs hold of them, and what is left of it all in free pages."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()}
        for table in sorted(there & {"secrets", "codes", "grants", "connections"}):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - one of the four
        if "registrations" in there:
            connection.execute("DELETE FROM registrations WHERE sealed IS NOT NULL")
        if "users" in there:
            connection.execute("UPDATE users SET password = NULL, otp = NULL")
        connection.execute("VACUUM")


def _copy(source: Path, target: Path) -> None:
    """One moment of the database, as a single file."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with reading(source) as live, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # the archive is what has to be on the disk
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ArchiveError(f"{source} is damaged ({found}): nothing was written; restore an older backup")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
        yield connection


def _head(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"seq": 0, "hash": GENESIS}
    with reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchone():
            return {"seq": 0, "hash": GENESIS}
        found = connection.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    return {"seq": 0, "hash": GENESIS} if found is None else {"seq": found[0], "hash": bytes(found[1]).hex()}


def _schema(path: Path) -> int:
    with reading(path) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def vault_key_ids(folder: Path) -> frozenset[str]:
    return frozenset(sha256(path.read_bytes()).hexdigest()[:12] for path in _vault_keys(folder))


def _vault_keys(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob(f"{KEK}*")) if is_member(path.name) and path.is_file()]


def _copy_files(data_dir: Path, folder: Path) -> None:
    for name in FOLDERS:
        for path in sorted((data_dir / name).glob("*")):
            if is_member(f"{name}/{path.name}") and path.is_file():
                (folder / name).mkdir(mode=0o700, exist_ok=True)
                _write(folder / name / path.name, path.read_bytes())


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and is_member(name):
            yield name
