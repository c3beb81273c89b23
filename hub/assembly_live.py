"""The configuration in force, and every way in which it changes while the hub runs.

Each change is checked whole, stored, and then in force at once; one at a time, and to its end once it has begun. Who
may change what, and the log's word of it, are the admin API's; only a reload, which nobody may have asked for, is
logged here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from hub.config import Config, ConfigError, Fault
from hub.config_auth import public_host
from hub.config_registry import Merged, as_node, merged, path_of, taken
from hub.core.call import Json
from hub.core.names import slug
from hub.core.ports import Conflict, EventKind, Journal, RegistryKind, RegistryRow, RegistryStore

log = logging.getLogger(__name__)

T = TypeVar("T")

INLINE_ROWS: Final = 20  # more are merged off the loop
CLOSE_S: Final = 10.0  # for a change that is under way when the hub stops
_TOLD: Final = 100  # faults and changes of one reload in the log
_ENDPOINT_NAME: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,39})?")
_LATER: Final = ("header_bytes", "header_s", "body_s", "session_idle_s", "sessions", "connections")  # of edge


class OfTheFile(ValueError):
    """What stands in the configuration file, or comes with the hub, is not changed at run time."""


class NotThere(LookupError):
    """No such server or endpoint; the text says so."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Reloaded:
    changed: tuple[str, ...] = ()  # in words
    faults: tuple[Fault, ...] = ()  # any: nothing was changed, the configuration that was in force still is
    restart: tuple[str, ...] = ()  # what was changed in the file and waits for a restart, in words


