"""The vault's key on disk: one file of 32 bytes, readable by its owner only, and its successor while it is replaced.

A replacement writes the new key beside the old one (`stage`), then everything is sealed anew, then the new file takes
the old one's place (`promote`). Killed anywhere in between, both keys are there and each sealed row names its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from hub.core.errors import HubError

KEY_BYTES: Final = 32


class VaultSealed(HubError):
    """Stored secrets cannot be opened; the text says why and what to do next, and holds none of them."""


def kek_id(kek: bytes) -> str:
    """Names a key without telling anything about it."""
    return sha256(kek).hexdigest()[:12]


class KekFile:
    """`data_dir/kek`. Used while the directory's lock is held, by one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._staged = path.with_name(f"{path.name}.next")

    def keys(self) -> Mapping[str, bytes]:
        """Every key there is, by its id: none, one, or two when a replacement was interrupted. Raises VaultSealed."""
        found = [key for key in (self._read(self.path), self._read(self._staged)) if key is not None]
        return {kek_id(key): key for key in found}

    def current(self) -> bytes | None:
        """The key that new secrets are sealed with. Raises VaultSealed."""
        return self._read(self.path)

    def make(self) -> bytes:
        """The first key of this directory, durable when this returns."""
        key = secrets.token_bytes(KEY_BYTES)
        self._write(self.path, key)
        return key

    def stage(self) -> bytes:
        """A new key beside the current one, durable when this returns. One of an earlier attempt is kept and used."""
        staged = self._read(self._staged)
        if staged is not None:
            return staged
        key = secrets.token_bytes(KEY_BYTES)
        self._write(self._staged, key)
        return key

    def promote(self) -> None:
        """The staged key takes the current one's place, which is gone then."""
        os.replace(self._staged, self.path)
        _sync(self.path.parent)

    def discard(self) -> None:
        """The staged key sealed nothing: forget it."""
        self._staged.unlink(missing_ok=True)

    def _read(self, path: Path) -> bytes | None:
        try:
            key = path.read_bytes()
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise VaultSealed(f"the vault's key {path} cannot be read: {exc.strerror}") from exc
        if len(key) != KEY_BYTES:
            raise VaultSealed(
                f"the vault's key {path} is damaged: it holds {len(key)} bytes instead of {KEY_BYTES}; "
                "restore it from a backup"
            )
        return key

    def _write(self, path: Path, key: bytes) -> None:
        draft = path.with_name(f".{path.name}.new")  # one name: what a killed attempt left is written over
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            _sync(path.parent)
        except OSError as exc:
            with suppress(OSError):
                draft.unlink()
            raise VaultSealed(f"the vault's key {path} cannot be written: {exc.strerror}") from exc


def _sync(folder: Path) -> None:
    """Make a rename in it last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
