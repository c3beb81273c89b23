"""Turns a backup into a data directory: proven whole first, then put in place in one step.

Everything happens in a directory beside the target, which is renamed to it in the end; until then the target is
untouched. What no longer fits this hub is refused before anything is unpacked.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.admin.archive import (
    AUDIT,
    HUB,
    ArchiveError,
    Manifest,
    in_words,
    opened,
    sync_folder,
    unpack,
    workshop,
)
from hub.audit.chain import GENESIS
from hub.audit.logfile import RESERVE_BYTES, SCHEMA_VERSION
from hub.audit.read import check_chain, tail
from hub.audit.writer import AuditLog
from hub.stores.sqlite.migrations import MIGRATIONS

WHO: Final = "local:admin"
KNOWN: Final = {HUB: len(MIGRATIONS), AUDIT: SCHEMA_VERSION}


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    entries: int  # of the log that were checked

    def shown(self) -> dict[str, Any]:
        told = self.manifest.shown()
        return {name: told[name] for name in ("hub", "made_at", "secrets", "schemas", "audit", "left_out")} | {
            "entries": self.entries
        }


async def restore(backup: Path, into: Path) -> Restored:
    """A new data directory at `into`, which must not exist or be empty. Raises ArchiveError, and then left no trace."""
    into = _target(backup, into)
    try:
        with workshop(into) as folder:
            staged = folder / "data"
            staged.mkdir(mode=0o700)
            manifest = await asyncio.to_thread(_unpacked, backup, staged)
            entries = await asyncio.to_thread(_proven, manifest, staged)
            await _noted(manifest, staged)
            await asyncio.to_thread(_placed, staged, into)
    except sqlite3.Error as exc:
        raise in_words(exc, into, "nothing was restored; take another backup") from exc
    except OSError as exc:
        raise in_words(exc, into, "nothing was restored") from exc
    return Restored(manifest, entries)


def _target(backup: Path, into: Path) -> Path:
    if not backup.is_file():
        raise ArchiveError(f"there is no backup at {backup}")
    found = Path(os.path.abspath(into))  # with `..` resolved, so that it has a name of its own and a parent
    _empty(found)
    return found


def _empty(into: Path) -> None:
    if into.is_symlink() or (into.exists() and not into.is_dir()):
        raise ArchiveError(f"{into} is no directory; name a new one")
    if into.is_dir():
        if next(into.iterdir(), None) is not None:
            raise ArchiveError(f"{into} is not empty: a backup replaces nothing; name a new directory")
        if into.is_mount():
            raise ArchiveError(f"{into} is a mount point: name a new directory in it, and set data_dir to that one")
    elif not into.parent.is_dir():
        raise ArchiveError(f"{into.parent} is no directory; make it first")


def _unpacked(backup: Path, staged: Path) -> Manifest:
    with opened(backup) as (manifest, tar):
        _fits(manifest, backup)
        needed = sum(member.bytes for member in manifest.members.values()) + RESERVE_BYTES
        free = shutil.disk_usage(staged).free
        if needed > free:
            raise ArchiveError(
                f"the disk has {free} bytes left and {needed} are needed: free some, or name another place"
            )
        unpack(manifest, tar, staged)
        return manifest


def _fits(manifest: Manifest, backup: Path) -> None:
    if HUB not in manifest.members:
        raise ArchiveError(f"{backup} holds no {HUB}; take another backup")
    for name, number in manifest.schemas.items():
        known = KNOWN.get(name, 0)
        if number > known:
            raise ArchiveError(
                f"{name} in {backup} was written by a newer hub ({manifest.hub}, schema {number}; this one knows "
                f"{known}): restore it with that version"
            )


def _proven(manifest: Manifest, staged: Path) -> int:
    """Both databases are sound and what the manifest says; the log's chain holds to its end."""
    for name in (HUB, AUDIT):
        if name in manifest.members:
            found, schema = _condition(staged / name)
            if found != "ok":
                raise ArchiveError(f"{name} in the backup is damaged ({found}); take another one")
            if schema > KNOWN[name] or schema != manifest.schemas.get(name):
                raise ArchiveError(f"{name} in the backup has schema {schema}, which its manifest does not say")
    if AUDIT not in manifest.members:
        return 0
    report = check_chain(staged / AUDIT)
    if not report.ok:
        raise ArchiveError(f"the log in the backup was changed: {report.reason}; take another one")
    newest = tail(staged / AUDIT, 1)
    head = {"seq": newest[0]["seq"], "hash": newest[0]["hash"]} if newest else {"seq": 0, "hash": GENESIS}
    if head != manifest.audit["head"]:
        raise ArchiveError("the log in the backup does not end where its manifest says; take another one")
    return report.entries


def _condition(path: Path) -> tuple[str, int]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return str(found), int(schema)


async def _noted(manifest: Manifest, staged: Path) -> None:
    """The restored log says that it is one, before anybody can use it."""
    sealing = staged / "keys" / "audit-hmac"
    key = sealing.read_bytes() if sealing.exists() else secrets.token_bytes(32)  # this entry holds nothing it seals
    journal = AuditLog(staged / AUDIT, policy_version="restore", hmac_key=key)
    await journal.start()
    try:
        detail = {"act": "restore", "after": {"made_at": manifest.made_at, "audit": manifest.audit["head"]}}
        await journal.event("admin", WHO, "done", None, detail)
    finally:
        await journal.aclose()


def _placed(staged: Path, into: Path) -> None:
    for folder in (staged, *(path for path in staged.iterdir() if path.is_dir())):
        sync_folder(folder)
    _empty(into)
    staged.rename(into)  # onto nothing, or onto an empty directory: else it fails
    sync_folder(into.parent)
