"""Endpoints: what each offers and costs to read, making and removing those that are no part of the file.

For the API, and for the command line without a hub.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from hub.admin import paging
from hub.admin.operation import LARGE_BODY, Answer, Asked, Operation, Refused, object_of
from hub.admin.schemas import COUNT, FLAG, TEXT, TEXTS, answered, or_null, rows_of
from hub.core.call import Item, Json, Kind
from hub.core.ports import Endpoint, Journal, RegistryRow
from hub.wire import jsonrpc
from policies.endpoint import refusal
from policies.globs import idle

if TYPE_CHECKING:
    from hub.downstream.likeness import Likeness
    from hub.downstream.link import ServerSpec

DEFAULT: Final = "-"  # what paths call the endpoint at /mcp; no endpoint's name begins so
BYTES_PER_TOKEN: Final = 4  # of English and JSON, roughly
MANY_TOKENS: Final = 20_000  # a tenth of a common context, before the first question
MOST_ALIKE: Final = 20
NAME: Final[Json] = {
    "type": "string",
    "pattern": "^([a-z0-9][a-z0-9-]{0,39})?$",
    "description": "NAME of /NAME/mcp, or empty: /mcp",
}
_ENTRY: Final[dict[str, Json]] = {
    "servers": {
        "anyOf": [{"const": "*"}, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 500}],
        "description": 'server ids, or "*" for all',
    },
    "tools": {
        "anyOf": [{"const": "*"}, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 500}],
        "description": "patterns over public tool names, such as time__get_*",
    },
    "read_only": {"type": "boolean", "description": "only tools that trusted servers call read-only"},
    "prefix": {"enum": ["server", "none"]},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 100_000},
    "instructions": {"type": "string", "minLength": 1, "maxLength": 32 * 1024},
}
_ONE: Final = "/endpoints/{name}"
_COUNTS: Final = answered({"tool": COUNT, "prompt": COUNT, "resource": COUNT, "template": COUNT})
_ROW: Final[dict[str, Json]] = {
    "name": TEXT,
    "path": TEXT,
    "sse": TEXT,
    "servers": or_null(TEXTS),
    "tools": or_null(TEXTS),
    "read_only": FLAG,
    "prefix": TEXT,
    "page_size": COUNT,
    "instructions": or_null(TEXT),
    "in_force": FLAG,
    "provenance": TEXT,
    "version": or_null(COUNT),
    "offered": or_null(_COUNTS),
    "hidden": or_null(COUNT),
    "schema_bytes": or_null(COUNT),
    "tokens": or_null(COUNT),
}
ROW: Final = answered(_ROW)
SHOWN: Final = answered({**_ROW, "warnings": TEXTS})


class Configured(Protocol):
    @property
    def endpoints(self) -> Mapping[str, Endpoint]: ...

    @property
    def endpoint_sources(self) -> Mapping[str, str]:
        """Where each comes from, by its name: the file, or the database."""

    @property
    def servers(self) -> Sequence[ServerSpec]: ...


class Registry(Protocol):
    """The running configuration. Raises ValueError in words for what no endpoint may be, and Conflict."""

    @property
    def config(self) -> Configured: ...

    def rows(self) -> Sequence[RegistryRow]: ...

    async def put_endpoint(self, name: str, entry: Json, who: str, expected: int | None) -> RegistryRow: ...

    async def remove_endpoint(self, name: str, who: str, expected: int) -> None: ...


class Offer(Protocol):
    """The catalogue, as endpoints show it."""

    def items(self, endpoint: str, kind: Kind) -> Sequence[Item]: ...

    def likenesses(self, server: str) -> Sequence[Likeness]: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """What clients of one endpoint read: its tools, and how many more wait for approval."""

    tools: tuple[Item, ...]
    hidden: int
    counts: Mapping[str, int]


class EndpointDesk:
    def __init__(self, registry: Registry, offer: Offer | None, journal: Journal) -> None:
        """Without `offer`, which only a running hub has, nothing is counted."""
        self._registry, self._offer, self._journal = registry, offer, journal

    async def rows(self) -> list[dict[str, Any]]:
        """Every endpoint, by path, and those set aside because something they need is gone."""
        endpoints = self._registry.config.endpoints
        found = {name: await self._row(endpoint) for name, endpoint in endpoints.items()}
        found |= {
            row.id: _aside(row) for row in self._registry.rows() if row.kind == "endpoint" and row.id not in found
        }
        return sorted(found.values(), key=lambda row: str(row["path"]))

    async def show(self, name: str) -> dict[str, Any]:
        """Raises Refused."""
        endpoint = self._registry.config.endpoints.get(name)
        if endpoint is None:
            return {
                **_aside(self.own(name)),
                "warnings": ["not in force: something it needs is gone; mcp-hub status says what"],
            }
        row = await self._row(endpoint)
        return {**row, "warnings": [] if self._offer is None else self._warnings(endpoint, self._offer, row)}

    async def add(self, who: str, name: str, entry: Json) -> dict[str, Any]:
        """ "" is the endpoint at /mcp, which stands in for the built-in one. Raises Refused; 409 when there is one."""
        if not re.fullmatch(NAME["pattern"], name):
            raise Refused(422, "invalid", "an endpoint's name has lower case letters, digits and '-', at most 40")
        if self._found(name) or name in self._registry.config.endpoint_sources:
            text = f"the endpoint {path_of(name)} is there already; replace it, or remove it first"
            raise Refused(409, "exists", text)
        await self._put(who, "endpoints.add", name, entry, None)
        return await self.show(name)

    async def replace(self, who: str, name: str, entry: Json, expected: int) -> dict[str, Any]:
        """Raises Refused, and Conflict when it is not of that version."""
        await self._put(who, "endpoints.replace", name, entry, self.own(name), expected)
        return await self.show(name)

    async def remove(self, who: str, name: str, expected: int) -> None:
        """Raises Refused and Conflict. Gone even where the log does not take it: that only narrows."""
        before = self.own(name)
        try:
            await self._registry.remove_endpoint(name, who, expected)
        except LookupError as exc:  # somebody was quicker
            raise _unknown(name) from exc
        detail = {"act": "endpoints.remove", "endpoint": name, "before": before.body, "after": None}
        await self._journal.event("admin", who, "done", None, detail)

    def own(self, name: str) -> RegistryRow:
        """What an admin made, with its version. Raises Refused for what the file has, and for what nobody has."""
        row = self._found(name)
        if row is None and self._registry.config.endpoint_sources.get(name) == "file":
            text = f"the endpoint {path_of(name)} is the configuration file's: change it there"
            raise Refused(409, "from_file", text)
        if row is None and not name:
            raise Refused(409, "built_in", "/mcp is as it comes with the hub; mcp-hub endpoints add /mcp makes another")
        if row is None:
            raise _unknown(name)
        return row

    async def _put(
        self, who: str, act: str, name: str, entry: Json, before: RegistryRow | None, expected: int | None = None
    ) -> None:
        """What cannot be logged is undone: nothing unlogged may widen what callers reach."""
        try:
            row = await self._registry.put_endpoint(name, entry, who, expected)
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc
        detail = {"act": act, "endpoint": name, "before": before and before.body, "after": row.body}
        try:
            await self._journal.event("admin", who, "done", None, detail)
        except Exception:
            if before is None:
                await self._registry.remove_endpoint(name, who, row.version)
            else:
                await self._registry.put_endpoint(name, before.body, who, row.version)
            raise

    def _found(self, name: str) -> RegistryRow | None:
        return next((row for row in self._registry.rows() if row.kind == "endpoint" and row.id == name), None)

    async def _row(self, endpoint: Endpoint) -> dict[str, Any]:
        read = None if self._offer is None else _read(endpoint, self._offer)
        size = None if read is None else await asyncio.to_thread(schema_bytes, read.tools)
        row = self._found(endpoint.name)
        given = None if endpoint.servers is None else sorted(endpoint.servers)
        return {
            "name": endpoint.name,
            "path": path_of(endpoint.name),
            "sse": path_of(endpoint.name, "sse"),
            "servers": given,
            "tools": None if endpoint.tools is None else list(endpoint.tools),
            "read_only": endpoint.read_only,
            "prefix": endpoint.prefix,
            "page_size": endpoint.page_size,
            "instructions": endpoint.instructions,
            "in_force": True,
            "provenance": self._registry.config.endpoint_sources.get(endpoint.name, "default"),
            "version": row.version if row else None,
            "offered": None if read is None else read.counts,
            "hidden": None if read is None else read.hidden,
            "schema_bytes": size,
            "tokens": None if size is None else size // BYTES_PER_TOKEN,
        }

    def _warnings(self, endpoint: Endpoint, offer: Offer, row: Mapping[str, Any]) -> list[str]:
        """What its maker may not have meant, and what its clients may trip over."""
        tools = offer.items(endpoint.name, "tool")
        found = [f"the pattern {glob} matches no tool" for glob in _idle(endpoint, tools)]
        chosen = [s for s in self._registry.config.servers if endpoint.servers is None or s.id in endpoint.servers]
        if endpoint.read_only:
            doubted = {item.server for item in tools} & {spec.id for spec in chosen if not spec.trusted}
            found += [
                f"{id} is not trusted, so none of its tools counts as read-only (trusted: true would believe it)"
                for id in sorted(doubted)
            ]
        found += [f"{spec.id} is disabled and offers nothing" for spec in chosen if not spec.enabled]
        if not row["offered"]["tool"]:
            found.append("no tool is offered here now")
        if row["hidden"]:
            found.append(f"{row['hidden']} changed definitions are hidden until they are approved")
        if row["tokens"] > MANY_TOKENS:
            found.append(f"clients read about {row['tokens']} tokens of tools before the first question; select fewer")
        return found + _alike(endpoint, offer, tools)


def operations(desk: EndpointDesk) -> tuple[Operation, ...]:
    return (*_reads(desk), *_writes(desk))


def _reads(desk: EndpointDesk) -> tuple[Operation, ...]:
    async def listed(asked: Asked) -> Answer:
        rows, cursor = paging.page(await desk.rows(), asked.query, lambda row: str(row["path"]))
        return Answer({"endpoints": rows, "next": cursor})

    async def show(asked: Asked) -> Answer:
        return _answer(await desk.show(_name(asked)))

    return (
        Operation(
            *("GET", "/endpoints", "endpoints.list", "every endpoint, and what reading its tools costs", listed),
            query=paging.QUERY,
            answer=answered({"endpoints": rows_of(ROW), "next": paging.NEXT}),
        ),
        Operation(*("GET", _ONE, "endpoints.show", "one endpoint (`-` is the one at /mcp)", show), answer=SHOWN),
    )


def _writes(desk: EndpointDesk) -> tuple[Operation, ...]:
    async def add(asked: Asked) -> Answer:
        entry = {member: value for member, value in asked.body.items() if member != "name"}
        return _answer(await desk.add(asked.who.name, asked.body["name"], entry))

    async def replace(asked: Asked) -> Answer:
        desk.own(_name(asked))  # whose it is comes before which version it is
        return _answer(await desk.replace(asked.who.name, _name(asked), asked.body, asked.version()))

    async def remove(asked: Asked) -> Answer:
        desk.own(_name(asked))
        await desk.remove(asked.who.name, _name(asked), asked.version())
        return Answer(status=204)

    return (
        Operation(
            *("POST", "/endpoints", "endpoints.add", "make an endpoint, effective at once", add),
            body=object_of({"name": NAME}, _ENTRY),
            answer=SHOWN,
            status=201,
            refusals=(409, 412),
            body_bytes=LARGE_BODY,
        ),
        Operation(
            *("PUT", _ONE, "endpoints.replace", "give an endpoint another selection", replace),
            body=object_of({}, _ENTRY),
            answer=SHOWN,
            refusals=(409,),
            versioned=True,
            body_bytes=LARGE_BODY,
        ),
        Operation(
            *("DELETE", _ONE, "endpoints.remove", "remove an endpoint", remove),
            status=204,
            refusals=(409,),
            versioned=True,
        ),
    )


def path_of(name: str, last: str = "mcp") -> str:
    return f"/{name}/{last}" if name else f"/{last}"


def schema_bytes(tools: Collection[Item]) -> int:
    """Of the definitions as clients of this endpoint read them, as JSON."""
    return sum(len(jsonrpc.dumps(item.shown)) for item in tools)


def _read(endpoint: Endpoint, offer: Offer) -> _Read:
    """By the same rule as the pipeline's gates; what one caller's key or the screening hides besides is not known."""
    chosen = [item for item in offer.items(endpoint.name, "tool") if refusal(endpoint, item) is None]
    tools = tuple(item for item in chosen if not item.changed)
    others: tuple[Kind, ...] = ("prompt", "resource", "template")
    counts: dict[str, int] = {
        kind: sum(not item.changed for item in offer.items(endpoint.name, kind)) for kind in others
    }
    return _Read(tools, len(chosen) - len(tools), {"tool": len(tools), **counts})


def _idle(endpoint: Endpoint, tools: Sequence[Item]) -> tuple[str, ...]:
    return idle(endpoint.tools or (), (item.name for item in tools))


def _alike(endpoint: Endpoint, offer: Offer, tools: Sequence[Item]) -> list[str]:
    """Tools that clients of this very endpoint could take for one another."""
    names = {item.name for item in tools if refusal(endpoint, item) is None}
    servers = sorted({item.server for item in tools})
    found = [
        likeness.text
        for server in servers
        for likeness in offer.likenesses(server)
        if likeness.item in names and likeness.other in names
    ]
    rest = len(found) - MOST_ALIKE
    return [*found[:MOST_ALIKE], f"and {rest} more tools that are like another"] if rest > 0 else found


def _name(asked: Asked) -> str:
    name = asked.path["name"]
    return "" if name == DEFAULT else name


def _aside(row: RegistryRow) -> dict[str, Any]:
    """What an admin made, while it is not in force."""
    given = {member: row.body.get(member) for member in ("servers", "tools", "instructions")}
    lists = {member: value if isinstance(value, list) else None for member, value in given.items()}
    return {
        "name": row.id,
        "path": path_of(row.id),
        "sse": path_of(row.id, "sse"),
        **lists,
        "read_only": row.body.get("read_only") is True,
        "prefix": row.body.get("prefix", "server"),
        "page_size": row.body.get("page_size", Endpoint("").page_size),
        "instructions": given["instructions"],
        "in_force": False,
        "provenance": "database",
        "version": row.version,
        **dict.fromkeys(("offered", "hidden", "schema_bytes", "tokens")),
    }


def _answer(shown: Mapping[str, Any]) -> Answer:
    version = shown["version"]
    return Answer(shown, etag=None if version is None else str(version))


def _unknown(name: str) -> Refused:
    return Refused(404, "not_found", f"no endpoint is called {name!r}; see mcp-hub endpoints list")
