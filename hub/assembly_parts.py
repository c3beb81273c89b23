"""Everything that lives as long as the hub, and how one configuration takes the place of another.

Readers ask `Current` at each use. A change builds the new pipeline first; then servers, lists, pipeline and edges are
swapped in one step of the loop, and calls in flight finish on what they began with.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final

from connectors.sandbox.server import build as build_sandbox
from hub.admin.connection_gauge import ConnectionGauge
from hub.admin.events import CountedJournal
from hub.admin.metrics import Metrics
from hub.assembly_connections import Outbound, open_outbound, own_links
from hub.assembly_live import Live
from hub.assembly_login import LoginParts, following, open_login
from hub.assembly_secrets import open_rounds, open_vault, resolved, tended
from hub.assembly_telemetry import Telemetries, opened
from hub.audit.writer import AuditLog
from hub.config import Config, load
from hub.core.call import Json
from hub.core.pipeline import Pipeline
from hub.core.ports import Journal, Offers
from hub.downstream.catalog import Catalogue
from hub.downstream.credential import Credentials
from hub.downstream.health import Health, PoolEvents
from hub.downstream.http import HttpOpener
from hub.downstream.inprocess import InprocessOpener
from hub.downstream.link import Link, Opener, ServerSpec, Transport
from hub.downstream.own_catalog import OwnCatalogue
from hub.downstream.pool import Pool
from hub.downstream.reach import Reach
from hub.downstream.rounds import Rounds
from hub.downstream.sse import SseOpener
from hub.downstream.stdio import StdioOpener
from hub.identity.authenticate import Identities
from hub.identity.keys import Keys
from hub.identity.tokens import local_tokens
from hub.identity.vault import Vault
from hub.running import DataDir
from hub.stores.sqlite.database import Database, open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.lists import SqliteLists
from hub.stores.sqlite.pins import SqlitePins
from hub.stores.sqlite.registry import SqliteRegistry

SANDBOX: Final = "sandbox"
CONNECTORS: Final = {SANDBOX: build_sandbox}


def openers(
    environ: Mapping[str, str], credentials: Credentials | None = None
) -> tuple[dict[Transport, Opener], StdioOpener]:
    stdio = StdioOpener(environ)
    made: dict[Transport, Opener] = {
        "stdio": stdio,
        "http": HttpOpener(credentials=credentials),
        "sse": SseOpener(credentials=credentials),
        "inprocess": InprocessOpener(CONNECTORS),
    }
    return made, stdio


def with_sandbox(config: Config) -> Config:
    """The same with the sandbox company in front, unless the file has a server of that name."""
    if any(spec.id == SANDBOX for spec in config.servers):
        return config
    # it comes with the hub: its definitions change with the hub, and its hints are ours
    spec = ServerSpec(SANDBOX, "inprocess", connector=SANDBOX, pins="off", trusted=True, provenance="builtin")
    return replace(config, servers=(spec, *config.servers))


class Told:
    """Passes what the pool tells on to the catalogue, which is made before the pool is."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def events(self) -> PoolEvents:
        return PoolEvents(up=self._up, changed=self._changed, notified=self._notified)

    def _up(self, server: str, link: Link) -> None:
        self._catalogue.on_up(server, link)

    def _changed(self, health: Health) -> None:
        self._catalogue.on_health(health)

    def _notified(self, server: str, method: str, params: Json) -> None:
        self._catalogue.on_notified(server, method, params)


class Activity:
    """When the hub was last of use: a background hub leaves when nobody needs it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._open, self._last = metrics, 0, monotonic()

    def connected(self, transport: str, change: int) -> None:
        self._metrics.connected(transport, change)
        self._open += change
        self._last = monotonic()

    def touch(self) -> None:
        self._last = monotonic()

    def leave_when_idle(self, idle_s: float, stopping: asyncio.Event) -> None:
        """Look again when the time could be over; set `stopping` once it is."""
        left = idle_s if self._open else self._last + idle_s - monotonic()
        if left <= 0:
            stopping.set()
        elif not stopping.is_set():
            asyncio.get_running_loop().call_later(left, self.leave_when_idle, idle_s, stopping)


@dataclass(slots=True)
class Current:
    """The configuration in force and the pipeline built from it: swapped together, read at each use."""

    config: Config
    pipeline: Pipeline
    followers: list[Callable[[Config], None]] = field(default_factory=list)  # told in the same step; never wait


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that lives as long as the hub, opened in the order it is closed against."""

    current: Current
    live: Live
    catalogue: Catalogue  # of what everybody sees
    offered: OwnCatalogue  # of what each account sees
    pool: Pool
    vault: Vault
    keys: Keys
    identities: Identities
    login: LoginParts
    outbound: Outbound
    audit: AuditLog
    journal: CountedJournal
    metrics: Metrics
    telemetry: Telemetries
    activity: Activity
    secret: str
    cursor_key: bytes


