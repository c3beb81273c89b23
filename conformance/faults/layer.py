"""Faults of the system under one process: a slow disk and a wrong clock by a preloaded layer, a full disk by a mount.

Needs a C compiler for the layer, and root for the mount; both say so in words where they are missing.
"""

from __future__ import annotations

import os
import resource
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("slow_or_wrong.c")
UNLIMITED: Final = resource.RLIM_INFINITY


def lacking() -> str | None:
    """Why the layer cannot be built here."""
    return None if shutil.which("cc") else "no C compiler (cc) on PATH"


class Layer:
    """One layer, for the environment of one process; its faults may be set while that runs."""

    def __init__(self, folder: Path) -> None:
        """Builds it in `folder`."""
        library = folder / "faults.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        self._file = folder / "faults"
        self._file.write_bytes(bytes(16))
        self.env = {"LD_PRELOAD": str(library), "FAULTS_FILE": str(self._file)}

    def set(self, *, sync_ms: int = 0, clock_s: int = 0) -> None:
        """In force for every call into the system from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=qq", sync_ms, clock_s))


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size in `folder`, which ends with the block. Raises PermissionError without root."""
    folder.mkdir()
    if os.geteuid() != 0:
        raise PermissionError("a file system is mounted by root alone")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder)], check=False)
    if done.returncode != 0:
        raise PermissionError("this machine lets nobody mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free on the file system of `folder`; the file that took them all."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


@contextmanager
def capped(pid: int, size_bytes: int) -> Iterator[None]:
    """No file of that process grows beyond this size while the block lasts."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
