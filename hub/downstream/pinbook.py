"""The approved definitions of all servers of one tenant: a store behind, immutable snapshots in front."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hub.core.ports import Pin, PinStore
from hub.downstream.shelf import Approved


class PinBook:
    def __init__(self, store: PinStore, tenant: str) -> None:
        self._store, self._tenant = store, tenant
        self._approved: dict[str, Approved] = {}
        self._deciding: dict[str, asyncio.Lock] = {}

    async def load(self) -> None:
        found: dict[str, list[Pin]] = {}
        for pin in await self._store.load(self._tenant):
            found.setdefault(pin.server, []).append(pin)
        self._approved = {server: _keyed(pins) for server, pins in found.items()}

    def of(self, server: str) -> Approved:
        """A snapshot: later approvals do not show in it."""
        return self._approved.get(server, {})

    def deciding(self, server: str) -> asyncio.Lock:
        """Held by whoever looks up what is approved and records what was not: one at a time."""
        return self._deciding.setdefault(server, asyncio.Lock())

    async def record(self, server: str, pins: Sequence[Pin]) -> None:
        """Durable when it returns, and only then believed."""
        if pins:
            await self._store.save(self._tenant, pins)
            self._approved[server] = {**self.of(server), **_keyed(pins)}


def _keyed(pins: Sequence[Pin]) -> Approved:
    return {(pin.kind, pin.native): pin for pin in pins}
