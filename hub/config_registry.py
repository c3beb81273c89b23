"""The configuration file and what admins added at run time, as one `Config` with provenance.

What admins added is read by the same readers as the file. A row that cannot be in force (its secret is gone, the file
took its id) is set aside and said so: it takes nothing else with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hub.config import Config, uses_of
from hub.config_endpoints import read_endpoints
from hub.config_secrets import Secrets
from hub.config_section import Section
from hub.config_servers import MAX_SERVERS, Entries, Parsed
from hub.config_telemetry import SECTION
from hub.config_yaml import MAX_DEPTH, MAX_NODES, Fault, Node
from hub.core.ports import Endpoint, RegistryRow
from hub.downstream.link import ServerSpec

_NO_LINE: Final = 0  # an entry of the registry stands in no file


@dataclass(frozen=True, slots=True)
class Merged:
    config: Config
    aside: tuple[Fault, ...] = ()  # of rows that are not in force


@dataclass(slots=True)
class _Merging:
    base: Config
    environ: Mapping[str, str]
    secrets: Callable[[str], str | None]
    servers: dict[str, ServerSpec] = field(default_factory=dict)
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)  # names of stored secrets by server id
    faults: list[Fault] = field(default_factory=list)

    def server(self, row: RegistryRow) -> None:
        if row.id in self.servers:
            self.faults.append(Fault(None, f"mcpServers.{row.id}", taken(self.servers[row.id])))
            return
        if len(self.servers) >= MAX_SERVERS:
            text = f"would be one server more than the {MAX_SERVERS} that fit one hub"
            self.faults.append(Fault(None, f"mcpServers.{row.id}", text))
            return
        folder = self.base.path.parent if self.base.path is not None else None
        entries = Entries(Secrets(self.environ, folder or Path.cwd(), stored=self.secrets), folder)
        entries.parsed = Parsed(servers=dict(self.servers))
        faults: list[Fault] = []
        parsed = entries.read(_section({row.id: row.body}, "mcpServers", faults))
        spec = parsed.servers.get(row.id) if not faults else None
        if spec is not None:
            self.servers[row.id] = replace(spec, provenance="database")
        self.used[row.id] = parsed.secrets.get(row.id, ())  # of one set aside too: it may wait for a secret
        self.faults.extend(faults)

    def endpoint(self, row: RegistryRow) -> Endpoint | None:
        path = path_of(row.id)
        if self.base.endpoint_sources.get(row.id) == "file":
            self.faults.append(Fault(None, f"endpoints.{path}", "stands in the configuration file; change it there"))
            return None
        faults: list[Fault] = []
        made = read_endpoints(_section({path: row.body}, "endpoints", faults), Parsed(servers=self.servers))
        self.faults.extend(faults)
        return None if faults else made[row.id]


def merged(
    base: Config, rows: Sequence[RegistryRow], environ: Mapping[str, str], secrets: Callable[[str], str | None]
) -> Merged:
    """`base` is what the file says. May take 0.1 ms a row: call it off the loop for many."""
    overlays = {row.id: row.body.get("enabled") is not False for row in rows if row.kind == "overlay"}
    making = _Merging(base, environ, secrets)
    making.servers = {spec.id: replace(spec, enabled=overlays.get(spec.id, spec.enabled)) for spec in base.servers}
    entries = [row for row in rows if row.kind == "server"]
    for row in sorted(entries, key=lambda row: ("variant_of" in row.body, row.id)):  # a variant comes after its server
        making.server(row)
    endpoints, sources = dict(base.endpoints), dict(base.endpoint_sources)
    for row in rows:
        made = making.endpoint(row) if row.kind == "endpoint" else None
        if made is not None:
            endpoints[row.id], sources[row.id] = made, "database"
    users = (*making.servers, SECTION)
    used = {id: tuple(name for name, ids in base.secret_uses.items() if id in ids) for id in users}
    config = replace(
        base,
        servers=tuple(making.servers.values()),
        endpoints=endpoints,
        endpoint_sources=sources,
        secret_uses=uses_of({**used, **making.used}),
    )
    return Merged(config, tuple(replace(fault, line=fault.line or None) for fault in making.faults))


def taken(spec: ServerSpec) -> str:
    """Why an id cannot be registered."""
    if spec.provenance == "builtin":
        return "comes with the hub; choose another id"
    if spec.provenance == "file":
        return "stands in the configuration file; change it there, or choose another id"
    return "is registered already"


def path_of(endpoint: str) -> str:
    return f"/{endpoint}/mcp" if endpoint else "/mcp"


def as_node(value: Any) -> Node:
    """A JSON value as the readers of the configuration take it. Raises ValueError, in words."""
    return _node(value, [0], 0)


def _section(entries: Mapping[str, Any], where: str, faults: list[Fault]) -> Section:
    made: dict[str, Node] = {}
    for name, entry in entries.items():
        try:
            made[name] = as_node(entry)
        except ValueError as exc:
            faults.append(Fault(None, f"{where}.{name}", str(exc)))
    return Section(Node(_NO_LINE, made), where, faults)


def _node(value: Any, made: list[int], depth: int) -> Node:
    made[0] += 1
    if made[0] > MAX_NODES or depth > MAX_DEPTH:
        raise ValueError("is too large or nested too deeply")
    if isinstance(value, Mapping):
        return Node(_NO_LINE, {str(key): _node(item, made, depth + 1) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node(_NO_LINE, tuple(_node(item, made, depth + 1) for item in value))
    if isinstance(value, str):
        return Node(_NO_LINE, value, value)
    return Node(_NO_LINE, value, json.dumps(value))
