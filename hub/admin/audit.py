"""The audit log as the API reads it: from its end, from a place, by call. Reading only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.admin.operation import READERS, Answer, Asked, Operation, Refused
from hub.admin.paging import CURSOR, LIMIT, NEXT
from hub.admin.ports import AdminPorts, LogReader
from hub.admin.schemas import OBJECT, answered, rows_of
from hub.core.call import Json

DEFAULT: Final = 100
_CURSOR: Final = "^(older|later):[0-9]{1,15}$"
_SEQ: Final[Json] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 10**15 - 1,
    "description": "tell what came behind this entry, oldest first",
}

Entries = Sequence[Mapping[str, Any]]


def operations(ports: AdminPorts) -> tuple[Operation, ...]:
    log = ports.log

    async def tail(asked: Asked) -> Answer:
        query = asked.query
        entries, cursor = await asyncio.to_thread(_page, log, query)
        return Answer({"entries": list(entries), "next": cursor})

    async def of_call(asked: Asked) -> Answer:
        entries = list(await asyncio.to_thread(log.of_call, asked.path["call"]))
        if not entries:
            raise Refused(404, "not_found", "no entry has this call id")
        return Answer({"entries": entries})

    rows = {"entries": rows_of(OBJECT)}
    query = {"limit": {**LIMIT, "default": DEFAULT}, "cursor": {**CURSOR, "pattern": _CURSOR}, "after": _SEQ}
    summary = "the newest entries, and by `next` older ones; with `after` those behind it, and by `next` later ones"
    return (
        Operation(
            "GET", "/audit", "audit.read", summary, tail, READERS, query=query, answer=answered({**rows, "next": NEXT})
        ),
        Operation(
            "GET", "/audit/{call}", "audit.call", "every entry of one call", of_call, READERS, answer=answered(rows)
        ),
    )


def _page(log: LogReader, query: Mapping[str, Any]) -> tuple[Entries, str | None]:
    """Entries, always oldest first, and the cursor of the page that goes on in the same direction."""
    limit, cursor, after = query.get("limit", DEFAULT), query.get("cursor"), query.get("after")
    if cursor is None:
        cursor = "" if after is None else f"later:{after}"
    way, _, seq = cursor.partition(":")  # it fits its pattern
    if way == "later":
        entries = log.after(int(seq), limit)
        return entries, f"later:{entries[-1]['seq']}" if len(entries) == limit else None
    if way == "older":
        entries = log.after(max(0, int(seq) - 1 - limit), limit)
        entries = [entry for entry in entries if entry["seq"] < int(seq)]
    else:
        entries = log.tail(limit)
    first = entries[0]["seq"] if entries else 1
    return entries, f"older:{first}" if first > 1 else None
