"""Acts of administration: by the hub that runs, else on its stores, which no hub may open meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from hub.audit.writer import AuditLog
from hub.cli.failure import Failed
from hub.cli.place import Place
from hub.cli.screen import waiting
from hub.core.errors import HubError
from hub.core.ports import Journal
from hub.running import DataDir, Held, Run, StartRefused
from hub.stores.sqlite.database import Database, open_database

WHO: Final = "local:admin"
LOCK_S: Final = 5.0  # another verb at work on the same directory is gone by then

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stores:
    """Open for one act, under the lock of the directory."""

    data_dir: Path
    database: Database
    journal: Journal  # takes entries only when the act writes


def either(
    where: Place,
    verb: str,
    online: Callable[[Run], T],
    offline: Callable[[Stores], Awaitable[T]],
    *,
    writes: bool = True,
) -> T:
    """One act, by the hub that runs or without one; `verb` is what others read who want the lock. Raises Failed."""
    run = where.running()
    with waiting("waiting for the hub"):
        if run is not None:
            return online(run)
        try:
            return asyncio.run(_without_hub(where, verb, offline, writes))
        except Held as held:
            run = where.running()  # a hub started in between
            if run is not None:
                return online(run)
            raise Failed(str(held)) from held
        except (StartRefused, HubError, ValueError) as exc:
            raise Failed(str(exc)) from exc


async def _without_hub(where: Place, verb: str, act: Callable[[Stores], Awaitable[T]], writes: bool) -> T:
    """Logged like any other administrative act."""
    config = where.config
    data = DataDir(config.data_dir)
    await asyncio.to_thread(data.lock, verb, LOCK_S)
    try:
        database = await open_database(config.data_dir / "hub.db")
        try:
            journal = AuditLog(
                config.data_dir / "audit.db", policy_version=config.policy_version, hmac_key=data.key("audit-hmac")
            )
            if writes:
                await journal.start()
            try:
                return await act(Stores(config.data_dir, database, journal))
            finally:
                await journal.aclose()
        finally:
            await database.aclose()
    finally:
        data.unlock()
