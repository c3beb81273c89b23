"""Servers started for a look, put together from the same parts as those of the hub itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from hub.admin.operation import Operation
from hub.admin.registered import operations
from hub.admin.registering import RegisterDesk
from hub.admin.trying import TryDesk
from hub.assembly_parts import Parts, openers
from hub.config import Config
from hub.config_registry import merged
from hub.core.call import Item, Json
from hub.core.ports import RegistryRow
from hub.downstream.likeness import likenesses
from hub.downstream.link import Opener, ServerSpec, Transport
from hub.downstream.stdio import StdioOpener
from hub.downstream.trial import Tried, try_out
from policies.detectors.scan import RuleDetector
from policies.screen import Definitions


def server_operations(parts: Parts) -> tuple[Operation, ...]:
    """What admins do with servers at run time."""
    current = parts.current
    desk = RegisterDesk(parts.live, parts.vault, parts.journal, parts.offered.likenesses)
    trials = Trials(
        lambda: current.config,
        os.environ,
        parts.vault.get,
        lambda: openers(os.environ),
        lambda: parts.catalogue.items("", "tool"),
    )
    return operations(desk, TryDesk(desk, trials, parts.journal))


Openers = Callable[[], tuple[Mapping[Transport, Opener], StdioOpener]]


class Trials:
    """`hub.admin.trying.Trials`."""

    def __init__(
        self,
        config: Callable[[], Config],
        environ: Mapping[str, str],
        secrets: Callable[[str], str | None],
        openers: Openers,
        tools: Callable[[], Sequence[Item]],
    ) -> None:
        """`tools`: all that the hub offers now, to compare with."""
        self._config, self._environ, self._secrets = config, environ, secrets
        self._openers, self._tools = openers, tools
        self._definitions = Definitions(RuleDetector(), "flag")

    async def run(self, id: str, entry: Json, values: Mapping[str, str]) -> Tried:
        """Raises ValueError, in words, for an entry that no server can have."""
        spec = self._spec(id, entry, values)
        opening, stdio = self._openers()
        try:
            return await try_out(spec, opening, stdio.stderr)
        finally:
            await stdio.aclose()

    async def doubts(self, id: str, tools: Sequence[Item]) -> Sequence[str]:
        """What a reader should know about these tools, in words without theirs."""
        others = sorted((item for item in self._tools() if item.server != id), key=lambda item: item.server)
        grouped = {server: tuple(items) for server, items in groupby(others, key=lambda item: item.server)}
        alike = await asyncio.to_thread(likenesses, {**grouped, id: tools})
        noted = await asyncio.to_thread(lambda: [(item, self._definitions.notes(item)) for item in tools])
        found = [f"{item.name}: its description is suspicious ({', '.join(notes)})" for item, notes in noted if notes]
        return [*found, *(each.text for each in alike.get(id, ()))]

    def _spec(self, id: str, entry: Json, values: Mapping[str, str]) -> ServerSpec:
        """With values that are not in the vault yet."""

        def secret(name: str) -> str | None:
            return values.get(name) or self._secrets(name)

        body = {key: value for key, value in entry.items() if key != "variant_of"}
        row = RegistryRow("local", "server", id, body, 1, "", "", "")
        found = merged(replace(self._config(), servers=()), (row,), self._environ, secret)
        if found.aside:
            raise ValueError("\n".join(f"{fault.where}: {fault.text}" for fault in found.aside))
        return found.config.servers[0]