Build = Callable[[Config], Pipeline]


@dataclass(frozen=True, slots=True)
class Reached:
    """How calls reach downstreams, and what is known of them."""

    catalogue: Catalogue
    offered: OwnCatalogue
    pool: Pool
    links: Reach
    rounds: Rounds
    offers: Offers


Making = Callable[[Reached, AuditLog, Telemetries, Callable[[], Config]], tuple[Metrics, Build]]


async def open_parts(config: Config, data: DataDir, stack: AsyncExitStack, making: Making) -> Parts:
    """`making` gives the metrics and what builds pipelines. Raises ConfigError, and HubError in words."""
    database = await open_database(data.path / "hub.db")
    stack.push_async_callback(database.aclose)
    vault = await open_vault(database, data.path)
    config = resolved(config, os.environ, vault.get)
    audit = AuditLog(data.path / "audit.db", policy_version=config.policy_version, hmac_key=data.key("audit-hmac"))
    await audit.start()
    stack.push_async_callback(audit.aclose)
    journal = CountedJournal(audit)
    installer = _Installer(audit)
    live = _live(config, database, vault, journal, installer)
    config = await live.load()
    audit.policy_version = config.policy_version
    keys = Keys(SqliteKeys(database))
    await keys.load()
    await stack.enter_async_context(tended(keys))
    secret = secrets.token_urlsafe(32)
    login = await open_login(config, database, data, journal, stack, lambda: current.config.endpoints)
    outbound = await open_outbound(config, database, data, journal, (login.users, keys), stack)
    identities = Identities(local_tokens(data.path, config.tokens), keys, secret, login.tokens)
    catalogue, pool, stdio = await _downstreams(config, database, outbound.speaking, stack)
    own = own_links(pool, catalogue, outbound, stack)
    telemetry = await opened(config.telemetry, stack)
    rounds = await stack.enter_async_context(open_rounds(data.path))
    reached = Reached(catalogue, own.offered, pool, own.links, rounds, outbound.desk)
    metrics, build = making(reached, audit, telemetry, lambda: current.config)
    metrics.registry.register(journal)
    metrics.registry.register(ConnectionGauge(outbound.states))
    current = Current(config, build(config), [following(login), outbound.following(own.personal)])
    installer.ready(current, catalogue, pool, stdio, build)
    stack.push_async_callback(live.aclose)
    activity = Activity(metrics)
    return Parts(
        *(current, live, catalogue, own.offered, pool, vault, keys, identities, login, outbound),
        *(audit, journal, metrics, telemetry),
        *(activity, secret),
        data.key("cursors"),
    )


async def _downstreams(
    config: Config, database: Database, credentials: Credentials, stack: AsyncExitStack
) -> tuple[Catalogue, Pool, StdioOpener]:
    """Lists and links of everybody."""
    catalogue = Catalogue(config.servers, config.endpoints, SqlitePins(database), SqliteLists(database))
    await catalogue.start()
    stack.push_async_callback(catalogue.aclose)
    opening, stdio = openers(os.environ, credentials)
    pool = Pool(config.servers, opening, Told(catalogue).events(), stderr=stdio.stderr, drain_s=config.edge.drain_s)
    stack.push_async_callback(stdio.aclose)
    await pool.start()
    stack.push_async_callback(pool.aclose)
    return catalogue, pool, stdio


def _live(config: Config, database: Database, vault: Vault, journal: Journal, installer: _Installer) -> Live:
    path, listen = config.path, config.given_listen
    return Live(
        config,
        SqliteRegistry(database),
        journal,
        installer.install,
        environ=os.environ,
        secrets=vault.get,
        reread=None if path is None else lambda: load(path, os.environ, listen=listen, secrets=vault.get),
    )


class _Installer:
    """Puts a configuration in force."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def ready(self, current: Current, catalogue: Catalogue, pool: Pool, stdio: StdioOpener, build: Build) -> None:
        self._current, self._catalogue, self._pool = current, catalogue, pool
        self._stdio, self._build = stdio, build

    async def install(self, config: Config) -> None:
        pipeline = self._build(config)

        def swap() -> None:
            before, self._current.config = self._current.config, config
            self._current.pipeline = pipeline
            self._audit.policy_version = config.policy_version
            self._pool.apply(config.servers)
            self._stdio.forget({spec.id for spec in before.servers} - {spec.id for spec in config.servers})
            for follow in self._current.followers:
                follow(config)

        await self._catalogue.apply(config.servers, config.endpoints, swap)
