"""A dry run: what a server would offer, before anything is stored. It is started by the same rules as every server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from hub.admin.operation import Refused
from hub.admin.paste.drafts import Draft
from hub.admin.registering import Paste, RegisterDesk, Taken
from hub.core.call import Item, Json, Kind
from hub.core.ports import Journal
from hub.wire import jsonrpc

if TYPE_CHECKING:
    from hub.downstream.trial import Tried

MOST: Final = 10  # servers of one dry run
AT_ONCE: Final = 4  # of all dry runs together: each may be a package being fetched and started
LIMIT_S: Final = 90.0
BUSY_S: Final = 30.0
DESCRIPTION_CHARS: Final = 400
_HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_OTHERS: Final[tuple[Kind, ...]] = ("prompt", "resource", "template")


class Trials(Protocol):
    async def run(self, id: str, entry: Json, values: Mapping[str, str]) -> Tried:
        """Start it, list what it offers, end it. Raises ValueError in words for what cannot be started."""

    async def doubts(self, id: str, tools: Sequence[Item]) -> Sequence[str]: ...


class TryDesk:
    def __init__(self, desk: RegisterDesk, trials: Trials, journal: Journal) -> None:
        self._desk, self._trials, self._journal = desk, trials, journal
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def try_out(self, who: str, paste: Paste) -> list[dict[str, Any]]:
        """One row per server of the paste. Logged before anything is started. Raises Refused."""
        drafts = await self._desk.drafts(paste)
        if len(drafts) > MOST:
            raise Refused(
                422, "too_many", f"a dry run takes at most {MOST} servers at once; this paste has {len(drafts)}"
            )
        ready = [draft for draft in drafts if draft.fault is None and not draft.needs]
        if ready:
            shown = [{"server": draft.id, "entry": dict(draft.entry)} for draft in ready]
            await self._journal.event("admin", who, "done", None, {"act": "servers.try", "servers": shown})
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(draft)) for draft in drafts]
        return [task.result() for task in tasks]

    async def _one(self, draft: Draft) -> dict[str, Any]:
        if draft.fault is not None:
            return _failed(Taken(draft, "refused", draft.fault))
        if draft.needs:
            names = ", ".join(each.name for each in draft.needs)
            return _failed(Taken(draft, "incomplete", f"it needs {names}"))
        try:
            async with asyncio.timeout(BUSY_S):
                await self._turn.acquire()
        except TimeoutError:
            return _failed(Taken(draft, "failed", "other dry runs take their time; try again in a minute"))
        try:
            async with asyncio.timeout(LIMIT_S):
                tried = await self._trials.run(draft.id, draft.entry, draft.secrets)
        except TimeoutError:
            return _failed(Taken(draft, "failed", f"it was not done within {LIMIT_S:g} s"))
        except ValueError as exc:
            return _failed(Taken(draft, "refused", str(exc)))
        finally:
            self._turn.release()
        tools = tried.items("tool")
        doubts = await self._trials.doubts(draft.id, tools)
        found: dict[str, Any] = _without(_shown(draft, tried, doubts), self._desk.values_of(draft))
        return found


def _failed(taken: Taken) -> dict[str, Any]:
    return {**taken.shown(), **_outcome(None), "tools": [], "items": {}, "schema_bytes": 0}


def _shown(draft: Draft, tried: Tried, doubts: Sequence[str]) -> dict[str, Any]:
    health, tools = tried.health, tried.items("tool")
    works = health.state == "ready"
    taken = Taken(draft, "works" if works else "failed", None if works else health.reason)
    rows = [_tool(item) for item in tools]
    problems = [f"not shown: {each.kind} {each.item}: {each.text}" for each in tried.shelf.problems]
    counts = {"tool": len(tools), **{kind: len(tried.items(kind)) for kind in _OTHERS}}
    size = sum(row["bytes"] for row in rows)
    row = {**taken.shown(), **_outcome(tried), "tools": rows, "items": counts, "schema_bytes": size}
    row["warnings"] = [*row["warnings"], *problems, *doubts]
    return row


def _outcome(tried: Tried | None) -> dict[str, Any]:
    peer = tried.health.peer if tried is not None else None
    return {
        "era": peer.era if peer is not None else None,
        "revision": peer.revision if peer is not None else None,
        "stderr": list(tried.health.stderr) if tried is not None else [],
    }


def _tool(item: Item) -> dict[str, Any]:
    annotations, description = item.definition.get("annotations"), item.definition.get("description")
    hints = annotations if isinstance(annotations, Mapping) else {}
    return {
        "name": item.name,
        "description": description[:DESCRIPTION_CHARS] if isinstance(description, str) else "",
        "hints": {hint: hints[hint] for hint in _HINTS if isinstance(hints.get(hint), bool)},
        "bytes": len(jsonrpc.dumps(item.shown)),
        "sha256": item.sha256,
    }


def _without(value: Any, hidden: frozenset[str]) -> Any:
    """A server may well print the secret it was given; nobody reads it here."""
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, list):
        return [_without(item, hidden) for item in value]
    if isinstance(value, dict):
        return {key: _without(item, hidden) for key, item in value.items()}
    return value
