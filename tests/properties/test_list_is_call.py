"""Invariant 1: an item is listed if and only if calling it is not unknown, and what is hidden never was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.call import Call, Client, Denied, Done, Grants, Item, Kind, Listed, Listing, Outcome, Principal
from hub.core.gate import GateStage
from hub.core.names import split_uri
from hub.core.pipeline import Pipeline, Record
from hub.core.ports import Endpoint, Next, Stage
from hub.downstream.catalog import Catalogue
from hub.downstream.definitions import KEY, KINDS
from hub.downstream.shelf import Lists, build
from policies.authorize import Authorize
from policies.endpoint import Selection
from policies.pins import Pins
from policies.resolve import Resolve
from tests.downstream.catalog_fakes import FAST, MemoryLists, MemoryPins, prompt, resource, spec, template, tool

SERVERS = ("a", "a-b", "b")
LIST: dict[Kind, str] = {
    "tool": "tools/list",
    "prompt": "prompts/list",
    "resource": "resources/list",
    "template": "resources/templates/list",
}
MAKE: dict[Kind, Any] = {"tool": tool, "prompt": prompt, "resource": resource, "template": template}
NATIVES: dict[Kind, st.SearchStrategy[str]] = {
    "tool": st.sampled_from(["x", "y", "a__x", "x.y", "x y", "_", "x" * 60]),
    "prompt": st.sampled_from(["x", "y", "a__x"]),
    "resource": st.sampled_from(["doc://1", "doc://x/2", "ui://1", "b+doc://1"]),
    "template": st.sampled_from(["doc://{id}", "ui://{id}", "file:///{+path}"]),
}


class Silent:
    async def intent(self, record: Record) -> None:
        return None

    async def finish(self, record: Record, outcome: Outcome) -> None:
        return None


class Answering:
    """A dispatch whose downstreams know every item."""

    name = "dispatch"

    def __init__(self, catalog: Catalogue) -> None:
        self.catalog = catalog

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if isinstance(call.target, Listing):
            return Listed(self.catalog.items(call.endpoint, call.target.kind))
        return Done({})


@dataclass(frozen=True)
class World:
    before: dict[str, dict[Kind, list[Any]]]  # what was listed when it was approved
    after: dict[str, dict[Kind, list[Any]]]
    pins: dict[str, Literal["off", "warn", "quarantine"]]
    endpoint: Endpoint
    who: Principal
    disabled: frozenset[str]
    trusted: frozenset[str]


@st.composite
def listings(draw: st.DrawFn) -> dict[Kind, list[Any]]:
    listed: dict[Kind, list[Any]] = {}
    for kind in KINDS:
        natives = draw(st.lists(NATIVES[kind], max_size=4))
        hints = {"annotations": {"readOnlyHint": draw(st.booleans())}}
        made = [MAKE[kind](native, title=draw(st.sampled_from(["1", "2"])), **hints) for native in natives]
        listed[kind] = [*made, *draw(st.lists(st.sampled_from(["junk", {}, {"name": 5}]), max_size=1))]
    return listed


globs = st.sampled_from(["*", "a__*", "b__x", "*__y", "a-b__?", "c__*", "A__*"])
selected = {"tools": st.none() | st.lists(globs, max_size=2).map(tuple), "read_only": st.booleans()}
endpoints = st.one_of(
    st.builds(Endpoint, st.just("e"), st.none() | st.frozensets(st.sampled_from(SERVERS), min_size=1), **selected),
    st.builds(
        Endpoint, st.just("e"), st.sampled_from(SERVERS).map(lambda id: frozenset({id})), st.just("none"), **selected
    ),
)
grants = st.builds(
    Grants,
    st.none() | st.frozensets(st.sampled_from([*SERVERS, "*", "c"]), max_size=3),
    st.none() | st.lists(globs, max_size=2).map(tuple),
)
callers = st.builds(
    Principal,
    st.just("local"),
    st.just("u"),
    st.just("c"),
    st.sampled_from([frozenset({"mcp"}), frozenset({"mcp"}), frozenset({"admin"})]),
    grants,
)
per_server = {server: listings() for server in SERVERS}
worlds = st.builds(
    World,
    st.fixed_dictionaries(per_server),
    st.fixed_dictionaries(per_server),
    st.fixed_dictionaries({server: st.sampled_from(["off", "warn", "quarantine"]) for server in SERVERS}),
    endpoints,
    callers,
    st.frozensets(st.sampled_from(SERVERS), max_size=1),
    st.frozensets(st.sampled_from(SERVERS)),
)


async def catalogue(world: World) -> Catalogue:
    """A catalogue that approved what was listed before, and now has what is listed after."""
    pins = MemoryPins()
    capabilities: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}
    for listed in (world.before, world.after):
        stored = {id: {**lists, "peer": {"capabilities": capabilities}} for id, lists in listed.items()}
        specs = [
            spec(id, pins=world.pins[id], enabled=id not in world.disabled, trusted=id in world.trusted)
            for id in SERVERS
        ]
        made = Catalogue(specs, {"e": world.endpoint}, pins, MemoryLists(stored), pace=FAST)  # type: ignore[arg-type]
        await made.start()
    return made


def run(pipeline: Pipeline, world: World, method: str, params: Any) -> Awaitable[Outcome]:
    client = Client("modern", "2026-07-28")
    deadline = asyncio.get_running_loop().time() + 60
    return pipeline.handle(Call(f"call-{next(ids)}", world.who, "e", method, params, client, deadline))


ids = count()


def calls(kind: Kind, name: str) -> tuple[str, Any]:
    """A call of the item that clients call `name`."""
    if kind == "tool":
        return "tools/call", {"name": name, "arguments": {"a": 1}}
    if kind == "prompt":
        return "prompts/get", {"name": name}
    if kind == "resource":
        return "resources/read", {"uri": name}
    return "completion/complete", {"ref": {"type": "ref/resource", "uri": name}, "argument": {"name": "x", "value": ""}}


def everything(world: World, catalog: Catalogue) -> set[tuple[Kind, str]]:
    """Every name that was ever shown to anybody, at any endpoint, and some that never were."""
    names: set[tuple[Kind, str]] = {("tool", "a__never"), ("prompt", "never"), ("template", "a+never://{x}")}
    for kind in KINDS:
        for prefix in ("server", "none"):
            for item in every_item(world, kind):
                name = item.name if prefix == "server" else item.native
                names.add((kind, name))
        names.update((kind, item.shown[KEY[kind]]) for item in catalog.items("e", kind))
    return names


def every_item(world: World, kind: Kind) -> list[Item]:
    found: list[Item] = []
    for listed in (world.before, world.after):
        for server, lists in listed.items():
            found.extend(build(spec(server), Lists({kind: tuple(lists[kind])}), {}).items[kind])
    return found


@settings(max_examples=150, deadline=None)
@given(worlds)
def test_listed_if_and_only_if_callable_and_hidden_reads_like_never(world: World) -> None:
    asyncio.run(check(world))


async def check(world: World) -> None:
    catalog = await catalogue(world)
    selection = Selection({"e": world.endpoint}.get)
    stages: list[Stage] = [Resolve(catalog), GateStage(selection), GateStage(Pins()), GateStage(Authorize("v1"))]
    pipeline = Pipeline(stages, Answering(catalog), Silent())
    shown: dict[Kind, set[str]] = {}
    for kind in KINDS:
        listed = await run(pipeline, world, LIST[kind], {})
        assert isinstance(listed, Listed)
        shown[kind] = {item.shown[KEY[kind]] for item in listed.items}
        if world.endpoint.read_only and kind == "tool":
            assert all(reads(item) and item.server in world.trusted for item in listed.items)
        assert len(shown[kind]) == len(listed.items)
    never = await run(pipeline, world, "tools/call", {"name": "a__never", "arguments": {"a": 1}})
    assert isinstance(never, Denied)
    for kind, name in everything(world, catalog):
        outcome = await run(pipeline, world, *calls(kind, name))
        if name in shown[kind] or reachable_unlisted(world, catalog, kind, name):
            assert outcome == Done({})
        else:
            assert isinstance(outcome, Denied)
            # Everything a caller could read of it; `reason` is the log's alone.
            assert replace(outcome, reason="") == replace(never, reason="")


def reachable_unlisted(world: World, catalog: Catalogue, kind: Kind, name: str) -> bool:
    """A uri that no list of this endpoint names is left to its server, which decides whether it exists."""
    if kind not in ("resource", "template") or any(
        item.shown[KEY[listed]] == name for listed in ("resource", kind) for item in catalog.items("e", listed)
    ):
        return False
    if world.endpoint.prefix == "server":
        server, uri = split_uri(name) or ("", "")
    else:
        server, uri = next(iter(world.endpoint.servers or ())), name
    if server not in SERVERS or server in world.disabled or not served(world.endpoint.servers, server):
        return False
    granted = world.who.grants.servers
    if "mcp" not in world.who.scopes or granted is None or not granted & {server, "*"}:
        return False
    return not any(item.changed and matches(item.native, uri) for item in templates(catalog, server))


def reads(item: Item) -> bool:
    return item.definition["annotations"]["readOnlyHint"] is True


def served(servers: frozenset[str] | None, server: str) -> bool:
    return servers is None or server in servers


def templates(catalog: Catalogue, server: str) -> list[Item]:
    """In the order in which they are tried: only the first that matches counts."""
    return [item for item in catalog.items("e", "template") if item.server == server]


def matches(template: str, uri: str) -> bool:
    start = template.partition("{")[0]
    return uri.startswith(start) and ("{+" in template or "/" not in uri.removeprefix(start))
