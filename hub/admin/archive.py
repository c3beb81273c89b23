"""What a backup file looks like, and how it is written and read: one tar.gz, its manifest first.

Knows files and checksums; what goes in is `backup`'s to choose, what may come out `restore`'s to judge. A name that a
backup cannot hold is refused before anything of it is written, so that no archive reaches beyond the directory it is
unpacked into.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import re
import shutil
import sqlite3
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from hub.audit.logfile import is_full
from hub.core.errors import HubError

FORMAT: Final = 1  # a reader refuses higher ones
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES: Final = 1024 * 1024
MEMBERS: Final = 1000
HUB, AUDIT, KEK = "hub.db", "audit.db", "kek"
_NAME: Final = re.compile(
    r"hub\.db|audit\.db|kek(?:\.[A-Za-z0-9_-]{1,40})?|(?:keys|tokens)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
)
_CHUNK: Final = 1024 * 1024


class ArchiveError(HubError):
    """The backup was not made, or cannot be used; the text says why and what to do next."""


@dataclass(frozen=True, slots=True)
class Member:
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    hub: str  # the version that made it
    made_at: str  # RFC 3339 UTC
    secrets: bool  # whether keys, tokens and the vault are in it
    schemas: Mapping[str, int]  # of each database
    audit: Mapping[str, Any]  # "before" and "head", each {"seq", "hash"}: the log's end around the copy of hub.db
    left_out: Mapping[str, Any]  # what has to be set again; empty with secrets
    members: Mapping[str, Member]

    def shown(self) -> dict[str, Any]:
        members = {name: {"bytes": each.bytes, "sha256": each.sha256} for name, each in self.members.items()}
        return {
            "format": FORMAT,
            "hub": self.hub,
            "made_at": self.made_at,
            "secrets": self.secrets,
            "schemas": dict(self.schemas),
            "audit": dict(self.audit),
            "left_out": dict(self.left_out),
            "members": members,
        }


def is_member(name: str) -> bool:
    """Whether a backup may hold a file of this name."""
    return _NAME.fullmatch(name) is not None


@contextmanager
def workshop(beside: Path) -> Iterator[Path]:
    """A private directory `.NAME.partial` next to the file to be made, on the same disk; gone in the end.

    What a killed run left in it is removed first. Raises ArchiveError while another run uses it.
    """
    folder = beside.with_name(f".{beside.name}.partial")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise ArchiveError(f"{folder} cannot be made: {_reason(exc)}; choose another place") from exc
    try:
        if os.fstat(fd).st_uid != os.geteuid() or stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise ArchiveError(f"{folder} is not this user's alone; remove it, or choose another place")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ArchiveError(f"{beside} is being written by another process; wait for it") from exc
        _emptied(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _emptied(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def measured(path: Path) -> Member:
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Member(size, digest.hexdigest())


def pack(manifest: Manifest, folder: Path, target: Path) -> None:
    """The manifest and its members, from `folder`, as one file that is on the disk when it returns."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as tar:
            text = json.dumps(manifest.shown(), indent=2).encode()
            tar.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
            for name, member in manifest.members.items():
                with (folder / name).open("rb") as file:
                    tar.addfile(_entry(name, member.bytes), file)
        raw.flush()
        os.fsync(raw.fileno())


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


@contextmanager
def opened(path: Path) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """The manifest, and the archive behind it. Raises ArchiveError for whatever is no backup of ours."""
    try:
        with tarfile.open(path, mode="r|gz") as tar:
            yield _manifest(tar, path), tar
    except (tarfile.TarError, zlib.error, EOFError) as exc:
        raise ArchiveError(f"{path} is no whole backup ({exc or type(exc).__name__}); take another one") from exc


def _manifest(tar: tarfile.TarFile, path: Path) -> Manifest:
    entry = tar.next()
    if entry is None or entry.name != MANIFEST or not entry.isreg() or entry.size > MANIFEST_BYTES:
        raise ArchiveError(f"{path} is no backup of a hub: it does not begin with {MANIFEST}")
    file = tar.extractfile(entry)
    assert file is not None  # a regular file
    try:
        said = json.loads(file.read())
        if isinstance(said["format"], int) and said["format"] > FORMAT:
            raise ArchiveError(
                f"{path} was made by a newer hub ({said.get('hub')}): its form is {said['format']}, "
                f"this one knows {FORMAT}; restore it with that version"
            )
        return _read(said)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ArchiveError(f"the manifest of {path} is damaged; take another backup") from exc


def _read(said: Any) -> Manifest:
    members = {str(name): Member(int(each["bytes"]), str(each["sha256"])) for name, each in said["members"].items()}
    unfit = [name for name in members if not is_member(name)]
    if unfit or len(members) > MEMBERS or any(each.bytes < 0 for each in members.values()):
        raise ValueError(unfit)
    return Manifest(
        hub=str(said["hub"]),
        made_at=str(said["made_at"]),
        secrets=said["secrets"] is True,
        schemas={str(name): int(number) for name, number in said["schemas"].items()},
        audit={
            point: {"seq": int(said["audit"][point]["seq"]), "hash": str(said["audit"][point]["hash"])}
            for point in ("before", "head")
        },
        left_out=dict(said["left_out"]),
        members=members,
    )


def unpack(manifest: Manifest, tar: tarfile.TarFile, folder: Path) -> None:
    """Every member, its checksum proven, into the empty `folder`. Raises ArchiveError at the first misfit."""
    seen: set[str] = set()
    while (entry := tar.next()) is not None:
        member = manifest.members.get(entry.name)
        if member is None or not entry.isreg() or entry.name in seen or entry.size != member.bytes:
            raise ArchiveError(f"the backup holds {entry.name!r} otherwise than its manifest says; take another one")
        seen.add(entry.name)
        source = tar.extractfile(entry)
        assert source is not None  # a regular file
        path = folder / entry.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest = sha256()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != member.sha256:
            raise ArchiveError(f"{entry.name} in the backup is damaged: its checksum does not fit; take another one")
    missing = sorted(set(manifest.members) - seen)
    if missing:
        raise ArchiveError(f"the backup lacks {missing[0]}, which its manifest names; take another one")


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def room(exc: Exception) -> bool:
    """Whether it failed for want of room: a full disk, a quota, a limit on the size of files."""
    return is_full(exc) or (isinstance(exc, OSError) and exc.errno == errno.EFBIG)


def in_words(exc: OSError | sqlite3.Error, path: Path, what: str) -> ArchiveError:
    """`what` in the past tense: `nothing was written`."""
    if room(exc):
        return ArchiveError(f"the disk of {path} has no room left: {what}; free some, or choose another place")
    return ArchiveError(f"{path}: {_reason(exc)}: {what}")


def _reason(exc: Exception) -> str:
    strerror = getattr(exc, "strerror", None)
    return str(strerror or exc or type(exc).__name__)
