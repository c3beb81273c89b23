"""The parts behind the admin API, each as small as its port."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hub.admin.operation import Operation
from hub.admin.ports import AdminPorts
from hub.core.call import Json
from hub.core.ports import EventKind
from hub.downstream.catalog import ListStatus
from hub.downstream.health import Health
from hub.downstream.likeness import Likeness
from hub.downstream.link import Peer, ServerSpec
from hub.downstream.shelf import Changed, Problem
from hub.identity.keys import Keys
from hub.stores.memory.keys import MemoryKeys

STARTED = "2026-01-01T00:00:00Z"
SPECS = (
    ServerSpec("time", "stdio", command=("/usr/bin/uvx", "--token=s3cret")),
    ServerSpec("wiki", "http", url="https://u.example.com:8443/mcp?key=s3cret"),
    ServerSpec("sandbox", "inprocess", connector="sandbox", provenance="builtin"),
    ServerSpec("old", "sse", url="http://h/sse", enabled=False),
    ServerSpec("time-canary", "stdio", variant_of="time"),
)


@dataclass
class FakeJournal:
    events: list[tuple[str, str, str, Json]] = field(default_factory=list)
    broken: bool = False

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        if self.broken:
            raise OSError("disk full: s3cret path")
        self.events.append((kind, who, outcome, detail))
        return f"call-{len(self.events)}"


@dataclass
class FakePool:
    states: dict[str, Health] = field(default_factory=dict)
    probed: list[tuple[str, float]] = field(default_factory=list)

    def health(self) -> tuple[Health, ...]:
        return tuple(self.states.values())

    async def probe(self, server: str, timeout_s: float) -> Health:
        self.probed.append((server, timeout_s))
        return self.states[server]


@dataclass
class FakeCatalogue:
    changes: tuple[Changed, ...] = ()
    broken: bool = False
    alike: tuple[Likeness, ...] = ()

    def likenesses(self, server: str) -> tuple[Likeness, ...]:
        return tuple(each for each in self.alike if each.server == server)

    async def settled(self, endpoint: str | None, timeout_s: float) -> None:
        return None

    async def compared(self) -> None:
        return None

    def status(self, server: str) -> ListStatus | None:
        if server == "time-canary":
            return None
        problems = (Problem("tool", "bad", "inputSchema is no object"),) if server == "time" else ()
        return ListStatus(server, {"tool": 2, "prompt": 0}, False, None, problems, len(self.pending(server)))

    def pending(self, server: str | None = None) -> tuple[Changed, ...]:
        return tuple(change for change in self.changes if server in (None, change.server))

    async def approve(
        self, server: str, natives: Collection[str] | None = None, *, seen: Collection[str] | None = None
    ) -> tuple[str, ...]:
        if self.broken:
            raise OSError("the store is gone")
        done = [c for c in self.pending(server) if natives is None or c.native in natives]
        self.changes = tuple(change for change in self.changes if change not in done)
        return tuple(change.native for change in done)


@dataclass
class FakeLog:
    entries: list[Mapping[str, Any]] = field(default_factory=list)

    def tail(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return self.entries[-limit:] if limit else []

    def after(self, seq: int, limit: int) -> Sequence[Mapping[str, Any]]:
        return [entry for entry in self.entries if entry["seq"] > seq][:limit]

    def of_call(self, call: str) -> Sequence[Mapping[str, Any]]:
        return [entry for entry in self.entries if entry["call"] == call]


@dataclass
class Parts:
    """Everything one test may look at or break."""

    journal: FakeJournal = field(default_factory=FakeJournal)
    pool: FakePool = field(default_factory=FakePool)
    catalogue: FakeCatalogue = field(default_factory=FakeCatalogue)
    log: FakeLog = field(default_factory=FakeLog)
    keys: Keys = field(default_factory=lambda: Keys(MemoryKeys()))
    ready: bool = True
    more: tuple[Operation, ...] = ()  # of the resources that have ports of their own

    def ports(self, **changes: Any) -> AdminPorts:
        made = AdminPorts(
            version="1.2.3",
            started_at=STARTED,
            ready=lambda: self.ready,
            specs=lambda: SPECS,
            downstreams=self.pool,
            definitions=self.catalogue,
            keys=self.keys,
            log=self.log,
            journal=self.journal,
            metrics=lambda: (b"mcp_up 1\n", "text/plain; version=1.0.0"),
            metrics_open=True,
            more=self.more,
        )
        return replace(made, **changes)


def health(server: str, state: Any = "ready", **more: Any) -> Health:
    peer = Peer("modern", "2026-07-28", {}, {"name": server})
    return replace(Health(server, state, "" if state == "ready" else f"{state}: look", 1.0, peer), **more)


def changed(server: str, native: str, sha256: str = "a" * 64) -> Changed:
    return Changed(server, "tool", native, f"{server}__{native}", {"name": native}, {"name": native, "v": 2}, sha256)
