"""Looks at a data directory, its disk and the clock. Reads only, also beside a running hub."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.admin.archive import AUDIT, HUB, KEK
from hub.admin.backup import reading, sealed_under, vault_key_ids
from hub.admin.finding import Finding
from hub.audit.chain import GENESIS, check_rows
from hub.audit.logfile import SCHEMA_VERSION, rows_of
from hub.audit.read import tail
from hub.stores.sqlite.migrations import MIGRATIONS

CHAIN: Final = 10_000  # entries at the log's end whose chain is checked; restore checks all
LOW_BYTES, SCARCE_BYTES = 256 * 1024 * 1024, 2 * 1024 * 1024 * 1024
LOW_INODES: Final = 1000
YEARS: Final = range(2026, 2100)
STEP_S: Final = 0.1  # by which the wall clock may differ from the steady one while we look
LOOK_S: Final = 0.2
FUTURE_S: Final = 5.0
_RESTORE: Final = "stop the hub and restore a backup: mcp-hub restore FILE --into DIR"
_PRIVATE: Final = (HUB, AUDIT, f"{KEK}*", "run.json", "lock", "keys/*", "tokens/*", "*.schema-*", "*-wal", "*-shm")


def store(data_dir: Path) -> Iterator[Finding]:
    """Both databases: whole, of a schema this hub knows, the log's chain unbroken, the vault's key at hand."""
    if not (data_dir / HUB).exists():
        yield Finding("store", "note", f"{data_dir} holds no {HUB} yet: the first start makes it")
        return
    for name, known in ((HUB, len(MIGRATIONS)), (AUDIT, SCHEMA_VERSION)):
        if (data_dir / name).exists():
            yield _condition(data_dir / name, known)
    try:
        yield from _vault(data_dir)
        if (data_dir / AUDIT).exists():
            yield _chain(data_dir / AUDIT)
            yield _reserve(data_dir)
    except (sqlite3.Error, OSError) as exc:
        yield Finding("store", "problem", f"{data_dir} cannot be read: {exc}", _RESTORE)


def _condition(path: Path, known: int) -> Finding:
    try:
        with reading(path) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as exc:
        return Finding("store", "problem", f"{path.name} cannot be read: {exc}", _RESTORE)
    if found != "ok":
        return Finding("store", "problem", f"{path.name} is damaged: {found}", _RESTORE)
    if schema > known:
        said = f"{path.name} has schema {schema}, this hub knows {known}"
        return Finding("store", "problem", said, "start the newer version, or restore an older backup")
    if schema < known:
        said = f"{path.name} is whole, of schema {schema}: the next start copies it and brings it to {known}"
        return Finding("store", "note", said, "mcp-hub backup FILE, before that start")
    return Finding("store", "ok", f"{path.name} is whole, schema {schema}")


def _vault(data_dir: Path) -> Iterator[Finding]:
    sealed = sealed_under(data_dir / HUB)
    known = vault_key_ids(data_dir)
    lost = sorted(name for name, key in sealed.items() if key not in known)
    if lost:
        said = f"{len(lost)} of {len(sealed)} secrets do not open: {data_dir / KEK} is not their key ({lost[0]})"
        yield Finding("vault", "problem", said, f"put the key back from a backup, or mcp-hub secrets set {lost[0]}")
    elif sealed:
        yield Finding("vault", "ok", f"{len(sealed)} secrets, and the key that opens them")


def _chain(path: Path) -> Finding:
    with reading(path) as connection:
        rows = list(rows_of(connection, "ORDER BY seq DESC LIMIT ?", (CHAIN,)))[::-1]
    first = rows[0].seq if rows else 1
    report = check_rows(rows, after_seq=first - 1, prev=GENESIS if first == 1 else None)
    if not report.ok:
        said = f"the log was changed: {report.reason}"
        return Finding("log", "problem", said, f"keep {path} as it is for whoever looks into it; then {_RESTORE}")
    return Finding("log", "ok", f"the chain holds over the newest {report.entries} entries")


def _reserve(data_dir: Path) -> Finding:
    if (data_dir / f"{AUDIT}.reserve").exists():
        return Finding("log", "ok", "its reserve of disk space is there")
    said = "its reserve of disk space is used up: the disk was full, or is"
    return Finding("log", "problem", said, f"free space on the disk of {data_dir}; the next start lays it aside again")


def modes(data_dir: Path) -> Iterator[Finding]:
    """Nobody but the owner may read what the hub keeps."""
    if not data_dir.is_dir():
        return
    paths = [data_dir, *(path for pattern in _PRIVATE for path in sorted(data_dir.glob(pattern)))]
    wrong = 0
    for path in paths:
        try:
            state = path.stat()
        except OSError:  # it went away while we looked
            continue
        if stat.S_IMODE(state.st_mode) & 0o077:
            wrong += 1
            said = f"others may use {path} (mode {stat.S_IMODE(state.st_mode):04o})"
            yield Finding("modes", "problem", said, f"chmod go= {path}")
        if state.st_uid != data_dir.stat().st_uid:
            wrong += 1
            said = f"{path} belongs to another user (id {state.st_uid}) than {data_dir}"
            yield Finding("modes", "problem", said, f"chown {data_dir.stat().st_uid} {path}")
    if not wrong:
        yield Finding("modes", "ok", f"only its owner may read {data_dir} and the {len(paths) - 1} files that matter")


def disk(data_dir: Path, usage: Callable[[Path], Any] = shutil.disk_usage) -> Finding:
    """Where the directory is, or is going to be."""
    place = data_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    free = int(usage(place).free)
    inodes = os.statvfs(place)
    said = f"{free / 1024**2:,.0f} MiB free on the disk of {place}"
    if free < LOW_BYTES:
        return Finding("disk", "problem", said, "free some: calls are refused while the log cannot be written")
    if inodes.f_files and inodes.f_favail < LOW_INODES:
        said = f"{inodes.f_favail} inodes are left on the disk of {place}"
        return Finding("disk", "problem", said, "remove some files: no new one can be made soon")
    if free < SCARCE_BYTES:
        return Finding("disk", "note", said, "it is enough for now; plan for more")
    return Finding("disk", "ok", said)


def clock(
    data_dir: Path,
    wall: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """Keys expire and entries are stamped by it."""
    began, steady_began = wall(), steady()
    sleep(LOOK_S)
    step = (wall() - began) - (steady() - steady_began)
    now = datetime.fromtimestamp(began, UTC)
    fix = "set the clock, and keep it by NTP (timedatectl set-ntp true)"
    if now.year not in YEARS:
        return Finding("clock", "problem", f"it says {now:%Y-%m-%d}", fix)
    if abs(step) > STEP_S:
        return Finding("clock", "problem", f"it jumped by {step:.1f} s while it was looked at", fix)
    ahead = _ahead(data_dir / AUDIT, now)
    if ahead > FUTURE_S:
        return Finding("clock", "problem", f"the newest entry of the log is {ahead:.0f} s ahead: it was set back", fix)
    return Finding("clock", "ok", f"it says {now:%Y-%m-%d %H:%M:%S} UTC and runs steadily")


def _ahead(log: Path, now: datetime) -> float:
    """How many seconds the newest entry lies in the future."""
    try:
        newest = tail(log, 1)
        at = datetime.fromisoformat(str(newest[0]["at"]))
    except (OSError, sqlite3.Error, LookupError, ValueError):
        return 0.0
    return (at - now).total_seconds() if at.tzinfo is not None else 0.0
