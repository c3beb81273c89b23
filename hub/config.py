"""The hub's configuration: where it is found, what it may say, and every default with its reason.

The only place that reads environment variables. Loaded whole, checked whole: all faults are reported at once, with
their lines. Parts are given the few values they use, never this tree.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from hub.config_auth import Auth, bases, public_host, read_auth, read_public_url, rules_of
from hub.config_endpoints import PAGE_SIZE, read_endpoints
from hub.config_secrets import Secrets
from hub.config_section import Section
from hub.config_servers import Entries, Parsed, read_rate
from hub.config_telemetry import Telemetry, read_telemetry
from hub.config_yaml import ConfigError, Fault, Node, parse, read_source
from hub.core.ports import Endpoint, Rate
from hub.downstream.link import ServerSpec
from hub.edge.ports import Limits

__all__ = ["Config", "ConfigError", "Fault", "Listen", "Screening", "find", "load"]

Screen = Literal["off", "flag", "block"]
Results = Literal["off", "warn", "strict"]
Source = Literal["file", "database"]  # who says that something is there
LogLevel = Literal["debug", "info", "warning", "error"]

HOST, PORT = "127.0.0.1", 8700  # nothing outside this machine reaches a hub that nobody configured
PER_CALLER: Final = Rate(600, 300)  # ten calls a second for ever, and the bursts of an agent that fans out
OUTPUT_BYTES: Final = 4 * 1024 * 1024  # above any model's context; a screenshot still fits
TOKEN_CHARS: Final = 32  # shorter ones can be guessed
TOKEN_VARIABLES: Final = ("MCP_HUB_TOKEN", "MCP_HUB_ADMIN_TOKEN")
LOOPBACK_HOSTS: Final = frozenset(("localhost", "127.0.0.1", "::1", "[::1]"))
_HOST_NAME = re.compile(r"\*|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#\s@]+")
_UNBUILT: Final = {
    "sso": "logging in at another provider",
    "policy": "the policy language",
    "policies": "the policy language",
    "packs": "the policy language",
    "approvals": "approvals",
    "budget": "budgets",
    "budgets": "budgets",
    "prices": "budgets",
    "models": "the model control plane",
    "router": "the model control plane",
    "cache": "caching results",
    "audit": "proofs and exports of the log",
    "postgres": "replicas on PostgreSQL and Redis",
    "redis": "replicas on PostgreSQL and Redis",
    "stores": "replicas on PostgreSQL and Redis",
    "tls": "serving TLS (put a proxy in front)",
    "mesh": "federated hubs",
    "flows": "workflows",
    "tenants": "more than one tenant",
}
_FOREIGN: Final = {
    "servers": "is called mcpServers here",
    "oauth": "is called auth here",
    "users": "are no part of this file; run mcp-hub users add NAME",
    "roles": "stand in auth: {roles: ...}",
    "inputs": "is not read; write env:NAME where a value is needed",
    "port": "is part of listen (HOST:PORT)",
    "host": "is part of listen (HOST:PORT)",
    "otel": "is called telemetry here",
    "tracing": "is called telemetry here",
    "secrets": "are no part of this file; run mcp-hub secrets set NAME and write secret:NAME where the value is needed",
}
_EDGE_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "body_bytes": (1024, 256 * 1024 * 1024),
    "header_bytes": (1024, 1024 * 1024),
    "header_s": (0.1, 600),
    "body_s": (0.1, 3600),
    "session_idle_s": (1, 7 * 86_400),
    "sessions": (1, 1_000_000),
    "call_s": (1, 86_400),
    "drain_s": (0, 3600),
    "back_queue": (1, 100_000),
    "keepalive_s": (0.1, 60),  # each time, a stream's credential is looked at again
    "connections": (1, 1_000_000),
}


@dataclass(frozen=True, slots=True)
class Listen:
    host: str
    port: int  # 0: the operating system picks one

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wildcard(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Screening:
    """What is done about a finding. `flag` by default: what is found is logged before anything is refused for it."""

    descriptions: Screen = "flag"
    arguments: Screen = "flag"
    results: Screen = "flag"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the hub was told. Frozen: a reload makes another one."""

    data_dir: Path
    path: Path | None = None  # the file it was read from
    listen: Listen = Listen(HOST, PORT)
    servers: tuple[ServerSpec, ...] = ()
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: {"": Endpoint("", page_size=PAGE_SIZE)})
    per_caller: Rate = PER_CALLER
    edge: Limits = field(default_factory=Limits)
    screening: Screening = Screening()
    results: Results = "warn"  # a server that breaks its own schema is the operator's news before it is an outage
    output_bytes: int = OUTPUT_BYTES
    allowed_hosts: frozenset[str] = LOOPBACK_HOSTS
    allowed_origins: frozenset[str] = frozenset()
    log_level: LogLevel = "info"
    telemetry: Telemetry | None = None  # off, unless somebody says where to
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # MCP_HUB_TOKEN, MCP_HUB_ADMIN_TOKEN if set
    warnings: tuple[str, ...] = ()
    endpoint_sources: Mapping[str, Source] = field(default_factory=dict)  # by name; the default one may have none
    given_listen: str | None = None  # what --listen said: it wins over the file at a reload too
    secret_uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # who by name of a stored secret
    public_url: str | None = None  # scheme, host and port that clients type; None: only this machine's own names
    auth: Auth = field(default_factory=Auth)

    @property
    def policy_version(self) -> str:
        """Names the rules in force: the same for the same rules, another one when any of them differs."""
        rules: dict[str, object] = {
            "screening": [self.screening.descriptions, self.screening.arguments, self.screening.results],
            "results": self.results,
            "output": self.output_bytes,
            "caller": [self.per_caller.per_minute, self.per_caller.burst],
            "servers": [
                [s.id, s.pins, s.trusted, s.variant_of, s.per_item and [s.per_item.per_minute, s.per_item.burst]]
                for s in self.servers
            ],
            "endpoints": [
                [e.name, e.tools, e.read_only] for e in self.endpoints.values() if e.tools is not None or e.read_only
            ],
        }
        if self.auth.roles:
            rules["roles"] = rules_of(self.auth)
        return sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]

    def listening(self, listen: Listen) -> Config:
        """The same on another port of the same host."""
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        return replace(self, listen=listen, given_listen=f"{host}:{listen.port}")


