"""What the edges and the admin API are given of the hub's parts. All of it follows the configuration in force."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Final

from hub import VERSION
from hub.admin import backups, log_level, reload, traffic
from hub.admin.audit_file import AuditFile
from hub.admin.endpoints import EndpointDesk
from hub.admin.endpoints import operations as endpoint_operations
from hub.admin.operation import Operation
from hub.admin.ports import AdminPorts
from hub.assembly_instructions import Instructions
from hub.assembly_parts import Current, Parts
from hub.assembly_secrets import secret_operations
from hub.assembly_trial import server_operations
from hub.config import Config
from hub.config_registry import path_of
from hub.core.call import Call, Json, Outcome
from hub.core.ports import Endpoint
from hub.downstream.catalog import Catalogue
from hub.downstream.pool import Pool
from hub.edge.ports import EdgePorts
from hub.running import DataDir

SERVER_INFO: Final = {"name": "mcp-hub", "title": "MCP Hub", "version": VERSION}


class LiveEndpoints(Mapping[str, Endpoint]):
    """The endpoints of the configuration in force, by name."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def __getitem__(self, name: str) -> Endpoint:
        return self._current.config.endpoints[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current.config.endpoints)

    def __len__(self) -> int:
        return len(self._current.config.endpoints)


def edge_ports(parts: Parts) -> EdgePorts:
    current, activity, tracing = parts.current, parts.activity, parts.telemetry.tracing

    def handle(call: Call) -> Awaitable[Outcome]:
        activity.touch()
        return current.pipeline.handle(call if tracing is None else tracing.entered(call))

    ports = EdgePorts(
        handle=handle,
        authenticator=parts.identities,
        catalog=parts.offered,
        changes=parts.offered,
        journal=parts.journal,
        endpoints=LiveEndpoints(current),
        limits=current.config.edge,
        allowed_hosts=current.config.allowed_hosts,
        allowed_origins=current.config.allowed_origins,
        cursor_key=parts.cursor_key,
        server_info=SERVER_INFO,
        instructions=Instructions(current, parts.offered, parts.pool).of,
        connected=activity.connected,
        refused=parts.metrics.refused,
    )
    current.followers.append(_follower(ports, current.config))
    return ports


def _follower(ports: EdgePorts, config: Config) -> Callable[[Config], None]:
    level = config.log_level

    def follow(config: Config) -> None:
        nonlocal level
        ports.limits = config.edge
        ports.allowed_hosts, ports.allowed_origins = config.allowed_hosts, config.allowed_origins
        if config.log_level != level:  # what was set at run time stands while the file says the same
            level = config.log_level
            logging.getLogger().setLevel(level.upper())

    return follow


def availability(config: Config, catalogue: Catalogue, pool: Pool) -> Iterator[tuple[str, str, bool]]:
    """(server, tool, whether it can be called now), for the metrics."""
    ready = {health.server for health in pool.health() if health.state == "ready"}
    seen: set[str] = set()
    for endpoint in config.endpoints:
        for item in catalogue.items(endpoint, "tool"):
            if item.name not in seen:
                seen.add(item.name)
                yield item.server, item.name, item.server in ready and not item.changed


def admin_ports(parts: Parts, data: DataDir, started_at: str, ready: Callable[[], bool]) -> AdminPorts:
    current, live = parts.current, parts.live

    def status() -> Json:
        config = current.config
        return {
            "config": str(config.path) if config.path is not None else None,
            "data_dir": str(data.path),
            "endpoints": _paths(config.endpoints),
            "policy_version": config.policy_version,
            **live.status(),
        }

    return AdminPorts(
        version=VERSION,
        started_at=started_at,
        ready=ready,
        specs=lambda: current.config.servers,
        downstreams=parts.pool,
        definitions=parts.offered,
        keys=parts.keys,
        log=AuditFile(data.path / "audit.db"),
        journal=parts.journal,
        metrics=parts.metrics.render,
        metrics_open=current.config.listen.loopback,
        status=status,
        more=_resources(parts, started_at),
    )


def _resources(parts: Parts, started_at: str) -> tuple[Operation, ...]:
    """Those with ports of their own."""
    current, live = parts.current, parts.live

    async def secrets_changed(who: str) -> tuple[str, ...]:
        return await live.refresh(who)

    return (
        *traffic.operations(
            VERSION, started_at, parts.pool.health, parts.metrics.recent, lambda: live.last_at, live.trouble
        ),
        *reload.operations(live),
        *log_level.operations(parts.journal),
        *backups.operations(parts.journal),
        *endpoint_operations(EndpointDesk(live, parts.offered, parts.journal)),
        *server_operations(parts),
        *parts.login.operations(parts.journal),
        *parts.outbound.operations(parts.login.users, parts.journal),
        *secret_operations(parts.vault, parts.journal, lambda: current.config.secret_uses, secrets_changed),
    )


def _paths(endpoints: Iterable[str]) -> list[str]:
    return [path_of(name) for name in endpoints]
