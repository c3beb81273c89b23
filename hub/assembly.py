"""The composition root: a configuration in, a running hub out. The only place that knows every part."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hub import VERSION
from hub.admin.api import admin_app
from hub.admin.metrics import MeteredAuditor, Metrics
from hub.assembly_doors import admin_ports, availability, edge_ports
from hub.assembly_parts import Build, Parts, Reached, open_parts, with_sandbox
from hub.assembly_telemetry import Telemetries
from hub.assembly_watch import watched
from hub.audit.writer import AuditLog
from hub.config import Config, Listen
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
from hub.downstream.dispatch import Dispatch
from hub.edge import mcp_stdio
from hub.edge.http import HubApp
from hub.edge.mcp_legacy import LegacyEdge
from hub.edge.mcp_modern import ModernEdge
from hub.edge.mcp_sse import SseEdge
from hub.edge.mcp_stdio import StdioEdge
from hub.edge.server import run_server
from hub.running import DataDir, Run, listen_on
from hub.stores.memory.counters import MemoryCounters
from policies.approve import Approve
from policies.arguments import CheckArguments
from policies.authorize import Authorize
from policies.budget import Budget
from policies.cache import Cache
from policies.detectors.scan import RuleDetector
from policies.endpoint import Selection
from policies.facts import Facts
from policies.limit import Limit, LimitSome, per_caller, per_item
from policies.pins import Pins
from policies.resolve import Resolve
from policies.results import CheckResult
from policies.route import Route
from policies.schemas import Schemas
from policies.screen import Screen, ScreenModes
from policies.shape import Shape


class Kept:
    """What the stages keep from one configuration to the next: what was compiled and judged does not depend on it."""

    def __init__(self) -> None:
        self.schemas = Schemas()
        self._screen: tuple[ScreenModes, Screen] | None = None

    def screen(self, modes: ScreenModes) -> Screen:
        if self._screen is None or self._screen[0] != modes:
            self._screen = modes, Screen(RuleDetector(), modes)
        return self._screen[1]


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
    kept: Kept = field(default_factory=Kept)


def stages(config: Config, p: StagePorts) -> tuple[Stage, ...]:
    """Outermost first. Each line says why it stands where it stands."""
    schemas = p.kept.schemas
    modes = ScreenModes(config.screening.descriptions, config.screening.arguments, config.screening.results)
    screen = p.kept.screen(modes)
    rates = {spec.id: spec.per_item for spec in config.servers if spec.per_item is not None}
    return (
        Limit("limit_caller", p.counters, per_caller(config.per_caller)),  # first: probing for names costs the prober
        Resolve(p.catalog),  # all below need the target
        GateStage(Selection(config.endpoints.get)),  # what this endpoint does not offer does not exist at it
        GateStage(Pins()),  # a changed definition is hidden before any rule reads it
        GateStage(screen.definitions),  # a poisoned description too: hidden is hidden before anything answers for it
        Facts(p.attributes),  # the only look-ups rules may use: gates stay pure
        GateStage(Authorize(config.policy_version)),  # before validation: a schema error would describe a hidden item
        CheckArguments(schemas),  # before quota and budget: a malformed call costs nothing
        LimitSome(
            Limit("limit_item", p.counters, per_item(rates))
        ),  # after authorize: a refused call uses nobody's quota
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


def making(
    reached: Reached, audit: AuditLog, telemetry: Telemetries, current: Callable[[], Config]
) -> tuple[Metrics, Build]:
    """The metrics, and what builds a pipeline from a configuration on parts that outlive it."""
    pool, offered = reached.pool, reached.offered
    metrics = Metrics(pool.health, lambda: availability(current(), reached.catalogue, pool))
    ports = StagePorts(offered, MemoryCounters())
    dispatch = Dispatch(offered, reached.links, reached.rounds, reached.offers)
    telemetry.report(metrics.registry)
    auditor = telemetry.around(MeteredAuditor(audit, metrics))
    return metrics, lambda config: pipeline(config, ports, dispatch, auditor)


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
        config = _at(config, sock)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        parts = await open_parts(config, data, stack, making)
        started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        app, stdio = apps(parts, data, started_at, lambda: not stopping.is_set())
        door = await mcp_stdio.listen(stdio, parts.identities.verify, stdio.ports.endpoints)
        stack.push_async_callback(stdio.aclose)
        stack.callback(door.close)
        run = _run(config, sock, door, parts.secret, started_at)
        data.write_run(run)
        stack.callback(data.remove_run)
        await stack.enter_async_context(watched(parts.live, config.path))
        _settle_memory()
        serving = asyncio.create_task(run_server(app, sock, config.edge, stopping=stopping), name="http")
        announce(run)
        if idle_exit_s is not None:
            parts.activity.leave_when_idle(idle_exit_s, stopping)
        await serving
    return 0


def _at(config: Config, sock: socket.socket) -> Config:
    """The same with the port that was found free: what people and tokens call the hub by has to be right."""
    if config.listen.port:
        return config
    return config.listening(Listen(config.listen.host, sock.getsockname()[1]))


def _settle_memory() -> None:
    """What is there now stays: the collector need not look through it at every few hundred calls.

    Calls leave few cycles, so collecting rarely costs next to nothing; it was an eighth of a call's CPU. But sessions,
    connections and cancelled calls do leave them when they are old, and where the oldest generation was looked at
    every 20 million objects, what they left grew by 5 MB a minute.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # of what is not frozen, which is little: how much is old decides when the old is looked at again
    gc.set_threshold(20_000, 10, 5)


def apps(parts: Parts, data: DataDir, started_at: str, ready: Callable[[], bool]) -> tuple[HubApp, StdioEdge]:
    """The doors: HTTP, and the one for bridges."""
    ports = edge_ports(parts)
    rest = admin_app(admin_ports(parts, data, started_at, ready))
    login, outbound = parts.login, parts.outbound
    pages = login.door(outbound.connect, outbound.places.base)
    app = HubApp(
        ports,
        ModernEdge(ports),
        LegacyEdge(ports),
        SseEdge(ports),
        rest,
        metrics_open=parts.current.config.listen.loopback,
        login=pages,
        published=login.resources if login.taken else None,
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
