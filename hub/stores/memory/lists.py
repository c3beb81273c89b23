"""The last list of each server in memory: for tests and for hubs that keep nothing."""

from __future__ import annotations

from collections.abc import Mapping

from hub.core.call import Json


class MemoryLists:
    """`hub.core.ports.ListStore`."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], Json] = {}

    async def load(self, tenant: str) -> Mapping[str, Json]:
        return {server: lists for (owner, server), lists in sorted(self._lists.items()) if owner == tenant}

    async def save(self, tenant: str, server: str, lists: Json) -> None:
        self._lists[tenant, server] = lists

    async def remove(self, tenant: str, server: str) -> None:
        self._lists.pop((tenant, server), None)
