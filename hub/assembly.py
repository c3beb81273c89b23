"""The composition root: a configuration in, a running hub out. The only place that knows every part."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from connectors.sandbox.server import build as build_sandbox
from hub import VERSION
from hub.admin.api import admin_app
from hub.admin.audit_file import AuditFile
from hub.admin.metrics import MeteredAuditor, Metrics
from hub.admin.ports import AdminPorts
from hub.audit.writer import AuditLog
from hub.config import Config
from hub.core.call import Call, Json, Outcome
from hub.core.gate import GateStage
from hub.core.pipeline import Pipeline
from hub.core.ports import (
    Approvals,
    Attributes,
    Auditor,
    Catalog,
    Counters,
    Ledger,
    ResultCache,
    Router,
    Stage,
)
from hub.downstream.catalog import Catalogue
from hub.downstream.dispatch import Dispatch
from hub.downstream.health import Health, PoolEvents
from hub.downstream.http import HttpOpener
from hub.downstream.inprocess import InprocessOpener
from hub.downstream.link import Link, Opener, ServerSpec, Transport
from hub.downstream.pool import Pool
from hub.downstream.sse import SseOpener
from hub.downstream.stdio import StdioOpener
from hub.edge import mcp_stdio
from hub.edge.http import HubApp
from hub.edge.mcp_legacy import LegacyEdge
from hub.edge.mcp_modern import ModernEdge
from hub.edge.mcp_sse import SseEdge
from hub.edge.mcp_stdio import StdioEdge
from hub.edge.ports import EdgePorts
from hub.edge.server import run_server
from hub.identity.authenticate import Identities
from hub.identity.keys import Keys
from hub.identity.tokens import local_tokens
from hub.running import DataDir, Run, listen_on
from hub.stores.memory.counters import MemoryCounters
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.lists import SqliteLists
from hub.stores.sqlite.pins import SqlitePins
from policies.approve import Approve
from policies.arguments import CheckArguments
from policies.authorize import Authorize
from policies.budget import Budget
from policies.cache import Cache
from policies.detectors.scan import RuleDetector
from policies.facts import Facts
from policies.limit import Limit, per_caller, per_item
from policies.pins import Pins
from policies.resolve import Resolve
from policies.results import CheckResult
from policies.route import Route
from policies.schemas import Schemas
from policies.screen import Screen, ScreenModes
from policies.shape import Shape

SANDBOX: Final = "sandbox"
CONNECTORS: Final = {SANDBOX: build_sandbox}


@dataclass(frozen=True, slots=True)
class StagePorts:
    """What the stages are built on. None: a stage whose feature nobody configured, which passes."""

    catalog: Catalog
    counters: Counters
    attributes: Attributes | None = None
    approvals: Approvals | None = None
    ledger: Ledger | None = None
    router: Router | None = None
    cache: ResultCache | None = None


def stages(config: Config, p: StagePorts) -> tuple[Stage, ...]:
    """Outermost first. Each line says why it stands where it stands."""
    schemas = Schemas()
    modes = ScreenModes(config.screening.descriptions, config.screening.arguments, config.screening.results)
    screen = Screen(RuleDetector(), modes)
    rates = {spec.id: spec.per_item for spec in config.servers if spec.per_item is not None}
    return (
        Limit("limit_caller", p.counters, per_caller(config.per_caller)),  # first: probing for names costs the prober
        Resolve(p.catalog),  # all below need the target
        GateStage(Pins()),  # a changed definition is hidden before any rule reads it
        GateStage(screen.definitions),  # a poisoned description too: hidden is hidden before anything answers for it
        Facts(p.attributes),  # the only look-ups rules may use: gates stay pure
        GateStage(Authorize(config.policy_version)),  # before validation: a schema error would describe a hidden item
        CheckArguments(schemas),  # before quota and budget: a malformed call costs nothing
        Limit("limit_item", p.counters, per_item(rates)),  # after authorize: a refused call uses nobody's quota
        Approve(p.approvals),  # a human's yes, bound to these arguments
        Budget(p.ledger),  # around everything that can spend
        Route(p.router),  # model-routing hook: which variant of a server takes the call
        Shape(config.output_bytes),  # obligations on the way back: mask, cap, output budget
        screen,  # sees what goes down and what comes back, from the wire or from the cache
        Cache(p.cache),  # below Screen: a hit is screened like an answer
        CheckResult(schemas, config.results),  # next to the wire: the server's own words against its own schema
    )  # then Dispatch: the only line that reaches a downstream


def pipeline(config: Config, ports: StagePorts, dispatch: Stage, audit: Auditor) -> Pipeline:
    return Pipeline(stages(config, ports), dispatch, audit)


def openers(environ: Mapping[str, str]) -> tuple[dict[Transport, Opener], StdioOpener]:
    stdio = StdioOpener(environ)
    made: dict[Transport, Opener] = {
        "stdio": stdio,
        "http": HttpOpener(),
        "sse": SseOpener(),
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


class _Told:
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


class _Activity:
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """Everything that lives as long as the hub, opened in the order it is closed against."""

    config: Config
    catalogue: Catalogue
    pool: Pool
    keys: Keys
    identities: Identities
    audit: AuditLog
    metrics: Metrics
    activity: _Activity
    pipeline: Pipeline
    secret: str
    cursor_key: bytes


async def _open(config: Config, data: DataDir, stack: AsyncExitStack) -> _Parts:
    database = await open_database(data.path / "hub.db")
    stack.push_async_callback(database.aclose)
    audit = AuditLog(data.path / "audit.db", policy_version=config.policy_version, hmac_key=data.key("audit-hmac"))
    await audit.start()
    stack.push_async_callback(audit.aclose)
    keys = Keys(SqliteKeys(database))
    await keys.load()
    secret = secrets.token_urlsafe(32)
    identities = Identities(local_tokens(data.path, config.tokens), keys, secret)
    catalogue = Catalogue(config.servers, config.endpoints, SqlitePins(database), SqliteLists(database))
    await catalogue.start()
    stack.push_async_callback(catalogue.aclose)
    opening, stdio = openers(os.environ)
    pool = Pool(config.servers, opening, _Told(catalogue).events(), stderr=stdio.stderr)
    stack.push_async_callback(stdio.aclose)
    await pool.start()
    stack.push_async_callback(pool.aclose)
    metrics = Metrics(pool.health, lambda: _availability(config, catalogue, pool))
    made = pipeline(
        config, StagePorts(catalogue, MemoryCounters()), Dispatch(catalogue, pool), MeteredAuditor(audit, metrics)
    )
    return _Parts(
        config, catalogue, pool, keys, identities, audit, metrics, _Activity(metrics), made, secret, data.key("cursors")
    )


def _availability(config: Config, catalogue: Catalogue, pool: Pool) -> Iterator[tuple[str, str, bool]]:
    ready = {health.server for health in pool.health() if health.state == "ready"}
    seen: set[str] = set()
    for endpoint in config.endpoints:
        for item in catalogue.items(endpoint, "tool"):
            if item.name not in seen:
                seen.add(item.name)
                yield item.server, item.name, item.server in ready and not item.changed


def _edge_ports(parts: _Parts) -> EdgePorts:
    config, activity, run = parts.config, parts.activity, parts.pipeline.handle

    async def handle(call: Call) -> Outcome:
        activity.touch()
        return await run(call)

    return EdgePorts(
        handle=handle,
        authenticator=parts.identities,
        catalog=parts.catalogue,
        changes=parts.catalogue,
        journal=parts.audit,
        endpoints=config.endpoints,
        limits=config.edge,
        allowed_hosts=config.allowed_hosts,
        allowed_origins=config.allowed_origins,
        cursor_key=parts.cursor_key,
        server_info={"name": "mcp-hub", "title": "MCP Hub", "version": VERSION},
        instructions=lambda endpoint: _instructions(parts, endpoint),
        connected=activity.connected,
        refused=parts.metrics.refused,
    )


def _instructions(parts: _Parts, endpoint: str) -> str | None:
    """The servers' own instructions, each under its name; names only, where tools carry a prefix."""
    chosen = parts.config.endpoints[endpoint]
    told = [
        (health.server, health.peer.instructions)
        for health in parts.pool.health()
        if health.peer is not None
        and health.peer.instructions
        and (chosen.servers is None or health.server in chosen.servers)
    ]
    if not told:
        return None
    if chosen.prefix == "none":
        return told[0][1]
    return "\n\n".join(f"{server} (its tools start with {server}__): {text}" for server, text in told)


