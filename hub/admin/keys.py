"""Making, listing, rotating and revoking keys, and the log's word of it.

For the API, and for the command line without a hub.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hub.admin import paging
from hub.admin.operation import Answer, Asked, Operation, Refused, object_of
from hub.admin.ports import AdminPorts, KeyRing
from hub.admin.schemas import FLAG, TEXT, TEXTS, answered, or_null, rows_of
from hub.core.call import Json
from hub.core.ports import Journal, KeyRow
from hub.identity.keys import MAX_GRANTS, MAX_OVERLAP, SCOPES, UnknownKey, parse_expiry
from hub.identity.tending import EXPIRES_SOON

_SCOPES: Final[Json] = {"type": "array", "minItems": 1, "items": {"enum": sorted(SCOPES)}}
_SERVERS: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_GRANTS,
    "items": {"type": "string", "pattern": r"^([a-z][a-z0-9-]{0,23}|\*)$"},
    "description": "server ids, or '*' for all",
}
_TOOLS: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_GRANTS,
    "items": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    "description": "patterns over public tool names",
}
_TIME: Final[Json] = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,4}[dhm]$",
    "description": "such as 30d, 12h or 90m",
}
OVERLAP: Final = "24h"  # of a key and its successor: a day to tell everybody
_NAME: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9._-]{1,64}$",
    "description": "letters, digits, '.', '_' and '-', at most 64",
}
WISH: Final = object_of(
    {"name": _NAME},
    {
        "scopes": _SCOPES,
        "servers": _SERVERS,
        "tools": _TOOLS,
        "expires": _TIME,
    },
)
_SHOWN: Final[dict[str, Json]] = {
    "id": TEXT,
    "name": TEXT,
    "scopes": TEXTS,
    "servers": or_null(TEXTS),
    "tools": or_null(TEXTS),
    "created_at": TEXT,
    "expires_at": or_null(TEXT),
    "revoked_at": or_null(TEXT),
    "last_used_at": or_null(TEXT),
    "replaced_by": or_null(TEXT),
}
ROW: Final = answered({**_SHOWN, "state": TEXT, "expires_soon": FLAG})
REVOKED: Final = answered({**_SHOWN, "also_revoked": TEXTS})
NEW_KEY: Final = answered({**_SHOWN, "key": TEXT, "warnings": TEXTS})
ROTATED: Final = answered({**_SHOWN, "key": TEXT, "replaces": answered(_SHOWN)})


def operations(ports: AdminPorts) -> tuple[Operation, ...]:
    def desk() -> KeyDesk:
        return KeyDesk(ports.keys, ports.journal, tuple(spec.id for spec in ports.specs()))

    async def listed(asked: Asked) -> Answer:
        rows, cursor = paging.page(desk().rows(), asked.query, lambda row: f"{row['created_at']} {row['id']}")
        return Answer({"keys": rows, "next": cursor})

    async def create(asked: Asked) -> Answer:
        try:
            return Answer(await desk().create(asked.who.name, asked.body))
        except ValueError as exc:  # what the schema cannot know: the name is taken
            raise Refused(409, "conflict", str(exc)) from exc

    async def revoke(asked: Asked) -> Answer:
        try:
            return Answer(await desk().revoke(asked.who.name, asked.path["id"]))
        except UnknownKey as exc:
            raise Refused(404, "not_found", str(exc)) from exc

    rows = answered({"keys": rows_of(ROW), "next": paging.NEXT})
    summary = "a new key, shown this once"
    return (
        Operation(
            "GET", "/keys", "keys.list", "every key ever made, oldest first", listed, query=paging.QUERY, answer=rows
        ),
        Operation("POST", "/keys", "keys.create", summary, create, body=WISH, answer=NEW_KEY, refusals=(409,)),
        _rotation(desk),
        Operation("DELETE", "/keys/{id}", "keys.revoke", "make a key worthless at once", revoke, answer=REVOKED),
    )


def _rotation(desk: Callable[[], KeyDesk]) -> Operation:
    async def rotate(asked: Asked) -> Answer:
        try:
            overlap = parse_overlap(asked.body.get("overlap", OVERLAP))
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc
        try:
            return Answer(await desk().rotate(asked.who.name, asked.path["id"], overlap, asked.body.get("expires")))
        except UnknownKey as exc:
            raise Refused(404, "not_found", str(exc)) from exc
        except ValueError as exc:
            raise Refused(409, "conflict", str(exc)) from exc

    wish = object_of({}, {"overlap": {**_TIME, "description": f"{OVERLAP} without it"}, "expires": _TIME})
    summary = "a successor with the same grants, shown this once"
    return Operation(
        *("POST", "/keys/{id}/rotate", "keys.rotate", summary, rotate), body=wish, answer=ROTATED, refusals=(409,)
    )


class KeyDesk:
    def __init__(self, keys: KeyRing, journal: Journal, servers: Collection[str]) -> None:
        """`servers`: the ids that exist, to warn of others."""
        self._keys, self._journal, self._servers = keys, journal, servers

    def rows(self) -> list[dict[str, Any]]:
        now, soon = datetime.now(UTC), {row.id for row in self._keys.expiring(EXPIRES_SOON)}
        return [{**shown(row), "state": _state(row, now), "expires_soon": row.id in soon} for row in self._keys.rows()]

    async def create(self, who: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """The new key, shown this once. Raises ValueError in words. A key that cannot be logged is revoked again."""
        name, scopes = wish.get("name"), _texts(wish, "scopes") or ("mcp",)
        servers, tools, expires = _texts(wish, "servers"), _texts(wish, "tools"), wish.get("expires")
        unknown = sorted(set(wish) - {"name", "scopes", "servers", "tools", "expires"})
        if unknown:
            raise ValueError(f"unknown member {unknown[0]!r}: a key has name, scopes, servers, tools, expires")
        if not isinstance(name, str):
            raise ValueError("a key needs a name")
        if expires is not None and not isinstance(expires, str):
            raise ValueError("expires must be a text such as 30d, 12h or 90m")
        row, key = await self._keys.create(
            name, scopes, servers, tools, parse_expiry(expires) if expires is not None else None
        )
        try:
            await self._journal.event("admin", who, "done", None, {"act": "keys.create", "after": shown(row)})
        except Exception:  # whatever failed: what is not in the log must not be usable
            await self._keys.revoke(row.id)
            raise
        return {**shown(row), "key": key, "warnings": list(self.warnings(row))}

    async def rotate(self, who: str, id_or_name: str, overlap: timedelta, expires: str | None = None) -> dict[str, Any]:
        """The successor, shown this once. Raises UnknownKey, and ValueError in words.

        One that cannot be logged is revoked again: the old key then ends with the overlap, unless it is rotated anew.
        """
        old, new, key = await self._keys.rotate(
            id_or_name, overlap, parse_expiry(expires) if expires is not None else None
        )
        detail = {"act": "keys.rotate", "before": shown(old), "after": shown(new)}
        try:
            await self._journal.event("admin", who, "done", None, detail)
        except Exception:  # as for a new one
            await self._keys.revoke(new.id)
            raise
        return {**shown(new), "key": key, "replaces": shown(old)}

    async def revoke(self, who: str, id_or_name: str) -> dict[str, Any]:
        """Raises UnknownKey. Revoked even where the log does not take it: that only narrows.

        A name is every key of this name that is still good: one that was rotated and its successor.
        """
        gone = [await self._keys.revoke(row.id) for row in self._keys.meant(id_or_name)]
        for row in gone:
            detail = {"act": "keys.revoke", "before": shown(replace(row, revoked_at=None)), "after": shown(row)}
            await self._journal.event("admin", who, "done", None, detail)
        return {**shown(gone[0]), "also_revoked": [row.id for row in gone[1:]]}

    def warnings(self, row: KeyRow) -> tuple[str, ...]:
        """What its maker may not have meant."""
        found = []
        if "mcp" in row.scopes and row.servers is None and row.tools is None:
            found.append("this key sees nothing: give it --server ID, --server '*' or --tool GLOB")
        if "mcp" not in row.scopes and (row.servers is not None or row.tools is not None):
            found.append("without the scope mcp its servers and tools mean nothing")
        for server in sorted(set(row.servers or ()) - set(self._servers) - {"*"}):
            found.append(f"no server is called {server!r}")
        return tuple(found)


def shown(row: KeyRow) -> dict[str, Any]:
    """A key as people read it; the hash stays inside."""
    return {
        "id": row.id,
        "name": row.name,
        "scopes": list(row.scopes),
        "servers": None if row.servers is None else list(row.servers),
        "tools": None if row.tools is None else list(row.tools),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
        "replaced_by": row.replaced_by,
    }


def parse_overlap(text: str) -> timedelta:
    """Raises ValueError, in words."""
    overlap = parse_expiry(text)
    if overlap > MAX_OVERLAP:
        raise ValueError(f"an overlap is at most {MAX_OVERLAP.days}d; to end the old key at once, revoke it")
    return overlap


def _state(row: KeyRow, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and datetime.fromisoformat(row.expires_at) <= now:
        return "expired"
    return "live"


def _texts(wish: Mapping[str, Any], member: str) -> tuple[str, ...] | None:
    given = wish.get(member)
    if given is None:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text for text in given):
        raise ValueError(f"{member} must be a list of texts, or be left out")
    return tuple(given)
