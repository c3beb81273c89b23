"""A downstream that lists what a test says, stores in memory, and a catalogue over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import anyio

from hub.core.call import Json, Kind
from hub.core.ports import Endpoint, Pin
from hub.downstream.catalog import Catalogue
from hub.downstream.health import Health, State
from hub.downstream.link import Exchange, Peer, ServerSpec, Timeouts
from hub.downstream.refresher import Pace

FAST = Pace(debounce_s=0.001, gap_s=0.001, watch_s=0.001, retry_s=0.005)
ALL: Json = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}}
MEMBERS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


def spec(id: str = "srv", **given: Any) -> ServerSpec:
    given.setdefault("timeouts", Timeouts(list_s=5.0))
    return ServerSpec(id, "stdio", **given)


def tool(name: str = "t", **members: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **members}


def prompt(name: str = "p", **members: Any) -> dict[str, Any]:
    return {"name": name, **members}


def resource(uri: str = "doc://r", **members: Any) -> dict[str, Any]:
    return {"uri": uri, "name": uri, **members}


def template(uri: str = "doc://{id}", **members: Any) -> dict[str, Any]:
    return {"uriTemplate": uri, "name": uri, **members}


def peer(capabilities: Json = ALL, era: Literal["modern", "legacy"] = "legacy") -> Peer:
    return Peer(era, "2025-11-25", capabilities, {"name": "fake", "version": "1"})


class FakeLink:
    """Answers lists from `pages`; what a method's `answers` say comes first (an exception is raised)."""

    def __init__(self, capabilities: Json = ALL, era: Literal["modern", "legacy"] = "legacy") -> None:
        self.peer = peer(capabilities, era)
        self.alive = True
        self.lists: dict[str, list[Any]] = {}
        self.answers: dict[str, list[Any]] = {}
        self.ttls: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.asked: list[tuple[str, Json]] = []
        self.exchanges: list[Exchange] = []
        self.size_bytes = 10

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        self.asked.append((method, params))
        self.exchanges.append(exchange)
        exchange.size_bytes = self.size_bytes
        if method in self.gates:
            await self.gates[method].wait()
        if self.answers.get(method):
            answer = self.answers[method].pop(0)
            if isinstance(answer, BaseException):
                raise answer
            result: Json = answer
            return result
        hint = {"ttlMs": self.ttls[method]} if method in self.ttls else {}
        return {MEMBERS[method]: list(self.lists.get(method, ())), **hint} if method in MEMBERS else {}

    async def notify(self, method: str, params: Json) -> None:
        self.asked.append((method, params))

    async def aclose(self) -> None:
        self.alive = False

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)


def link(
    tools: Sequence[Any] = (),
    prompts: Sequence[Any] = (),
    resources: Sequence[Any] = (),
    templates: Sequence[Any] = (),
    capabilities: Json = ALL,
    era: Literal["modern", "legacy"] = "legacy",
) -> FakeLink:
    made = FakeLink(capabilities, era)
    for method, listed in zip(MEMBERS, (tools, prompts, resources, templates), strict=True):
        made.lists[method] = list(listed)
    return made


@dataclass
class MemoryPins:
    rows: dict[tuple[str, str, str], Pin] = field(default_factory=dict)
    broken: int = 0  # so many saves fail

    async def load(self, tenant: str) -> tuple[Pin, ...]:
        return tuple(self.rows.values())

    async def save(self, tenant: str, pins: Sequence[Pin]) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("disk full")
        for pin in pins:
            self.rows[pin.server, pin.kind, pin.native] = pin


@dataclass
class MemoryLists:
    rows: dict[str, Json] = field(default_factory=dict)

    async def load(self, tenant: str) -> Mapping[str, Json]:
        return dict(self.rows)

    async def save(self, tenant: str, server: str, lists: Json) -> None:
        self.rows[server] = lists

    async def remove(self, tenant: str, server: str) -> None:
        self.rows.pop(server, None)


class Hub:
    """A catalogue, started, over stores that a test may look into."""

    def __init__(
        self,
        *specs: ServerSpec,
        endpoints: Sequence[Endpoint] = (Endpoint(""),),
        pins: MemoryPins | None = None,
        lists: MemoryLists | None = None,
        pace: Pace = FAST,
    ) -> None:
        self.pins, self.lists = pins or MemoryPins(), lists or MemoryLists()
        self.catalog = Catalogue(
            specs or (spec(),),
            {endpoint.name: endpoint for endpoint in endpoints},
            self.pins,
            self.lists,
            clock=count(1.0).__next__,
            pace=pace,
        )

    async def __aenter__(self) -> Hub:
        await self.catalog.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.catalog.aclose()

    def names(self, kind: Kind = "tool", endpoint: str = "") -> list[str]:
        return [item.name for item in self.catalog.items(endpoint, kind)]

    def health(self, server: str, state: State) -> None:
        self.catalog.on_health(Health(server, state, "", 0.0))

    async def up(self, up: FakeLink, server: str = "srv") -> None:
        """A link is ready, and its lists have been taken in."""
        before = self.fetched_at(server)
        self.health(server, "ready")
        self.catalog.on_up(server, up)
        await until(lambda: self.fetched_at(server) != before)

    def fetched_at(self, server: str = "srv") -> float | None:
        status = self.catalog.status(server)
        return status.fetched_at if status else None


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not true():
            await asyncio.sleep(0.001)
