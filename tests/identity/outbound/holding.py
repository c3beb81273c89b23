"""Hubs that hold connections to one rotating issuer, with clocks that only tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hub.core.connections import ConnectionRow, ConnectionStore
from hub.identity.outbound.book import Changed, Clocks
from hub.identity.outbound.held import NeedsLogin, NotNow
from hub.identity.outbound.refresher import Connections
from hub.identity.sealer import KeySealer
from hub.stores.memory.connections import MemoryConnections
from tests.identity.outbound.rotating import LIFE_S, RESOURCE, Issuer, OverHttp, Times, granted

KEY = b"k" * 32
WAIT_S = 5.0
SEALER = KeySealer(KEY)


@dataclass
class World:
    issuer: Issuer
    store: ConnectionStore = field(default_factory=MemoryConnections)
    times: Times = field(default_factory=Times)
    changes: list[Changed] = field(default_factory=list)
    hubs: list[Connections] = field(default_factory=list)

    async def hub(self, store: ConnectionStore | None = None, **more: Any) -> Connections:
        clocks = Clocks(self.times.wall, self.times.steady)
        made = Connections(store or self.store, SEALER, OverHttp(self.issuer.url), clocks, **more)
        await made.load()
        made.watch(self.changes.append)
        self.hubs.append(made)
        return made

    async def log_in(self, connections: Connections, user: str = "ann", **more: Any) -> ConnectionRow:
        return await connections.keep(granted(self.issuer.url, user, self.issuer.log_in(user), **more))

    def end_tokens(self) -> None:
        self.times.pass_by(LIFE_S)

    def near_end(self) -> None:
        self.times.pass_by(0.85 * LIFE_S)

    def told(self) -> list[str]:
        return [change.what for change in self.changes]


@asynccontextmanager
async def a_world(**more: Any) -> AsyncIterator[World]:
    async with Issuer(**more) as issuer:
        world = World(issuer)
        try:
            yield world
        finally:
            for hub in world.hubs:
                await hub.aclose()


async def ask(connections: Connections, user: str = "ann") -> str | NeedsLogin | NotNow:
    async with asyncio.timeout(WAIT_S):
        return await connections.token("wiki", user, RESOURCE)


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not claim():
            await asyncio.sleep(0)


async def shared_with(store: ConnectionStore, row: ConnectionRow, **more: Any) -> ConnectionRow:
    """The row as another hub would have written it."""
    current = await store.one(row.tenant, row.id)
    assert current is not None
    changed = replace(current, **more)
    await store.put(changed, current.version)
    return changed
