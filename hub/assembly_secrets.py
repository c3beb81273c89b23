"""The vault and the keys of a running hub: opened before the configuration needs them, tended while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from hub.admin import secrets
from hub.admin.operation import Operation
from hub.config import Config, load
from hub.core.errors import HubError
from hub.core.ports import Journal
from hub.downstream.rounds import Rounds
from hub.identity.kek import KekFile
from hub.identity.keys import Keys
from hub.identity.sealing import SealingKeys, keep_turning
from hub.identity.tending import EVERY_S, log, tend
from hub.identity.vault import Vault
from hub.stores.sqlite.database import Database
from hub.stores.sqlite.secrets import SqliteSecrets
from hub.wire.seal import Seals

KEK: Final = "kek"
REQUEST_STATE: Final = "request-state"


async def open_vault(database: Database, data_dir: Path) -> Vault:
    """Raises VaultSealed, in words, when anything stored does not open: a hub without its secrets does not start."""
    vault = Vault(SqliteSecrets(database), KekFile(data_dir / KEK))
    await vault.load()
    return vault


def resolved(config: Config, environ: Mapping[str, str], get: Callable[[str], str | None]) -> Config:
    """The same with stored secrets in the place of their names. Raises ConfigError with the lines of those missing.

    The file is read again, because where the store is was not known before it was read.
    """
    if not config.secret_uses or config.path is None:
        return config
    again = load(config.path, environ, listen=config.given_listen, secrets=get)
    known = {spec.id: spec for spec in again.servers}
    servers = tuple(known.get(spec.id, spec) for spec in config.servers)  # those that come with the hub stay
    return replace(config, servers=servers, telemetry=again.telemetry, secret_uses=again.secret_uses)


def secret_operations(
    vault: Vault, journal: Journal, uses: Callable[[], secrets.Uses], changed: secrets.Told = secrets.nobody
) -> tuple[Operation, ...]:
    """`changed` brings a new value to the servers that refer to it."""
    return secrets.operations(secrets.SecretDesk(vault, journal, uses, changed))


@asynccontextmanager
async def open_rounds(data_dir: Path) -> AsyncIterator[Rounds]:
    """Calls in several rounds, under keys that outlive this process and are turned meanwhile."""
    keys = SealingKeys(data_dir / "keys" / REQUEST_STATE)
    keys.load()
    task = asyncio.create_task(keep_turning(keys), name="sealing keys")
    try:
        yield Rounds(Seals(keys.secrets))
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def tended(keys: Keys, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Last uses are written down meanwhile, and once more at the end."""
    task = asyncio.create_task(tend(keys, every_s), name="keys")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        try:
            await keys.flush()
        except (HubError, TimeoutError) as exc:
            log.warning("when keys were last used could not be written down: %s", exc)
