"""Connections of whoever is gone are ended, whatever kept that from being done when he went."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from hub.core.connections import ConnectionRow
from hub.identity.keys import Keys
from hub.identity.outbound.leaving import Leaving
from hub.identity.outbound.pending import is_user
from hub.identity.outbound.refresher import Connections
from hub.identity.users import Users

log = logging.getLogger(__name__)

SWEEP_S: Final = 30.0  # a key that ends by its time tells nobody


def abandoned(rows: Iterable[ConnectionRow], users: Users, keys: Keys) -> dict[str, str]:
    """Accounts that hold connections and let nobody in any more: in words, by account."""
    held, standing = {row.user for row in rows}, keys.credentials()
    found: dict[str, str] = {}
    for account in sorted(held):
        if account.startswith("key:") and account not in standing:
            found[account] = f"key {account.removeprefix('key:')}"
        elif is_user(account):
            user = users.by_id(account)
            if user is None or user.disabled_at is not None:
                found[account] = f"user {account if user is None else user.name}"
    return found


async def sweep(connections: Connections, leaving: Leaving, users: Users, keys: Keys) -> None:
    for account, whose in abandoned(connections.rows(), users, keys).items():
        await leaving.forget_user(account, whose)


@asynccontextmanager
async def swept(
    connections: Connections, leaving: Leaving, users: Users, keys: Keys, every_s: float = SWEEP_S
) -> AsyncIterator[None]:
    """While entered, once at its beginning and then again and again."""

    async def run() -> None:
        while True:
            try:
                await sweep(connections, leaving, users, keys)
            except Exception as exc:  # the outermost of this task: what fails now is tried again
                log.warning("connections of those who are gone could not be ended; it is tried again: %s", exc)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(run(), name="offboarding")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
