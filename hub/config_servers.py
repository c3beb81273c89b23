"""`mcpServers`: entries as Claude Desktop, Cursor and VS Code write them, plus the hub's own keys, as `ServerSpec`s."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from hub.config_secrets import SECRET_NAME, Secrets, Unresolved, refuse_shell
from hub.config_section import Section
from hub.config_server_auth import read_server_auth
from hub.core.names import slug
from hub.core.ports import Rate
from hub.downstream.link import ServerSpec, Timeouts, Transport

Pins = Literal["off", "warn", "quarantine"]
EraPin = Literal["auto", "modern", "legacy"]

MAX_SERVERS: Final = 500
RESULT_BYTES: Final = 16 * 1024 * 1024  # an answer is held in memory whole while it is judged
_SPELLINGS: Final[Mapping[str, Transport]] = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "streamable_http": "http",
    "sse": "sse",
}
_UNBUILT: Final = {
    "isolation": "one process per user",
    "sandbox": "isolating a server's process",
    "budget": "budgets",
    "prices": "budgets",
    "approve": "approvals",
    "cache": "caching results",
    "openapi": "serving an OpenAPI description",
}
_FOREIGN: Final = {
    "autoApprove": "the hub asks nobody; remove this key",
    "alwaysAllow": "the hub asks nobody; remove this key",
    "envFile": "is not read; give each value in env, or write file:PATH",
    "timeout": "write timeouts: {call: SECONDS}",
    "oauth": "is called auth here: {client: {id: TEXT, secret: secret:NAME}, scopes: [..]}",
}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "accept", "connection", "transfer-encoding", "upgrade", "te", "trailer")
)


@dataclass(slots=True)
class Parsed:
    """What the entries were made into."""

    servers: dict[str, ServerSpec] = field(default_factory=dict)
    pasted: dict[str, str] = field(default_factory=dict)  # server id by the name in the file
    literal_secrets: bool = False  # some entry holds a secret in plain text
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict)  # names of stored secrets by server id


@dataclass(slots=True)
class Entries:
    """Reads all entries of one file."""

    secrets: Secrets
    folder: Path | None  # of the file; relative paths start here
    parsed: Parsed = field(default_factory=Parsed)

    def read(self, section: Section) -> Parsed:
        entries = section.sections()
        if len(entries) > MAX_SERVERS:
            section.fault(None, f"names {len(entries)} servers; at most {MAX_SERVERS} fit one hub")
            return self.parsed
        for name, entry in entries:
            try:
                id = slug(name)
            except ValueError as exc:
                entry.fault(None, str(exc))
                continue
            spec = self._entry(id, entry)
            if id in self.parsed.servers:
                other = next(pasted for pasted, made in self.parsed.pasted.items() if made == id)
                entry.fault(None, f"becomes the server id {id!r}, as {other!r} does; rename one of them")
                continue
            self.parsed.servers[id], self.parsed.pasted[name] = spec, id
            self.parsed.secrets[id] = self.secrets.named()
        self._variants(section)
        return self.parsed

    def _entry(self, id: str, entry: Section) -> ServerSpec:
        transport = _transport(entry)
        limit, url, headers = entry.section("limit"), self._url(entry), self.headers(entry)
        auth = read_server_auth(entry, self.secrets, transport, url, headers)
        self.parsed.literal_secrets |= auth.is_literal
        spec = ServerSpec(
            id=id,
            transport=transport,
            command=self._command(entry),
            env=self._env(entry),
            cwd=self._cwd(entry),
            url=url,
            headers=headers,
            auth=auth.auth,
            connector=entry.text("connector", None) or "",
            era=entry.choice("era", "auto", EraPin),
            pins=entry.choice("pins", "quarantine", Pins),
            trusted=entry.flag("trusted", False),
            enabled=_enabled(entry),
            variant_of=entry.text("variant_of", None),
            timeouts=_timeouts(entry.section("timeouts")),
            max_result_bytes=entry.whole("max_result_bytes", RESULT_BYTES, 1024, 256 * 1024 * 1024),
            per_item=read_rate(limit, None) if entry.has("limit") else None,
        )
        if spec.connector and not re.fullmatch(r"[a-z][a-z0-9_]*", spec.connector):
            entry.fault("connector", "must be the name of a first-party connector, such as sandbox")
        entry.close(_UNBUILT, _FOREIGN)
        return spec

    def _command(self, entry: Section) -> tuple[str, ...]:
        command, args = entry.text("command", None), entry.texts("args") or ()
        for key, texts in (("command", (command or "",)), ("args", tuple(a for a in args if not re.search(r"\s", a)))):
            for text in texts:  # an argument with blanks is a script or a sentence, and may well hold ${...}
                try:
                    refuse_shell(text)
                except Unresolved as exc:
                    entry.fault(key, str(exc))
        if command is None:
            return ()
        args = tuple(self._argument(entry, text) for text in args)
        if command.startswith("~"):
            command = os.path.expanduser(command)
        elif self.folder is not None and "/" in command and not command.startswith("/"):
            command = str(self.folder / command)
        return (command, *args)

    def _argument(self, entry: Section, text: str) -> str:
        try:
            return self.secrets.argument(text)
        except Unresolved as exc:
            entry.fault("args", str(exc))
            return ""

    def _cwd(self, entry: Section) -> str | None:
        given = entry.text("cwd", None)
        if given is not None:
            resolved = self._resolve(entry, "cwd", given)
            return str((self.folder or Path.cwd()) / Path(resolved).expanduser())
        return str(self.folder) if self.folder is not None else None

    def _env(self, entry: Section) -> dict[str, str]:
        made: dict[str, str] = {}
        for name, text in entry.pairs("env").items():
            if not _ENV_NAME.fullmatch(name):
                entry.fault_at(entry.line_of("env", name), "env", f"{name!r} is no name of an environment variable")
            made[name] = self._resolve(entry, "env", text, name)
        return made

    def headers(self, entry: Section) -> dict[str, str]:
        """What its `headers` say, resolved."""
        made: dict[str, str] = {}
        for name, text in entry.pairs("headers").items():
            line = entry.line_of("headers", name)
            if not _HEADER_NAME.fullmatch(name):
                entry.fault_at(line, "headers", f"{name!r} is no name of an HTTP header")
            elif name.lower() in _OWN_HEADERS or name.lower().startswith("mcp-"):
                entry.fault_at(line, f"headers.{name}", "is set by the hub itself; remove it")
            elif name.lower() in (other.lower() for other in made):
                entry.fault_at(line, f"headers.{name}", "is given twice")
            value = self._resolve(entry, "headers", text, name)
            if not _HEADER_VALUE.fullmatch(value):
                entry.fault_at(line, f"headers.{name}", "holds characters that no HTTP header may hold")
            made[name] = value
        return made

    def _url(self, entry: Section) -> str:
        given = entry.text("url", None)
        if given is None:
            return ""
        url = self._resolve(entry, "url", given)
        if url and (problem := url_problem(url)) is not None:
            entry.fault("url", problem)
        return url

    def _resolve(self, entry: Section, key: str, text: str, name: str | None = None) -> str:
        try:
            value, referred = self.secrets.resolve(text, worded=key == "headers")
        except Unresolved as exc:
            entry.fault_at(entry.line_of(key, name), f"{key}.{name}" if name else key, str(exc))
            return ""
        if not referred and name is not None and value and SECRET_NAME.search(name):
            self.parsed.literal_secrets = True
        return value

    def _variants(self, section: Section) -> None:
        servers = self.parsed.servers
        for name, id in self.parsed.pasted.items():
            parent = servers[id].variant_of
            if parent is None:
                continue
            where = f"{name}.variant_of"
            if parent not in servers or parent == id:
                section.fault_at(section.line_of(name), where, f"{parent!r} is no other server of this file")
            elif servers[parent].variant_of is not None:
                section.fault_at(section.line_of(name), where, f"{parent!r} is a variant itself")


def _transport(entry: Section) -> Transport:
    """What carries it: said by `type` (or `transport`), else plain from command, url or connector."""
    ways = [key for key in ("command", "url", "connector") if entry.has(key)]
    if len(ways) != 1:
        given = "none of them" if not ways else " and ".join(ways)
        entry.fault(None, f"needs exactly one of command, url and connector; it has {given}")
    plain: Transport = "http" if "url" in ways else "inprocess" if "connector" in ways else "stdio"
    said: Transport | None = None
    for key in ("type", "transport"):
        word = entry.text(key, None)
        if word is None:
            continue
        if word not in _SPELLINGS:
            entry.fault(key, "must be one of stdio, http, streamable-http, sse")
        elif said is not None and said != _SPELLINGS[word]:
            entry.fault(key, "contradicts type")
        else:
            said = _SPELLINGS[word]
    if said is None or len(ways) != 1:
        return plain
    if (said == "stdio") != (plain == "stdio") or plain == "inprocess":
        entry.fault("type" if entry.has("type") else "transport", f"{said} does not go with {ways[0]}")
        return plain
    return said


def _enabled(entry: Section) -> bool:
    enabled, disabled = entry.flag("enabled", True), entry.flag("disabled", False)
    if entry.has("enabled") and entry.has("disabled") and enabled == disabled:
        entry.fault("disabled", "contradicts enabled; keep one of them")
    return enabled and not disabled


def _timeouts(section: Section) -> Timeouts:
    given = {
        f"{name}_s": section.number(name, getattr(Timeouts(), f"{name}_s"), 0.1, 3600)
        for name in (part.name.removesuffix("_s") for part in fields(Timeouts))
    }
    made = Timeouts(**given)
    if made.hard_s < made.call_s:
        key = "hard" if section.has("hard") else "call"
        section.fault(key, f"hard ({made.hard_s:g}) is shorter than call ({made.call_s:g})")
    section.close()
    return made


def read_rate(section: Section, default: Rate | None) -> Rate:
    """`{per_minute, burst}`; without a burst half a minute's calls may come at once."""
    if default is None and not section.has("per_minute"):
        section.fault(None, "needs per_minute")
    per_minute = section.number("per_minute", default.per_minute if default else 600, 0.1, 10_000_000)
    usual = default.burst if default and not section.has("per_minute") else max(1, int(per_minute / 2))
    made = Rate(per_minute, section.whole("burst", usual, 1, 10_000_000))
    section.close()
    return made


def url_problem(url: str) -> str | None:
    """Why nothing could be sent there, in words."""
    if re.search(r"[\x00-\x20\x7f]", url):
        return "holds blanks or control characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be http://HOST... or https://HOST..."
    if parts.username is not None or parts.password is not None:
        return "holds a user or password; give them in headers: {Authorization: env:NAME}"
    return "must not hold a fragment (#...)" if parts.fragment else None
