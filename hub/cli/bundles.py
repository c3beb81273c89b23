"""Unpacks `.mcpb` bundles into the hub's directory, each under its own checksum: whole, or not at all."""

from __future__ import annotations

import shutil
import sys
import zipfile
import zlib
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, Final

from hub.admin.paste import bundle
from hub.admin.paste.pasted import Wrong
from hub.cli.failure import Failed
from hub.cli.screen import note

FOLDER: Final = "bundles"
SUFFIXES: Final = (".mcpb", ".dxt")
_CHUNK: Final = 1024 * 1024


def pasted(path: Path, data_dir: Path, sha256: str | None) -> str:
    """The bundle's server as a paste that runs it from where it was unpacked. Raises Failed."""
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
            if sha256 is not None and found != sha256.lower():
                raise Failed(
                    f"{path} has the sha256 {found}, not the one you gave: it is another file; nothing was done"
                )
            if sha256 is None:
                note(f"{path.name} has the sha256 {found}; compare it with what its maker says (--sha256)")
            file.seek(0)
            with bundle.opened(file) as archive:
                told = bundle.manifest(archive)
                folder = data_dir / FOLDER / found
                text = bundle.as_paste(told, str(folder), sys.platform)
                _unpack(archive, folder, told)
    except Wrong as exc:
        raise Failed(f"{path}: {exc}") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as exc:
        raise Failed(f"{path} is damaged: {exc}; fetch it again") from exc
    except OSError as exc:
        raise Failed(f"{path} was not unpacked: {exc.strerror or exc}") from exc
    return text


def _unpack(archive: zipfile.ZipFile, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises Wrong."""
    files = bundle.members(archive)
    if folder.is_dir():
        return
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    try:
        left = bundle.MAX_BYTES
        for info in files:
            target = draft / info.filename
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("xb") as sink:
                left -= _copy(source, sink, left)
        start = bundle.entry_point(manifest)
        if (
            start is not None
            and (draft / start).resolve().is_relative_to(draft.resolve())
            and (draft / start).is_file()
        ):
            (draft / start).chmod(0o700)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(source: IO[bytes], sink: IO[bytes], left: int) -> int:
    """As many bytes as there are, which may be more than the archive says. Raises Wrong."""
    done = 0
    while chunk := source.read(_CHUNK):
        done += len(chunk)
        if done > left:
            raise Wrong(f"the bundle unpacks to more than {bundle.MAX_BYTES >> 20} MiB")
        sink.write(chunk)
    return done