def _admin_ports(parts: _Parts, data: DataDir, started_at: str, ready: Callable[[], bool]) -> AdminPorts:
    config = parts.config
    return AdminPorts(
        version=VERSION,
        started_at=started_at,
        ready=ready,
        specs=config.servers,
        downstreams=parts.pool,
        definitions=parts.catalogue,
        keys=parts.keys,
        log=AuditFile(data.path / "audit.db"),
        journal=parts.audit,
        metrics=parts.metrics.render,
        metrics_open=config.listen.loopback,
        status=lambda: {
            "config": str(config.path) if config.path is not None else None,
            "data_dir": str(data.path),
            "endpoints": _paths(config.endpoints),
            "policy_version": config.policy_version,
        },
    )


def _paths(endpoints: Iterable[str]) -> list[str]:
    return [f"/{name}/mcp" if name else "/mcp" for name in endpoints]


async def serve(
    config: Config, *, announce: Callable[[Run], None], sandbox: bool = False, idle_exit_s: float | None = None
) -> int:
    """Run the hub until SIGTERM or SIGINT, or until a background hub is idle; drain; return 0.

    Raises StartRefused (held data_dir, busy port) and HubError (a database that cannot be used), in words.
    """
    config = with_sandbox(config) if sandbox else config
    data = DataDir(config.data_dir)
    data.lock("serve")
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.callback(data.unlock)
        sock = listen_on(config.listen.host, config.listen.port)
        stack.callback(sock.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        parts = await _open(config, data, stack)
        started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        app, stdio = _apps(parts, data, started_at, lambda: not stopping.is_set())
        door = await mcp_stdio.listen(stdio, parts.identities.verify, config.endpoints)
        stack.push_async_callback(stdio.aclose)
        stack.callback(door.close)
        run = _run(config, sock, door, parts.secret, started_at)
        data.write_run(run)
        stack.callback(data.remove_run)
        _settle_memory()
        serving = asyncio.create_task(run_server(app, sock, config.edge, stopping=stopping), name="http")
        announce(run)
        if idle_exit_s is not None:
            parts.activity.leave_when_idle(idle_exit_s, stopping)
        await serving
    return 0


def _settle_memory() -> None:
    """What is there now stays: the collector need not look through it at every few hundred calls.

    Calls leave next to no cycles, so collecting rarely costs nothing; it was an eighth of a call's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _apps(parts: _Parts, data: DataDir, started_at: str, ready: Callable[[], bool]) -> tuple[HubApp, StdioEdge]:
    ports = _edge_ports(parts)
    rest = admin_app(_admin_ports(parts, data, started_at, ready))
    app = HubApp(
        ports,
        ModernEdge(ports),
        LegacyEdge(ports),
        SseEdge(ports),
        rest,
        metrics_open=parts.config.listen.loopback,
    )
    return app, StdioEdge(ports)


def _run(config: Config, sock: socket.socket, door: asyncio.Server, secret: str, started_at: str) -> Run:
    port: int = sock.getsockname()[1]
    host = config.listen.host
    shown = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    return Run(
        pid=os.getpid(),
        url=f"http://{shown}:{port}/mcp",
        host=shown.strip("[]"),
        port=port,
        stdio_port=door.sockets[0].getsockname()[1],
        secret=secret,
        version=VERSION,
        started_at=started_at,
    )
