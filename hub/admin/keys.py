"""Making, listing and revoking keys, and the log's word of it: for the API, and for the command line without a hub."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hub.admin.ports import KeyRing
from hub.core.ports import Journal, KeyRow
from hub.identity.keys import parse_expiry


class KeyDesk:
    def __init__(self, keys: KeyRing, journal: Journal, servers: Collection[str]) -> None:
        """`servers`: the ids that exist, to warn of others."""
        self._keys, self._journal, self._servers = keys, journal, servers

    def rows(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        return [{**shown(row), "state": _state(row, now)} for row in self._keys.rows()]

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

    async def revoke(self, who: str, id_or_name: str) -> dict[str, Any]:
        """Raises UnknownKey. Revoked even where the log does not take it: that only narrows."""
        gone = await self._keys.revoke(id_or_name)
        detail = {"act": "keys.revoke", "before": shown(replace(gone, revoked_at=None)), "after": shown(gone)}
        await self._journal.event("admin", who, "done", None, detail)
        return shown(gone)

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
    }


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
