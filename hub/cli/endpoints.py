"""`mcp-hub endpoints`: virtual servers, through the running hub, which is effective at once, else on the stores."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.admin.endpoints import DEFAULT, NAME, EndpointDesk, path_of
from hub.admin.operation import Refused
from hub.cli.failure import USAGE, Failed
from hub.cli.hub_client import api, every, seen, segment
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain
from hub.cli.stores import WHO, Stores, either
from hub.config import Config, ConfigError, Fault
from hub.config_endpoints import INSTRUCTIONS_CHARS, read_endpoints
from hub.config_registry import as_node
from hub.config_section import Section
from hub.config_servers import Parsed
from hub.config_yaml import Node
from hub.core.call import Json
from hub.core.ports import Conflict, Endpoint, RegistryRow, RegistryStore
from hub.downstream.link import ServerSpec
from hub.running import Run
from hub.stores.sqlite.registry import SqliteRegistry

TENANT: Final = "local"
_PATH: Final = re.compile(r"/(?:([^/]+)/)?mcp")

Act = Callable[[EndpointDesk], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add = add_verb(verbs, "add", "make an endpoint at /NAME/mcp")
    add.add_argument("--server", action="append", metavar="ID", help="a server it has; may be repeated; else all")
    add.add_argument(
        "--tool", action="append", metavar="GLOB", help="public tool names it offers; may be repeated; else all"
    )
    add.add_argument("--read-only", action="store_true", help="only tools that trusted servers call read-only")
    add.add_argument("--prefix", choices=("server", "none"), help="none: names as its one server has them")
    add.add_argument("--page-size", type=int, metavar="N", help="items on one page of a list")
    add.add_argument(
        "--instructions-file", metavar="FILE", help="what clients read in place of the servers' own; - is stdin"
    )
    add.add_argument("--replace", action="store_true", help="instead of the one of this name")
    add.set_defaults(run=_add)
    listing = add_verb(verbs, "list", "every endpoint, and what reading its tools costs")
    listing.set_defaults(run=_list)
    show = add_verb(verbs, "show", "one endpoint, with warnings")
    show.set_defaults(run=_show)
    remove = add_verb(verbs, "remove", "remove an endpoint")
    remove.set_defaults(run=_remove)
    for verb in (add, show, remove):
        verb.add_argument("name", metavar="NAME", help="or its path; /mcp is the default endpoint")
    for verb in (add, listing, show, remove):
        add_config(verb)
        add_json(verb)


def _add(args: argparse.Namespace) -> int:
    name, entry = _name(args.name), _entry(args)

    def online(run: Run) -> Any:
        if not args.replace:
            return api(run, "POST", "/endpoints", {"name": name, **entry})
        _, etag = seen(run, _at(name))
        return api(run, "PUT", _at(name), entry, if_match=etag)

    async def offline(desk: EndpointDesk) -> Any:
        if not args.replace:
            return await desk.add(WHO, name, entry)
        return await desk.replace(WHO, name, entry, desk.own(name).version)

    found = _do(place(args), online, offline)
    if args.json:
        out_json(found)
    else:
        _tell(found)
    return 0


def _list(args: argparse.Namespace) -> int:
    async def rows(desk: EndpointDesk) -> Any:
        return await desk.rows()

    found = _do(place(args), lambda run: every(run, "/endpoints", "endpoints"), rows, writes=False)
    if args.json:
        out_json({"endpoints": found})
        return 0
    cells = [
        (
            row["path"],
            row["provenance"] if row["in_force"] else "not in force",
            _listed(row["servers"]),
            _listed(row["tools"]),
            "yes" if row["read_only"] else "",
            row["offered"] and row["offered"]["tool"],
            row["schema_bytes"],
            row["tokens"],
        )
        for row in found
    ]
    out_table(("PATH", "FROM", "SERVERS", "PATTERNS", "READ-ONLY", "TOOLS", "BYTES", "~TOKENS"), cells)
    return 0


def _show(args: argparse.Namespace) -> int:
    name = _name(args.name)
    found = _do(place(args), lambda run: api(run, "GET", _at(name)), lambda desk: desk.show(name), writes=False)
    if args.json:
        out_json(found)
    else:
        _tell(found)
    return 0


def _remove(args: argparse.Namespace) -> int:
    name = _name(args.name)

    def online(run: Run) -> Any:
        _, etag = seen(run, _at(name))
        return api(run, "DELETE", _at(name), if_match=etag)

    _do(place(args), online, lambda desk: desk.remove(WHO, name, desk.own(name).version))
    if args.json:
        out_json({"removed": path_of(name)})
    else:
        out(plain(f"removed {path_of(name)}"))
    return 0


def _tell(row: dict[str, Any]) -> None:
    lines = [
        (row["path"], "Streamable HTTP"),
        (row["sse"], "HTTP+SSE"),
        ("from", row["provenance"] if row["version"] is None else f"{row['provenance']}, version {row['version']}"),
        ("servers", _listed(row["servers"])),
        ("patterns", _listed(row["tools"])),
        ("read-only", "yes" if row["read_only"] else "no"),
        ("prefix", row["prefix"]),
        ("page size", row["page_size"]),
        (
            "instructions",
            f"{len(row['instructions'])} characters of its own" if row["instructions"] else "the servers'",
        ),
    ]
    if row["offered"] is not None:
        counted = ", ".join(f"{count} {kind}s" for kind, count in row["offered"].items() if count) or "nothing"
        lines.append(("offers", counted))
        lines.append(("definitions", f"{row['schema_bytes']} bytes of tools, roughly {row['tokens']} tokens"))
    else:
        note("start the hub to see what it offers")
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        out(plain(f"{label.ljust(width)}  {text}"))
    for warning in row["warnings"]:
        note(f"warning: {plain(warning)}")


def _listed(given: Sequence[str] | None) -> str:
    return "all" if given is None else ", ".join(given)


def _entry(args: argparse.Namespace) -> dict[str, Any]:
    wish = {
        "servers": "*" if args.server == ["*"] else args.server,
        "tools": args.tool,
        "read_only": args.read_only or None,
        "prefix": args.prefix,
        "page_size": args.page_size,
        "instructions": _instructions(args.instructions_file),
    }
    return {member: value for member, value in wish.items() if value is not None}


def _instructions(file: str | None) -> str | None:
    """Raises Failed."""
    if file is None:
        return None
    most = 4 * INSTRUCTIONS_CHARS  # of UTF-8
    try:
        if file == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(file).open("rb") as source:
                data = source.read(most + 1)
        text = data.decode().strip()
    except OSError as exc:
        raise Failed(f"{file}: {exc.strerror}", USAGE) from exc
    except UnicodeDecodeError:
        raise Failed(f"{file} is not UTF-8 text", USAGE) from None
    if not text or len(text) > INSTRUCTIONS_CHARS:
        raise Failed(f"{file} must hold 1 to {INSTRUCTIONS_CHARS} characters", USAGE)
    return text


def _name(given: str) -> str:
    """Of a name or a path. Raises Failed."""
    found = _PATH.fullmatch(given)
    name = (found[1] or "") if found else given
    if not re.fullmatch(NAME["pattern"], name) or not given:
        text = "an endpoint's name has lower case letters, digits and '-', at most 40; its path is /NAME/mcp"
        raise Failed(f"{plain(given)!r}: {text}", USAGE)
    return name


def _at(name: str) -> str:
    return f"/endpoints/{segment(name or DEFAULT)}"


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""

    async def on_stores(stores: Stores) -> Any:
        store = SqliteRegistry(stores.database)
        registry = StoredEndpoints(where.config, store, await store.all(TENANT))
        try:
            return await offline(EndpointDesk(registry, None, stores.journal))
        except (Refused, Conflict) as exc:
            raise Failed(str(exc)) from exc

    return either(where, "mcp-hub endpoints", online, on_stores, writes=writes)


class StoredEndpoints:
    """`hub.admin.endpoints.Registry` without a hub: what is written is in force when the next one starts."""

    def __init__(self, base: Config, store: RegistryStore, rows: Sequence[RegistryRow]) -> None:
        self._base, self._store = base, store
        self._rows = {(row.kind, row.id): row for row in rows}
        # Only which servers there are is asked for: their entries may need what this environment does not have.
        added = [
            ServerSpec(row.id, "stdio", variant_of=row.body.get("variant_of")) for row in rows if row.kind == "server"
        ]
        self._servers = {spec.id: spec for spec in (*added, *base.servers)}

    @property
    def config(self) -> Config:
        endpoints, sources = dict(self._base.endpoints), dict(self._base.endpoint_sources)
        for row in self._rows.values():
            if row.kind == "endpoint" and sources.get(row.id) != "file":
                try:
                    endpoints[row.id] = self._read(row.id, row.body)
                except ConfigError:  # set aside, as the hub does
                    continue
                sources[row.id] = "database"
        return replace(self._base, servers=tuple(self._servers.values()), endpoints=endpoints, endpoint_sources=sources)

    def rows(self) -> tuple[RegistryRow, ...]:
        return tuple(self._rows.values())

    async def put_endpoint(self, name: str, entry: Json, who: str, expected: int | None) -> RegistryRow:
        self._read(name, entry)
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        before = self._rows.get(("endpoint", name))
        made, version = (before.created_at, before.version + 1) if before is not None else (now, 1)
        row = RegistryRow(TENANT, "endpoint", name, dict(entry), version, made, now, who)
        await self._store.put(row, expected)
        self._rows["endpoint", name] = row
        return row

    async def remove_endpoint(self, name: str, who: str, expected: int) -> None:
        await self._store.remove(TENANT, "endpoint", name, expected)
        del self._rows["endpoint", name]

    def _read(self, name: str, entry: Json) -> Endpoint:
        """Raises ConfigError."""
        faults: list[Fault] = []
        section = Section(Node(0, {path_of(name): as_node(entry)}), "endpoints", faults)
        made = read_endpoints(section, Parsed(servers=self._servers))
        if faults:
            raise ConfigError(tuple(replace(fault, line=None) for fault in faults))
        return made[name]
