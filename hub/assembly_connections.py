"""How the hub speaks at servers behind a login: whose tokens, where people log in, and who ends what is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from hub.admin.connection_desk import ConnectionDesk
from hub.admin.connections import operations
from hub.admin.operation import Operation
from hub.assembly_offboarding import swept
from hub.config import Config
from hub.config_auth import bases
from hub.core.call import Json
from hub.core.connections import SHARED, ServerAuth
from hub.core.ports import Fetched, Journal
from hub.downstream.catalog import Catalogue
from hub.downstream.fetch import GuardedFetcher
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link, Transport
from hub.downstream.own_catalog import OwnCatalogue
from hub.downstream.personal_links import PersonalEvents, PersonalLinks, PersonalOpener
from hub.downstream.pool import Pool
from hub.downstream.reach import Reach
from hub.downstream.sse import SseOpener
from hub.identity.keys import Keys
from hub.identity.outbound.account import OwnConnections
from hub.identity.outbound.acts import Acts
from hub.identity.outbound.book import Changed, Clocks
from hub.identity.outbound.clients import Clients, hub_client
from hub.identity.outbound.desk import Desk
from hub.identity.outbound.leaving import Leaving
from hub.identity.outbound.parts import Parts
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.refresher import Connections
from hub.identity.outbound.registration import HubClient
from hub.identity.outbound.speaking import Speaking
from hub.identity.sealer import KeySealer
from hub.identity.users import Users
from hub.running import DataDir
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import Database

log = logging.getLogger(__name__)

CLIENT_DOCUMENT: Final = "/oauth/client.json"
PROBE_S: Final = 30.0
OPEN_S: Final = 120.0  # more than any opening takes, which has its own bound
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Places:
    """The servers that are logged in to, as the configuration in force has them, and the way to their issuers."""

    def __init__(self, config: Config) -> None:
        self.base = next(iter(bases(config.public_url, config.listen.loopback, config.listen.port)), None)
        self.hub: HubClient | None = None
        self.asks: Callable[[str], bool] = lambda server: True  # whether a server lets nobody in without a login
        self._protected: dict[str, Protected] = {}
        self._known: frozenset[str] = frozenset()
        self._local: tuple[str, ...] | None = None
        self._fetcher = GuardedFetcher()
        self.follow(config)

    def protected(self) -> Mapping[str, Protected]:
        return self._protected

    def wants_login(self, server: str) -> bool:
        """Whether people should be shown it as one to log in to: an admin said so, or the server does."""
        found = self._protected.get(server)
        return found is not None and (found.auth != ServerAuth() or self.asks(server))

    def follow(self, config: Config) -> frozenset[str]:
        """Adopt this configuration; the ids of servers that it has no more."""
        made = {spec.id: Protected(spec.url, spec.auth) for spec in config.servers if spec.auth is not None}
        before = self._protected
        self._protected = {id: before[id] if before.get(id) == each else each for id, each in made.items()}
        self.hub = self._hub(config)
        local = _local(config)
        if local != self._local:
            self._local, self._fetcher = local, GuardedFetcher(local=local)
        known = frozenset(spec.id for spec in config.servers)
        gone, self._known = self._known - known, known
        return gone

    async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
        """As `hub.core.ports.Fetcher`, by what the configuration in force allows."""
        return await self._fetcher.get(url, accept=accept, max_bytes=max_bytes)

    async def post(
        self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
    ) -> Fetched:
        return await self._fetcher.post(url, body, content_type=content_type, headers=headers, max_bytes=max_bytes)

    def _hub(self, config: Config) -> HubClient | None:
        if self.base is None:
            return None
        own = self.base + CLIENT_DOCUMENT if self.base.startswith("https://") else None
        return hub_client(self.base, config.auth.client_document_url or own)


def _local(config: Config) -> tuple[str, ...]:
    """Private places that may be asked for metadata and tokens: those that are allowed, and the servers' own addresses.

    Whoever entered a server by a private address, or on this machine, wants the hub to speak there. A name vouches for
    nothing: whoever answers for it in the DNS could lead the hub anywhere.
    """
    hosts = [urlsplit(spec.url).hostname or "" for spec in config.servers if spec.auth is not None]
    loopback = _LOOPBACK if any(host in _LOOPBACK for host in hosts) else ()
    return tuple(dict.fromkeys((*config.auth.fetch_local, *filter(_is_address, hosts), *loopback)))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Connect:
    """`hub.edge.connect_ports.Connect`."""

    def __init__(
        self,
        desk: Desk,
        own: OwnConnections,
        connections: Connections,
        leaving: Leaving,
        wants_login: Callable[[str], bool] = lambda server: True,
    ) -> None:
        """`wants_login`: which servers are shown to people as ones to log in to."""
        self._connections, self._leaving, self._own, self._desk = connections, leaving, own, desk
        self._wants_login = wants_login
        self.pending, self.begin, self.finish = desk.pending, desk.begin, desk.finish
        self.offer_to, self.document = desk.offer_to, desk.document
        self.of, self.get, self.rename, self.choose = own.of, own.get, own.rename, own.choose

    def protected(self) -> tuple[str, ...]:
        return tuple(id for id in self._desk.protected() if self._wants_login(id))

    async def disconnect(self, user: str, id: str, who: str) -> object:
        """Raises `Unusable`: somebody else's is no different from one that is not there."""
        self._own.get(user, id)
        row = self._connections.get(id)
        return None if row is None else await self._leaving.disconnect(row, who)


