"""The stores every contract is checked on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hub.stores.sqlite.database import Database, open_database

KINDS = ("memory", "sqlite")


@asynccontextmanager
async def a_database(folder: Path) -> AsyncIterator[Database]:
    database = await open_database(folder / "hub.db")
    try:
        yield database
    finally:
        await database.aclose()