class Live:
    def __init__(
        self,
        base: Config,
        store: RegistryStore,
        journal: Journal,
        install: Callable[[Config], Awaitable[None]],
        *,
        environ: Mapping[str, str],
        secrets: Callable[[str], str | None],
        reread: Callable[[], Config] | None = None,
        tenant: str = "local",
    ) -> None:
        """`base` is what the file says; `reread` reads it anew (None: there is none). `install` puts one in force."""
        self.config = base
        self.aside: tuple[Fault, ...] = ()  # of rows that are stored, but cannot be in force
        self.last: Reloaded | None = None
        self.last_at: str | None = None  # of the last reload that was no failure
        self._base, self._store, self._journal, self._install = base, store, journal, install
        self._environ, self._secrets, self._reread, self._tenant = environ, secrets, reread, tenant
        self._rows: dict[tuple[RegistryKind, str], RegistryRow] = {}
        self._behind = False  # what is stored is not what is in force
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def load(self) -> Config:
        """The first configuration: the file's and what is stored. The caller builds the hub from it."""
        self._rows = {(row.kind, row.id): row for row in await self._store.all(self._tenant)}
        self._note(await self._merge(self._base, self._rows.values()))
        return self.config

    async def aclose(self) -> None:
        """Let a change that is under way come to its end."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CLOSE_S)

    def rows(self) -> tuple[RegistryRow, ...]:
        """By kind and id."""
        return tuple(row for _, row in sorted(self._rows.items()))

    def row(self, kind: RegistryKind, id: str) -> RegistryRow | None:
        return self._rows.get((kind, id))

    async def put_server(self, id: str, entry: Json, who: str, expected: int | None) -> RegistryRow:
        """Register a server (`expected` None), or change the registered one of that version.

        Raises ConfigError with every fault of the entry, OfTheFile, and Conflict.
        """
        if slug(id) != id:
            raise ConfigError((Fault(None, f"mcpServers.{id}", f"is no server id; write {slug(id)!r}"),))
        return await self._to_its_end(lambda: self._put("server", id, entry, who, expected))

    async def remove_server(self, id: str, who: str, expected: int) -> None:
        """Raises NotThere, OfTheFile, Conflict, and ConfigError when something registered is built on it."""
        await self._to_its_end(lambda: self._remove("server", id, expected))

    async def set_enabled(self, id: str, enabled: bool, who: str) -> None:
        """Of any server: over one of the file it is noted apart. Raises NotThere."""
        await self._to_its_end(lambda: self._enable(id, enabled, who))

    async def put_endpoint(self, name: str, entry: Json, who: str, expected: int | None) -> RegistryRow:
        """As `put_server`; "" is the default endpoint."""
        if not _ENDPOINT_NAME.fullmatch(name):
            text = "is no name of an endpoint: lower case letters, digits and '-', at most 40"
            raise ConfigError((Fault(None, f"endpoints.{name[:80]}", text),))
        return await self._to_its_end(lambda: self._put("endpoint", name, entry, who, expected))

    async def remove_endpoint(self, name: str, who: str, expected: int) -> None:
        """Raises NotThere, OfTheFile, Conflict."""
        await self._to_its_end(lambda: self._remove("endpoint", name, expected))

    async def refresh(self, who: str) -> tuple[str, ...]:
        """Read and resolve everything anew: stored secrets have changed. What cannot be in force now, in words.

        A file that has faults by that stays in force as it was.
        """
        await self.reload(who)
        return self.trouble()

    async def catch_up(self) -> None:
        """Try again what was stored, and failed to be put in force."""
        if self._behind:
            await self._to_its_end(self._again)

    async def reload(self, who: str, kind: EventKind = "admin") -> Reloaded:
        """Read the file anew and put it in force whole, or not at all; logged either way."""
        return await self._to_its_end(lambda: self._reload(who, kind))

    def trouble(self) -> tuple[str, ...]:
        """What is written or stored, and not in force, in words."""
        faults = self.last.faults if self.last is not None else ()
        return tuple(_line(fault) for fault in (*faults, *self.aside)[:_TOLD])

    def status(self) -> Json:
        """For `mcp-hub status`."""
        last = self.last or Reloaded()
        return {
            "reloaded_at": self.last_at,
            "config_faults": [_shown(fault) for fault in last.faults],
            "set_aside": [_shown(fault) for fault in self.aside],
            "restart_needed": list(last.restart),
        }

    # One change: check, store, put in force.

    async def _put(self, kind: RegistryKind, id: str, entry: Json, who: str, expected: int | None) -> RegistryRow:
        self._refuse_the_files(kind, id)
        before = self._rows.get((kind, id))
        if (before.version if before is not None else None) != expected:
            raise Conflict(_changed_meanwhile(kind, id, before))
        now = _now()
        made, version = (before.created_at, before.version + 1) if before is not None else (now, 1)
        row = RegistryRow(self._tenant, kind, id, dict(entry), version, made, now, who)
        rows = {**self._rows, (kind, id): row}
        found = await self._checked(rows, kind, id)
        await self._store.put(row, expected)
        await self._in_force(rows, found)
        return row

    async def _remove(self, kind: RegistryKind, id: str, expected: int) -> None:
        if (kind, id) not in self._rows:
            self._refuse_the_files(kind, id)
            raise NotThere(f"no {kind} is registered as {id!r}")
        if self._rows[kind, id].version != expected:
            raise Conflict(_changed_meanwhile(kind, id, self._rows[kind, id]))
        rows = {key: row for key, row in self._rows.items() if key != (kind, id)}
        found = await self._checked(rows, kind, id)
        await self._store.remove(self._tenant, kind, id, expected)
        await self._in_force(rows, found)

    async def _enable(self, id: str, enabled: bool, who: str) -> None:
        own = self._rows.get(("server", id))
        in_file = next((spec for spec in self._base.servers if spec.id == id), None)
        if in_file is None and own is None:
            raise NotThere(f"no server is called {id!r}; see mcp-hub servers list")
        if in_file is None and own is not None:
            body = {key: value for key, value in own.body.items() if key not in ("enabled", "disabled")}
            await self._put("server", id, body if enabled else {**body, "enabled": False}, who, own.version)
            return
        overlay = self._rows.get(("overlay", id))
        assert in_file is not None
        if in_file.enabled is not enabled:
            await self._put("overlay", id, {"enabled": enabled}, who, overlay.version if overlay is not None else None)
        elif overlay is not None:
            await self._remove("overlay", id, overlay.version)

    async def _again(self) -> None:
        await self._in_force(self._rows, await self._merge(self._base, self._rows.values()))

    async def _reload(self, who: str, kind: EventKind) -> Reloaded:
        path = None if self._base.path is None else str(self._base.path)
        detail: dict[str, Any] = {"act": "config.reload", "path": path}
        try:
            fresh = await asyncio.to_thread(self._reread) if self._reread is not None else self._base
        except ConfigError as exc:
            blamed = self.last = Reloaded((), exc.faults, self.last.restart if self.last is not None else ())
            faults = [_line(fault) for fault in exc.faults[:_TOLD]]
            for text in faults:
                log.error("%s has a fault; the configuration in force stays: %s", self._base.path, text)
            await self._journal.event(kind, who, "error", None, {**detail, "faults": faults})
            await self._again()  # what was registered may well be reached otherwise now
            return blamed
        restart = _restart_needed(self._base, fresh)
        base = self._settled(fresh)
        found = await self._merge(base, self._rows.values())
        done = Reloaded(_changes(self.config, found.config), (), restart)
        told = {"changed": list(done.changed[:_TOLD]), "restart": list(restart)}
        await self._journal.event(kind, who, "done", None, {**detail, **told})
        try:
            await self._in_force(self._rows, found)
        except Exception:
            await self._journal.event(kind, who, "error", None, detail)
            raise
        self._base, self.last, self.last_at = base, done, _now()
        for warning in fresh.warnings:
            log.warning("%s", warning)
        log.info("the configuration was read anew: %s", "; ".join(done.changed[:_TOLD]) or "nothing changed")
        for text in restart:
            log.warning("%s", text)
        return done

    def _settled(self, fresh: Config) -> Config:
        """The same with what only a restart changes as it is."""
        base = self._base
        edge = replace(fresh.edge, **{name: getattr(base.edge, name) for name in _LATER})
        own = [spec for spec in base.servers if spec.provenance == "builtin"]
        ids = {spec.id for spec in fresh.servers}
        builtin = tuple(spec for spec in own if spec.id not in ids)
        return replace(
            fresh,
            data_dir=base.data_dir,
            listen=base.listen,
            tokens=base.tokens,
            telemetry=base.telemetry,
            public_url=base.public_url,
            allowed_hosts=fresh.allowed_hosts | public_host(base.public_url),  # what is still named is still answered
            auth=replace(base.auth, roles=fresh.auth.roles),
            edge=edge,
            servers=(*builtin, *fresh.servers),
        )

    async def _checked(self, rows: Mapping[tuple[RegistryKind, str], RegistryRow], kind: str, id: str) -> Merged:
        """What would be in force. Raises ConfigError with faults that were not there before, or are of this row."""
        own = f"endpoints.{path_of(id)}" if kind == "endpoint" else f"mcpServers.{id}"
        body = rows[kind, id].body if (kind, id) in rows else {}  # type: ignore[index]
        try:
            as_node(body)
        except ValueError as exc:
            raise ConfigError((Fault(None, own, str(exc)),)) from exc
        found = await self._merge(self._base, rows.values())
        news = [fault for fault in found.aside if fault not in self.aside or _is_of(fault, own)]
        if news and (kind, id) in rows:
            raise ConfigError(tuple(news))
        if news:
            told = (replace(fault, text=f"{fault.text}; change or remove that first") for fault in news)
            raise ConfigError(tuple(told))
        return found

    async def _merge(self, base: Config, rows: Any) -> Merged:
        given: Sequence[RegistryRow] = tuple(rows)
        if len(given) > INLINE_ROWS:
            return await asyncio.to_thread(merged, base, given, self._environ, self._secrets)
        return merged(base, given, self._environ, self._secrets)

    async def _in_force(self, rows: Mapping[tuple[RegistryKind, str], RegistryRow], found: Merged) -> None:
        self._rows, self._behind = dict(rows), True
        await self._install(found.config)
        self._behind = False
        self._note(found)

    def _note(self, found: Merged) -> None:
        for fault in found.aside:
            if fault not in self.aside:
                log.error("registered at run time, and not in force: %s", _line(fault))
        self.config, self.aside = found.config, found.aside

    def _refuse_the_files(self, kind: RegistryKind, id: str) -> None:
        if kind == "server":
            spec = next((spec for spec in self._base.servers if spec.id == id), None)
            if spec is not None:
                raise OfTheFile(f"the server {id!r} {taken(spec)}")
        elif kind == "endpoint" and self._base.endpoint_sources.get(id) == "file":
            raise OfTheFile(f"the endpoint {path_of(id)} stands in the configuration file; change it there")

    async def _to_its_end(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """One change after the other; who asked for one and goes away does not cut it short."""

        async def alone() -> T:
            async with self._lock:
                return await change()

        task = asyncio.create_task(alone(), name="change of the configuration")
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may


def _restart_needed(base: Config, fresh: Config) -> tuple[str, ...]:
    """What stands otherwise in the file than in the hub that runs, in words."""
    waits = [f"edge.{name}" for name in _LATER if getattr(base.edge, name) != getattr(fresh.edge, name)]
    if base.listen != fresh.listen:
        waits.insert(0, "listen")
    if base.data_dir != fresh.data_dir:
        waits.insert(0, "data_dir")
    if base.telemetry != fresh.telemetry:
        waits.append("telemetry")
    if base.public_url != fresh.public_url:
        waits.append("public_url")
    if replace(base.auth, roles=fresh.auth.roles) != fresh.auth:
        waits.append("auth, but for its roles,")
    return tuple(f"{name} changes with a restart" for name in waits)


def _changes(old: Config, new: Config) -> tuple[str, ...]:
    """What differs, in words and without values."""
    told = list(_difference("server", {s.id: s for s in old.servers}, {s.id: s for s in new.servers}))
    told += _difference("endpoint", _by_path(old), _by_path(new))
    settings = {
        "limits": (old.per_caller, new.per_caller),
        "screening": (old.screening, new.screening),
        "results": (old.results, new.results),
        "output_bytes": (old.output_bytes, new.output_bytes),
        "edge": (old.edge, new.edge),
        "allowed_hosts": (old.allowed_hosts, new.allowed_hosts),
        "allowed_origins": (old.allowed_origins, new.allowed_origins),
        "auth.roles": (old.auth.roles, new.auth.roles),
        "log": (old.log_level, new.log_level),
    }
    return (*told, *(f"{name}: changed" for name, (one, other) in settings.items() if one != other))


def _by_path(config: Config) -> dict[str, object]:
    return {path_of(name): endpoint for name, endpoint in config.endpoints.items()}


def _difference(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    told = [f"{what} {id}: added" for id in new if id not in old]
    told += [f"{what} {id}: removed" for id in old if id not in new]
    return [*told, *(f"{what} {id}: changed" for id in new if id in old and old[id] != new[id])]


def _changed_meanwhile(kind: str, id: str, row: RegistryRow | None) -> str:
    if row is None:
        return f"{kind} {id!r} is not registered any more; read what there is and decide anew"
    return f"{kind} {id!r} is at version {row.version}, changed by {row.updated_by}; read it again and decide anew"


def _is_of(fault: Fault, own: str) -> bool:
    return fault.where == own or fault.where.startswith(f"{own}.")


def _line(fault: Fault) -> str:
    line = f"line {fault.line}" if fault.line is not None else ""
    return ": ".join(part for part in (line, fault.where, fault.text) if part)


def _shown(fault: Fault) -> Json:
    return {"line": fault.line, "where": fault.where, "text": fault.text}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
