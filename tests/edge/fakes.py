"""Ports for the edges: a catalogue in memory, a pipeline of one function, and recorders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.core.call import Call, Denied, Done, Grants, Item, Json, Kind, Listed, Outcome, Principal
from hub.core.ports import Change, Endpoint, EventKind, Surface
from hub.edge.ports import EdgePorts, Limits

CLIENT_TOKEN = "client-token-" + "c" * 32
OTHER_TOKEN = "other-token-" + "o" * 32
READER_TOKEN = "reader-token-" + "r" * 32
CLIENT = Principal("local", "local:client", "cred-client", frozenset({"mcp"}), Grants(frozenset({"*"})))
OTHER = Principal("local", "key:other", "cred-other", frozenset({"mcp"}), Grants(frozenset({"*"})))
READER = Principal("local", "key:reader", "cred-reader", frozenset({"audit:read"}))


def item(kind: Kind, native: str, server: str = "demo", **more: Any) -> Item:
    """An item as a catalogue makes it; `more` goes into its definition."""
    if kind in ("tool", "prompt"):
        key, name = "name", f"{server}__{native}"
    else:
        key, name = ("uri" if kind == "resource" else "uriTemplate"), f"{server}+{native}"
    definition: dict[str, Any] = {"name": native, key: native, **more}
    shown = {**definition, "name": name if key == "name" else native, key: name}
    return Item(kind, server, name, native, definition, shown, f"sha-{kind}-{name}", writes=kind == "tool")


def tool(native: str, **more: Any) -> Item:
    return item("tool", native, **{"inputSchema": {"type": "object"}, "description": native, **more})


ITEMS = (
    tool("echo"),
    tool("fail"),
    tool("hang"),
    tool("talk"),
    item("prompt", "greet", arguments=[{"name": "who"}]),
    item("resource", "file:///readme", mimeType="text/plain"),
    item("template", "file:///{path}"),
)


class FakeCatalog:
    def __init__(self, items: tuple[Item, ...] = ITEMS) -> None:
        self.all = items
        self.ttls: dict[tuple[str, Kind], int] = {}

    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        return next((i for i in self.all if i.kind == kind and i.name == name), None)

    def items(self, endpoint: str, kind: Kind, account: str = "") -> tuple[Item, ...]:
        return tuple(i for i in self.all if i.kind == kind)

    async def settled(self, endpoint: str, timeout_s: float, account: str = "") -> None:
        return None

    def capabilities(self, endpoint: str, account: str = "") -> Json:
        return {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "completions": {},
        }

    def ttl_ms(self, endpoint: str, kind: Kind, account: str = "") -> int:
        return self.ttls.get((endpoint, kind), 0)


class FakeChanges:
    def __init__(self) -> None:
        self.watchers: dict[int, tuple[str, Callable[[Change], None]]] = {}
        self._next = 0

    def watch(self, endpoint: str, on_change: Callable[[Change], None], account: str = "") -> Callable[[], None]:
        self._next += 1
        key = self._next
        self.watchers[key] = (endpoint, on_change)

        def stop() -> None:
            self.watchers.pop(key, None)

        return stop

    def emit(self, change: Change, endpoint: str = "") -> None:
        for name, on_change in list(self.watchers.values()):
            if name == endpoint:
                on_change(change)


@dataclass
class FakeJournal:
    events: list[tuple[EventKind, str, str, str | None, Json]] = field(default_factory=list)

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        self.events.append((kind, who, outcome, item, detail))
        return f"event-{len(self.events)}"


class FakeAuthenticator:
    def __init__(self, principals: Mapping[str, Principal] | None = None) -> None:
        self.principals = dict(
            {CLIENT_TOKEN: CLIENT, OTHER_TOKEN: OTHER, READER_TOKEN: READER} if principals is None else principals
        )

        self.admitted: dict[str, Principal] = {}  # known once somebody waited for them
        self.asked: list[str] = []

    def verify(self, token: str, surface: Surface) -> Principal | None:
        return self.principals.get(token)

    async def admit(self, token: str) -> Principal | None:
        self.asked.append(token)
        found = self.admitted.get(token)
        if found is not None:
            self.principals[token] = found
        return found

    def stands(self, token: str, who: Principal) -> bool:
        found = self.principals.get(token)
        return found is not None and found.credential == who.credential


class FakePipeline:
    """Answers the items of `ITEMS`; keeps every call it was given. `hang` waits until it is released or cancelled."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self.catalog = catalog
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []
        self.hanging = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, call: Call) -> Outcome:
        self.calls.append(call)
        kinds: dict[str, Kind] = {
            "tools/list": "tool",
            "prompts/list": "prompt",
            "resources/list": "resource",
            "resources/templates/list": "template",
        }
        if call.method in kinds:
            return Listed(self.catalog.items(call.endpoint, kinds[call.method]))
        if call.method in ("resources/subscribe", "resources/unsubscribe", "resources/read"):
            return self._resource(call)
        if call.method == "subscriptions/listen":
            known = [uri for uri in call.params["uris"] if self.catalog.resolve(call.endpoint, "resource", uri)]
            return Done({"uris": known}) if known else Denied("unknown_item", "no such resource")
        if call.method == "prompts/get":
            return Done({"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]})
        if call.method == "completion/complete":
            return Done({"completion": {"values": ["one"]}})
        return await self._tool(call)

    def _resource(self, call: Call) -> Outcome:
        uri = call.params["uri"]
        if self.catalog.resolve(call.endpoint, "resource", uri) is None:
            return Denied("unknown_item", "no such resource")
        if call.method != "resources/read":
            return Done({})
        return Done({"contents": [{"uri": uri, "text": "read me"}]})

    async def _tool(self, call: Call) -> Outcome:
        match call.params.get("name"):
            case "demo__echo":
                return Done({"content": [{"type": "text", "text": str(call.arguments.get("text", ""))}]})
            case "demo__fail":
                return Denied("rate_limited", "too fast", retry_after_s=3.0)
            case "demo__talk":
                for n in (1, 2, 3):
                    call.client.back.notify("notifications/progress", {"progress": n, "total": 3})
                    call.client.back.notify(
                        "notifications/message", {"level": "info" if n < 3 else "error", "data": f"step {n}"}
                    )
                    await asyncio.sleep(0)
                return Done({"content": [{"type": "text", "text": "talked"}]})
            case "demo__hang":
                self.hanging.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(call)
                    raise
                return Done({"content": [{"type": "text", "text": "released"}]})
            case _:
                return Denied("unknown_item", "no such tool")


@dataclass
class Seen:
    """What the edge told the gauges."""

    connections: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def connected(self, transport: str, change: int) -> None:
        self.connections[transport] = self.connections.get(transport, 0) + change


def fake_ports(handle: Callable[[Call], Awaitable[Outcome]] | None = None, **overrides: Any) -> EdgePorts:
    """Ports over `ITEMS`; without `handle`, a FakePipeline. Any field of EdgePorts may be overridden."""
    catalog = overrides.get("catalog") or FakeCatalog()
    seen = Seen()
    fields: dict[str, Any] = {
        "handle": handle or FakePipeline(catalog),
        "authenticator": FakeAuthenticator(),
        "catalog": catalog,
        "changes": FakeChanges(),
        "journal": FakeJournal(),
        "endpoints": {"": Endpoint(""), "team": Endpoint("team")},
        "limits": Limits(),
        "allowed_hosts": frozenset({"127.0.0.1", "localhost", "testserver"}),
        "allowed_origins": frozenset(),
        "cursor_key": b"k" * 32,
        "server_info": {"name": "mcp-hub", "version": "0.1.0", "title": "MCP hub"},
        "instructions": lambda endpoint, who: "call the tools" if endpoint == "" else None,
        "connected": seen.connected,
        "refused": seen.refused.append,
    }
    return EdgePorts(**{**fields, **overrides})


async def eventually(claim: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Return as soon as `claim()` holds; fail when it does not within `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not claim():
            await asyncio.sleep(0.005)