@dataclass(frozen=True, slots=True)
class Outbound:
    places: Places
    connections: Connections
    desk: Desk
    speaking: Speaking
    leaving: Leaving
    connect: Connect

    def states(self) -> Iterator[tuple[str, str]]:
        """Server and state of each connection, for the metrics."""
        for row in self.connections.rows():
            yield row.server, "connected" if self.connections.needs_login(row) is None else "needs_login"

    def operations(self, users: Users, journal: Journal) -> tuple[Operation, ...]:
        return operations(ConnectionDesk(self.connections, self.desk, self.leaving, users, journal))

    def following(self, personal: PersonalLinks) -> Callable[[Config], None]:
        """What a new configuration changes while the hub runs: all but the hub's own address."""
        tasks = _Tasks()

        def follow(config: Config) -> None:
            gone = self.places.follow(config)
            personal.apply(config.servers)
            if gone:
                tasks.start(self.leaving.prune(gone))

        return follow


async def open_outbound(
    config: Config,
    database: Database,
    data: DataDir,
    journal: Journal,
    accounts: tuple[Users, Keys],
    stack: AsyncExitStack,
) -> Outbound:
    """Raises HubError in words."""
    users, keys = accounts
    places, store = Places(config), SqliteConnections(database)
    sealer = KeySealer(data.key("connections"))
    clients = Clients(places.protected, lambda: places.hub, places, store, sealer)
    clocks = Clocks()
    connections = Connections(store, sealer, clients, clocks, alone=True)
    await connections.load()
    stack.push_async_callback(connections.aclose)
    parts = Parts(places.protected, lambda: places.hub, clients, connections, Acts(journal), clocks=clocks)
    desk, speaking = Desk(parts), Speaking(parts)
    stack.push_async_callback(speaking.aclose)
    stack.push_async_callback(desk.aclose)
    leaving = Leaving(parts, desk.forget)
    stack.push_async_callback(leaving.aclose)
    tasks = _Tasks()
    stack.push_async_callback(tasks.aclose)

    def left(id: str) -> None:
        row = users.by_id(id)
        if row is None or row.disabled_at is not None:
            tasks.start(leaving.forget_user(id, f"user {row.name if row is not None else id}"))

    users.watch(left)
    await stack.enter_async_context(_tended(connections))
    await stack.enter_async_context(swept(connections, leaving, users, keys))
    connect = Connect(desk, OwnConnections(connections), connections, leaving, places.wants_login)
    return Outbound(places, connections, desk, speaking, leaving, connect)


@dataclass(frozen=True, slots=True)
class OwnLinks:
    offered: OwnCatalogue
    links: Reach
    personal: PersonalLinks


def own_links(pool: Pool, catalogue: Catalogue, outbound: Outbound, stack: AsyncExitStack) -> OwnLinks:
    """Links and lists of accounts, beside the pool's and the catalogue's of everybody."""
    speaking, outbound.places.asks = outbound.speaking, catalogue.needs_login
    openers: dict[Transport, PersonalOpener] = {"http": HttpOpener(), "sse": SseOpener()}

    def up(server: str, account: str, link: Link) -> None:
        offered.on_up(server, account, link)

    def notified(server: str, account: str, method: str, params: Json) -> None:
        offered.on_notified(server, account, method, params)

    def heard(server: str, account: str) -> bool:
        return offered.heard(server, account)

    async def opened(server: str, account: str) -> Link:
        return await personal.opened(server, account, OPEN_S)

    personal = PersonalLinks(openers, speaking, PersonalEvents(up, notified), pool.spec, is_heard=heard)
    stack.push_async_callback(personal.aclose)
    offered = OwnCatalogue(catalogue, speaking, opened)
    stack.push_async_callback(offered.aclose)
    _joined(outbound, pool, personal, offered, stack)
    return OwnLinks(offered, Reach(pool, personal, speaking), personal)


def _joined(
    outbound: Outbound, pool: Pool, personal: PersonalLinks, catalogue: OwnCatalogue, stack: AsyncExitStack
) -> None:
    """What becomes of links and lists when a connection comes, changes or goes."""
    tasks = _Tasks()
    stack.push_async_callback(tasks.aclose)
    used: dict[tuple[str, str], str] = {}  # ids of the connections in use

    def changed(what: Changed) -> None:
        server, account = what.server, what.user
        row = outbound.connections.current(server, account)
        before = used.pop((server, account), None)
        if row is not None:
            used[server, account] = row.id
        if account == SHARED:
            if what.what == "login":
                tasks.start(pool.probe(server, PROBE_S))
            return
        is_same = row is not None and row.id == before
        if what.what == "removed" and not is_same:
            personal.drop(server, account, now=True)
            if row is None:
                catalogue.ended(server, account)
            else:
                catalogue.begun(server, account)
        elif what.what == "login" or (what.what == "changed" and not is_same):
            personal.drop(server, account)
            catalogue.begun(server, account)

    outbound.connections.watch(changed)


class _Tasks:
    """What is begun by a callback that may not wait."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(self._whole(work), name="connections")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _whole(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception as exc:  # the outermost of this task
            log.exception("what a changed connection asks for was not done: %s", exc)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)


@asynccontextmanager
async def _tended(connections: Connections) -> AsyncIterator[None]:
    task = asyncio.create_task(connections.tend(), name="renewing connections")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