def find(given: str | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The configuration file: --config, else MCP_HUB_CONFIG, else ./hub.yaml, else none. A named one must exist."""
    named = given or environ.get("MCP_HUB_CONFIG")
    if named:
        return (cwd / Path(named).expanduser()).absolute()
    usual = cwd / "hub.yaml"
    return usual.absolute() if usual.is_file() else None


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    sealed: bool = False,
    secrets: Callable[[str], str | None] | None = None,
) -> Config:
    """The configuration, checked whole. `listen` (HOST:PORT) wins over the file. Raises ConfigError with all faults.

    `sealed` leaves secrets unresolved: for programs that only look for the hub and start no server themselves.
    `secrets` gives stored ones by name; without it they alone stay unresolved, and `secret_uses` says who waits for
    which.
    """
    source = str(path) if path is not None else ""
    faults: list[Fault] = []
    node = Node(1, {})
    if path is not None:
        text = read_source(path)
        try:
            node, faults = parse(text, is_json=path.suffix.lower() == ".json")
        except ConfigError as exc:
            raise ConfigError(exc.faults, source) from exc
    values = Secrets(environ, path.parent if path is not None else Path.cwd(), sealed=sealed, stored=secrets)
    config = _Reader(Section(node, "", faults), path, environ, faults).read(listen, values)
    if faults:
        raise ConfigError(tuple(faults), source)
    return config


def default_data_dir(environ: Mapping[str, str]) -> Path:
    given = environ.get("XDG_DATA_HOME", "")
    if given.startswith("/"):  # the XDG specification has relative ones ignored
        return Path(given) / "mcp-hub"
    return Path(environ.get("HOME") or Path.home()) / ".local" / "share" / "mcp-hub"


class _Reader:
    def __init__(self, top: Section, path: Path | None, environ: Mapping[str, str], faults: list[Fault]) -> None:
        self._top, self._path, self._environ, self._faults = top, path, environ, faults
        self._folder = path.parent if path is not None else None

    def read(self, given_listen: str | None, secrets: Secrets) -> Config:
        top = self._top
        listen = self._listen(given_listen)
        entries = Entries(secrets, self._folder)
        parsed = entries.read(top.section("mcpServers"))
        telemetry = read_telemetry(top, entries)
        endpoints = top.section("endpoints")
        made = read_endpoints(endpoints, parsed)
        limits, screening = top.section("limits"), top.section("screening")
        public_url, auth = read_public_url(top), read_auth(top, entries)
        config = Config(
            data_dir=self._data_dir(),
            path=self._path,
            listen=listen,
            servers=tuple(parsed.servers.values()),
            endpoints=made,
            per_caller=read_rate(limits.section("per_caller"), PER_CALLER),
            edge=_edge(top.section("edge")),
            screening=_screening(screening),
            results=top.choice("results", "warn", Results),
            output_bytes=top.whole("output_bytes", OUTPUT_BYTES, 1024, 256 * 1024 * 1024),
            allowed_hosts=self._hosts(listen, public_url),
            allowed_origins=self._origins(),
            log_level=self._log_level(),
            telemetry=telemetry,
            tokens=self._tokens(),
            warnings=(*secrets.warnings, *self._exposed(parsed), *_unreachable(auth, listen, public_url)),
            endpoint_sources={name: "file" for name in made if endpoints.has(f"/{name}/mcp" if name else "/mcp")},
            given_listen=given_listen,
            secret_uses=uses_of(parsed.secrets),
            public_url=public_url,
            auth=auth,
        )
        limits.close()
        top.close(_UNBUILT, _FOREIGN)
        return config

    def _listen(self, given: str | None) -> Listen:
        """`[::1]:8700` and `127.0.0.1:0`; a bare port is no address."""
        written = self._top.text("listen", f"{HOST}:{PORT}")
        text = given if given is not None else written
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s/]+)):(\d{1,5})", text)
        if found is None or int(found[3]) > 65_535:
            problem = f"must be HOST:PORT, such as {HOST}:{PORT}"
            if given is not None:
                self._faults.append(Fault(None, "--listen", problem))
            else:
                self._top.fault("listen", problem)
            return Listen(HOST, PORT)
        return Listen(found[1] or found[2], int(found[3]))

    def _data_dir(self) -> Path:
        given = self._top.text("data_dir", None)
        if given is None:
            return default_data_dir(self._environ)
        return (self._folder or Path.cwd()) / Path(os.path.expanduser(given))

    def _hosts(self, listen: Listen, public_url: str | None) -> frozenset[str]:
        given = self._top.texts("allowed_hosts")
        for host in given or ():
            if not _HOST_NAME.fullmatch(host):
                self._top.fault("allowed_hosts", f"{host!r} is no host name without a port")
        if listen.wildcard and not given and public_url is None:
            where = f"{listen.host} listens on every address"
            self._faults.append(
                Fault(
                    self._top.line_of("listen") if self._top.has("listen") else None,
                    "allowed_hosts",
                    f"{where}: name the hosts that clients use in their URL (allowed_hosts: [hub.example.com])",
                )
            )
        own = frozenset() if listen.wildcard else frozenset((listen.host.lower(), f"[{listen.host.lower()}]"))
        return LOOPBACK_HOSTS | own | public_host(public_url) | frozenset(host.lower() for host in given or ())

    def _origins(self) -> frozenset[str]:
        given = self._top.texts("allowed_origins") or ()
        for origin in given:
            if not _ORIGIN.fullmatch(origin.lower()):
                self._top.fault("allowed_origins", f"{origin!r} is no origin, such as https://app.example.com")
        return frozenset(origin.lower() for origin in given)

    def _log_level(self) -> LogLevel:
        section = self._top.section("log")
        level: LogLevel = section.choice("level", "info", LogLevel)
        section.close()
        return level

    def _tokens(self) -> dict[str, str]:
        """Checked here, because a short token is wrong usage, like any other wrong setting."""
        tokens = {name: self._environ[name] for name in TOKEN_VARIABLES if name in self._environ}
        for name, token in tokens.items():
            if len(token) < TOKEN_CHARS:
                text = f"has {len(token)} characters; give it at least {TOKEN_CHARS}, or unset it and the hub makes one"
                self._faults.append(Fault(None, name, text))
        if len(tokens) == 2 and len(set(tokens.values())) == 1:
            self._faults.append(Fault(None, TOKEN_VARIABLES[1], f"must differ from {TOKEN_VARIABLES[0]}"))
        return tokens

    def _exposed(self, parsed: Parsed) -> tuple[str, ...]:
        if self._path is None or not parsed.literal_secrets or not self._path.stat().st_mode & 0o077:
            return ()
        return (
            f"{self._path} holds secrets in plain text and others may read it; "
            f"run: chmod 600 {self._path}, or write env:NAME",
        )


def _unreachable(auth: Auth, listen: Listen, public_url: str | None) -> tuple[str, ...]:
    if not auth.login or bases(public_url, listen.loopback, listen.port):
        return ()
    return (
        "nobody can log in by browser: write the address that people type (public_url: https://hub.example.com), "
        "or auth: {login: false} if tokens and keys are enough",
    )


def uses_of(secrets: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Server ids by name of a stored secret, from names by server id."""
    names = sorted({name for named in secrets.values() for name in named})
    return {name: tuple(id for id, named in sorted(secrets.items()) if name in named) for name in names}


def _screening(section: Section) -> Screening:
    made = Screening(
        descriptions=section.choice("descriptions", "flag", Screen),
        arguments=section.choice("arguments", "flag", Screen),
        results=section.choice("results", "flag", Screen),
    )
    section.close()
    return made


def _edge(section: Section) -> Limits:
    usual = Limits()
    given: dict[str, Any] = {}
    for part in fields(Limits):
        if part.name == "trusted_proxies":
            continue
        default = getattr(usual, part.name)
        low, high = _EDGE_BOUNDS[part.name]
        if isinstance(default, int):
            given[part.name] = section.whole(part.name, default, int(low), int(high))
        else:
            given[part.name] = section.number(part.name, default, low, high)
    given["trusted_proxies"] = _proxies(section)
    section.close()
    return Limits(**given)


def _proxies(section: Section) -> tuple[str, ...]:
    found = section.texts("trusted_proxies") or ()
    for entry in found:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            section.fault("trusted_proxies", f"{entry[:80]!r} is no address or network such as 10.0.0.0/8")
    return found
