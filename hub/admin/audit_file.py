"""The audit log as the admin API and the command line read it: from its file, whether a hub runs or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.audit.read import entries_of, read_entries, tail


class AuditFile:
    """Before the first start there is no file, and no entry."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tail(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return tail(self._path, limit) if self._path.exists() else ()

    def after(self, seq: int, limit: int) -> Sequence[Mapping[str, Any]]:
        return read_entries(self._path, after_seq=seq, limit=limit) if self._path.exists() else ()

    def of_call(self, call: str) -> Sequence[Mapping[str, Any]]:
        return entries_of(self._path, call) if self._path.exists() else ()
