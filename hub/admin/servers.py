"""How each downstream stands, what changed about its items, and the approval of such a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from hub.admin import paging
from hub.admin.diffs import as_json, compare
from hub.admin.operation import Answer, Asked, Operation, Refused, object_of
from hub.admin.paste.secretive import masked_path
from hub.admin.ports import AdminPorts
from hub.admin.schemas import COUNT, FLAG, OBJECT, TEXT, TEXTS, answered, or_null, rows_of
from hub.core.call import Json
from hub.downstream.health import Health
from hub.downstream.link import ServerSpec
from hub.downstream.shelf import Changed

log = logging.getLogger(__name__)

SETTLE_S: Final = 3.0
PROBE_S: Final = 45.0  # longer than a connect and an initialize together may take

ROW: Final[Json] = answered(
    {
        "id": TEXT,
        "transport": TEXT,
        "target": TEXT,
        "provenance": TEXT,
        "state": TEXT,
        "reason": TEXT,
        "since": or_null(TEXT),
        "failures": COUNT,
        "restarts": COUNT,
        "era": or_null(TEXT),
        "revision": or_null(TEXT),
        "items": {"type": "object", "additionalProperties": COUNT},
        "stale": FLAG,
        "quarantined": COUNT,
        "waiting": COUNT,
        "warnings": COUNT,
    }
)
LIKENESS: Final = answered({"item": TEXT, "why": TEXT, "other": TEXT, "text": TEXT})
TESTED: Final[Json] = {
    "allOf": [
        ROW,
        answered(
            {"ok": FLAG, "noise": OBJECT, "stderr": TEXTS, "problems": rows_of(OBJECT), "likenesses": rows_of(LIKENESS)}
        ),
    ]
}
CHANGE: Final[Json] = answered(
    {"server": TEXT, "kind": TEXT, "item": TEXT, "native": TEXT, "sha256": TEXT, "new": {}, "diff": OBJECT}
)
_NAMES: Final[Json] = {"type": ["array", "null"], "items": TEXT}
_APPROVAL: Final[Json] = object_of(
    {},
    {
        "items": {**_NAMES, "description": "public or own names; all that waits without it"},
        "seen": {**_NAMES, "description": "only definitions with these hashes, as diff shows them"},
    },
)


def operations(ports: AdminPorts) -> tuple[Operation, ...]:
    desk = ServerDesk(ports)

    async def listed(asked: Asked) -> Answer:
        await ports.definitions.settled(None, SETTLE_S)  # who has just added a server wants to see what it has
        rows, cursor = paging.page(desk.rows(), asked.query, lambda row: str(row["id"]))
        return Answer({"servers": rows, "next": cursor})

    async def test(asked: Asked) -> Answer:
        return Answer(await desk.test(asked.path["id"]))

    async def diff(asked: Asked) -> Answer:
        return Answer({"changes": await desk.diff(asked.path["id"])})

    async def approve(asked: Asked) -> Answer:
        items, seen = asked.body.get("items"), asked.body.get("seen")
        return Answer({"approved": await desk.approve(asked.who.name, asked.path["id"], items, seen)})

    rows = answered({"servers": rows_of(ROW), "next": paging.NEXT})
    changes, approved = answered({"changes": rows_of(CHANGE)}), answered({"approved": TEXTS})
    here = "/servers/{id}"
    return (
        Operation(
            "GET", "/servers", "servers.list", "every server and its state", listed, query=paging.QUERY, answer=rows
        ),
        Operation("POST", f"{here}/test", "servers.test", "connect now and say how it went", test, answer=TESTED),
        Operation("GET", f"{here}/diff", "servers.diff", "definitions that wait for approval", diff, answer=changes),
        Operation(
            "POST",
            f"{here}/approve",
            "servers.approve",
            "make changed definitions the approved ones",
            approve,
            body=_APPROVAL,
            answer=approved,
            refusals=(409,),
        ),
    )


class ServerDesk:
    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports

    def rows(self) -> list[dict[str, Any]]:
        health = {each.server: each for each in self._ports.downstreams.health()}
        return [self._row(spec, health.get(id)) for id, spec in sorted(self._by_id().items())]

    async def test(self, server: str) -> dict[str, Any]:
        """Connect now and tell everything an operator needs. Raises Refused."""
        spec = self._spec(server)
        if not spec.enabled:
            health = next((each for each in self._ports.downstreams.health() if each.server == server), None)
        else:
            health = await self._ports.downstreams.probe(server, PROBE_S)
        status = self._ports.definitions.status(server)
        await self._ports.definitions.compared()
        return {
            **self._row(spec, health),
            "ok": health is not None and health.state == "ready",
            "noise": dict(health.noise or {}) if health is not None else {},
            "stderr": list(health.stderr) if health is not None else [],
            "problems": [
                {"kind": each.kind, "item": each.item, "text": each.text}
                for each in (status.problems if status else ())
            ],
            "likenesses": [each.as_json() for each in self._ports.definitions.likenesses(server)],
        }

    async def diff(self, server: str) -> list[dict[str, Any]]:
        """Raises Refused."""
        self._spec(server)
        waiting = self._ports.definitions.pending(server)
        return await asyncio.to_thread(lambda: [_changed(each) for each in waiting])  # texts may be long

    async def approve(
        self, who: str, server: str, items: Collection[str] | None, seen: Collection[str] | None
    ) -> list[str]:
        """Approve what waits; the public names of what was approved. Raises Refused.

        Logged before it is done, because it widens what callers reach; a failure is logged behind it.
        """
        self._spec(server)
        waiting = [
            each
            for each in self._ports.definitions.pending(server)
            if (items is None or each.native in items or each.public in items) and (seen is None or each.sha256 in seen)
        ]
        if not waiting:
            raise Refused(409, "nothing_waits", f"no such change of {server!r} waits for approval")
        natives = {each.native for each in waiting}
        detail = {"act": "servers.approve", "server": server, "after": _summary(waiting)}
        await self._ports.journal.event("admin", who, "done", None, detail)
        try:
            done = await self._ports.definitions.approve(server, natives, seen={each.sha256 for each in waiting})
        except Exception:
            await self._ports.journal.event("admin", who, "error", None, detail)
            raise
        return sorted({each.public for each in waiting if each.native in done})

    def _by_id(self) -> dict[str, ServerSpec]:
        return {spec.id: spec for spec in self._ports.specs()}

    def _spec(self, server: str) -> ServerSpec:
        found = self._by_id().get(server)
        if found is None:
            raise Refused(404, "not_found", f"no server is called {server!r}; see mcp-hub servers list")
        return found

    def _row(self, spec: ServerSpec, health: Health | None) -> dict[str, Any]:
        peer = health.peer if health is not None else None
        status = self._ports.definitions.status(spec.id)
        return {
            "id": spec.id,
            "transport": spec.transport,
            "target": target(spec),
            "provenance": spec.provenance,
            "variant_of": spec.variant_of,
            "pins": spec.pins,
            "state": health.state if health is not None else "disabled",
            "reason": health.reason if health is not None else "",
            "since": _time(health.since) if health is not None else None,
            "retry_in_s": health.retry_in_s if health is not None else None,
            "failures": health.failures if health is not None else 0,
            "restarts": health.restarts if health is not None else 0,
            "era": peer.era if peer is not None else None,
            "revision": peer.revision if peer is not None else None,
            "items": dict(status.counts) if status is not None else {},
            "stale": status.stale if status is not None else False,
            "quarantined": len(status.problems) if status is not None else 0,
            "waiting": status.waiting if status is not None else 0,
            "warnings": len(self._ports.definitions.likenesses(spec.id)),
        }


def target(spec: ServerSpec) -> str:
    """Where it is, without arguments, query or anything else that may be secret."""
    if spec.transport == "stdio":
        return spec.command[0] if spec.command else ""
    if spec.transport == "inprocess":
        return spec.connector
    parts = urlsplit(spec.url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{masked_path(parts.path)}"


def _changed(each: Changed) -> dict[str, Any]:
    return {
        "server": each.server,
        "kind": each.kind,
        "item": each.public,
        "native": each.native,
        "sha256": each.sha256,
        "old": each.old,
        "new": each.new,
        "diff": as_json(compare(each.old, each.new)),
    }


def _summary(waiting: Sequence[Changed]) -> list[dict[str, str]]:
    """For the log: which definitions, by their hashes; the definitions themselves are the server's words."""
    return [{"kind": each.kind, "item": each.public, "sha256": each.sha256} for each in waiting]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
