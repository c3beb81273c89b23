"""Approved definitions in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hub.core.ports import Pin


class MemoryPins:
    """`hub.core.ports.PinStore`."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, str, str, str], Pin] = {}

    async def load(self, tenant: str) -> tuple[Pin, ...]:
        return tuple(pin for key, pin in sorted(self._pins.items()) if key[0] == tenant)

    async def save(self, tenant: str, pins: Sequence[Pin]) -> None:
        self._pins.update({(tenant, pin.server, pin.kind, pin.native): pin for pin in pins})
