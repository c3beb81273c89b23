"""What the operations on registered servers stand on: the real configuration, vault and desks, without a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.admin.registered import operations
from hub.admin.registering import RegisterDesk
from hub.admin.trying import TryDesk
from hub.assembly_live import Live
from hub.config import Config
from hub.core.call import Item, Json
from hub.downstream.link import Peer, ServerSpec
from hub.downstream.shelf import Lists, build
from hub.downstream.trial import Tried
from hub.identity.kek import KekFile
from hub.identity.vault import Vault
from hub.stores.memory.registry import MemoryRegistry
from hub.stores.memory.secrets import MemorySecrets
from tests.admin.asking import Api
from tests.admin.fakes import Parts, health

FILE_SERVER = ServerSpec("time", "stdio", command=("uvx", "mcp-server-time"), env={"TOKEN": "canary-of-file"})
TOOL = {
    "name": "read",
    "description": "Reads.",
    "inputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True, "title": "x"},
}


@dataclass
class FakeTrials:
    """Starts nothing, and says what a started server would have said."""

    state: str = "ready"
    stderr: tuple[str, ...] = ()
    fails: BaseException | None = None
    seen: list[tuple[str, Json, Mapping[str, str]]] = field(default_factory=list)

    async def run(self, id: str, entry: Json, values: Mapping[str, str]) -> Tried:
        self.seen.append((id, entry, values))
        if self.fails is not None:
            raise self.fails
        lists = Lists({"tool": (TOOL, {"name": "bad"}), "prompt": ({"name": "p"},)}, Peer("modern", "r", {}, {}))
        return Tried(health(id, self.state, stderr=self.stderr), build(ServerSpec(id, "stdio"), lists, {}))

    async def doubts(self, id: str, tools: Sequence[Item]) -> Sequence[str]:
        return [f"{tool.name} looks like another" for tool in tools]


@dataclass
class RegistryHub:
    folder: Path
    parts: Parts = field(default_factory=Parts)
    store: MemoryRegistry = field(default_factory=MemoryRegistry)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    trials: FakeTrials = field(default_factory=FakeTrials)
    installed: list[Config] = field(default_factory=list)

    async def open(self) -> RegistryHub:
        self.vault = Vault(self.secrets, KekFile(self.folder / "kek"))
        await self.vault.load()
        base = Config(self.folder, servers=(FILE_SERVER,))
        self.live = Live(base, self.store, self.parts.journal, self._install, environ={}, secrets=self.vault.get)
        await self.live.load()
        self.desk = RegisterDesk(self.live, self.vault, self.parts.journal)
        self.trying = TryDesk(self.desk, self.trials, self.parts.journal)
        return self

    async def _install(self, config: Config) -> None:
        self.installed.append(config)

    @property
    def api(self) -> Api:
        return Api(self.parts.ports(more=operations(self.desk, self.trying)))

    def spec(self, id: str) -> ServerSpec | None:
        """As it is in force."""
        return next((spec for spec in self.live.config.servers if spec.id == id), None)

    def acts(self) -> list[tuple[str, str, Any]]:
        return [(outcome, detail["act"], detail) for _, _, outcome, detail in self.parts.journal.events]

    async def everything_kept(self) -> str:
        """All that is stored, logged or shown, but for what the vault seals."""
        rows = [row.body for row in await self.store.all("local")]
        shown = [self.desk.show(row.id) for row in await self.store.all("local") if row.kind == "server"]
        return repr((rows, self.parts.journal.events, shown, self.live.config.servers))
