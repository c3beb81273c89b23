"""The endpoint desk over a real live configuration, and a catalogue that offers what a test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hub.admin.endpoints import EndpointDesk, operations
from hub.assembly_live import Live
from hub.config import Config
from hub.core.call import Item, Kind
from hub.core.ports import Endpoint
from hub.downstream.likeness import Likeness
from hub.downstream.link import ServerSpec
from hub.stores.memory.registry import MemoryRegistry
from tests.admin.fakes import FakeJournal, Parts
from tests.downstream.test_likeness import a_tool

SERVERS = (
    ServerSpec("time", "stdio", trusted=True, provenance="file"),
    ServerSpec("wiki", "http", url="https://x.example/mcp", provenance="file"),
    ServerSpec("old", "stdio", enabled=False, provenance="file"),
)
FROM_FILE = Endpoint("clock", frozenset({"time"}), "none")


@dataclass
class FakeOffer:
    """What `time` and `wiki` list."""

    alike: tuple[Likeness, ...] = ()
    tools: list[Item] = field(
        default_factory=lambda: [
            replace(a_tool("time", "get_now", "Tells the time."), writes=False),
            a_tool("time", "set_now"),
            a_tool("wiki", "edit"),
            replace(a_tool("wiki", "swapped"), changed=True),
        ]
    )
    chosen: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def items(self, endpoint: str, kind: Kind) -> Sequence[Item]:
        servers = self.chosen.get(endpoint)
        shown = self.tools if kind == "tool" else [Item("prompt", "time", "time__p", "p", {}, {}, "s", writes=False)]
        return [item for item in shown if item.kind == kind and (servers is None or item.server in servers)]

    def likenesses(self, server: str) -> Sequence[Likeness]:
        return [each for each in self.alike if each.server == server]


@dataclass
class World:
    """A hub's configuration that changes, and the admin API over it."""

    path: Path
    journal: FakeJournal = field(default_factory=FakeJournal)
    offer: FakeOffer = field(default_factory=FakeOffer)
    store: MemoryRegistry = field(default_factory=MemoryRegistry)
    live: Live = field(init=False)

    def __post_init__(self) -> None:
        endpoints = {"": Endpoint(""), "clock": FROM_FILE}
        base = Config(self.path, servers=SERVERS, endpoints=endpoints, endpoint_sources={"clock": "file"})
        self.live = Live(base, self.store, self.journal, self._install, environ={}, secrets=lambda name: None)
        self.offer.chosen = {name: endpoint.servers for name, endpoint in endpoints.items()}

    async def _install(self, config: Config) -> None:
        self.offer.chosen = {name: endpoint.servers for name, endpoint in config.endpoints.items()}

    @property
    def desk(self) -> EndpointDesk:
        return EndpointDesk(self.live, self.offer, self.journal)

    def parts(self) -> Parts:
        return Parts(journal=self.journal, more=operations(self.desk))
