"""How each downstream stands, what changed about its items, and the approval of such a change."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from hub.admin.ports import AdminPorts
from hub.downstream.health import Health
from hub.downstream.link import ServerSpec
from hub.downstream.shelf import Changed

log = logging.getLogger(__name__)

PROBE_S: Final = 45.0  # longer than a connect and an initialize together may take


class NoSuchServer(LookupError):
    """No server of that id is configured."""


class NothingWaits(LookupError):
    """None of the named items has a change that waits for approval."""


class ServerDesk:
    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._specs = {spec.id: spec for spec in ports.specs}

    def rows(self) -> list[dict[str, Any]]:
        health = {each.server: each for each in self._ports.downstreams.health()}
        return [self._row(spec, health.get(id)) for id, spec in sorted(self._specs.items())]

    async def test(self, server: str) -> dict[str, Any]:
        """Connect now and tell everything an operator needs. Raises NoSuchServer."""
        spec = self._spec(server)
        if not spec.enabled:
            health = next((each for each in self._ports.downstreams.health() if each.server == server), None)
        else:
            health = await self._ports.downstreams.probe(server, PROBE_S)
        status = self._ports.definitions.status(server)
        return {
            **self._row(spec, health),
            "ok": health is not None and health.state == "ready",
            "noise": dict(health.noise or {}) if health is not None else {},
            "stderr": list(health.stderr) if health is not None else [],
            "problems": [
                {"kind": each.kind, "item": each.item, "text": each.text}
                for each in (status.problems if status else ())
            ],
        }

    def diff(self, server: str) -> list[dict[str, Any]]:
        """Raises NoSuchServer."""
        self._spec(server)
        return [_changed(each) for each in self._ports.definitions.pending(server)]

    async def approve(
        self, who: str, server: str, items: Collection[str] | None, seen: Collection[str] | None
    ) -> list[str]:
        """Approve what waits; the public names of what was approved. Raises NoSuchServer, NothingWaits.

        Logged before it is done, because it widens what callers reach; a failure is logged behind it.
        """
        self._spec(server)
        waiting = [
            each
            for each in self._ports.definitions.pending(server)
            if (items is None or each.native in items or each.public in items) and (seen is None or each.sha256 in seen)
        ]
        if not waiting:
            raise NothingWaits(server)
        natives = {each.native for each in waiting}
        detail = {"act": "servers.approve", "server": server, "after": _summary(waiting)}
        await self._ports.journal.event("admin", who, "done", None, detail)
        try:
            done = await self._ports.definitions.approve(server, natives, seen={each.sha256 for each in waiting})
        except Exception:
            await self._ports.journal.event("admin", who, "error", None, detail)
            raise
        return sorted({each.public for each in waiting if each.native in done})

    def _spec(self, server: str) -> ServerSpec:
        found = self._specs.get(server)
        if found is None:
            raise NoSuchServer(server)
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
        }


def target(spec: ServerSpec) -> str:
    """Where it is, without arguments, query or anything else that may be secret."""
    if spec.transport == "stdio":
        return spec.command[0] if spec.command else ""
    if spec.transport == "inprocess":
        return spec.connector
    parts = urlsplit(spec.url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _changed(each: Changed) -> dict[str, Any]:
    return {
        "server": each.server,
        "kind": each.kind,
        "item": each.public,
        "native": each.native,
        "sha256": each.sha256,
        "old": each.old,
        "new": each.new,
    }


def _summary(waiting: Sequence[Changed]) -> list[dict[str, str]]:
    """For the log: which definitions, by their hashes; the definitions themselves are the server's words."""
    return [{"kind": each.kind, "item": each.public, "sha256": each.sha256} for each in waiting]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
