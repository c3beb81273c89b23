"""All items of all downstreams: what each listed, what was approved, and what each endpoint shows of it.

Owns the present shelves and views, and swaps them whole. Reading never waits for a downstream; the fetching is the
refreshers', the making of shelves and views is pure. It opens no connection and judges no caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, Final

from hub.core.call import EMPTY, Item, Json, Kind
from hub.core.ports import Change, Endpoint, ListStore, Pin, PinStore, PrefixRule
from hub.downstream.definitions import KINDS
from hub.downstream.health import Health
from hub.downstream.link import Link, Peer, ServerSpec
from hub.downstream.pinbook import PinBook
from hub.downstream.refresher import Pace, Refresher, Round
from hub.downstream.shelf import Changed, Lists, Problem, Shelf, build
from hub.downstream.subscriptions import Subscriptions
from hub.downstream.view import View
from hub.downstream.watchers import Watchers

log = logging.getLogger(__name__)

BUILT_INLINE: Final = 200  # items; longer lists are made into shelves off the loop

_LIST_CHANGED: Final[Mapping[str, tuple[Kind, ...]]] = {
    "notifications/tools/list_changed": ("tool",),
    "notifications/prompts/list_changed": ("prompt",),
    "notifications/resources/list_changed": ("resource", "template"),
}


@dataclass(frozen=True, slots=True)
class ListStatus:
    """How the lists of one server stand, for operators."""

    server: str
    counts: Mapping[Kind, int]
    stale: bool  # the lists are from before the server went away, or a fetch failed since
    fetched_at: float | None  # wall clock, seconds; None: not since the hub started
    problems: tuple[Problem, ...] = ()
    waiting: int = 0  # definitions that differ from the approved ones


@dataclass(slots=True)
class _State:
    """What changes about one server. Only the catalogue touches it."""

    lists: Lists = field(default_factory=Lists)
    shelf: Shelf | None = None
    disabled: bool = False
    away: bool = True
    failed: set[Kind] = field(default_factory=lambda: set(KINDS))
    fetched_at: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one change of the shelf at a time
    warned: frozenset[str] = frozenset()


class Catalogue:
    """Implements the ports Catalog and Changes."""

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        endpoints: Mapping[str, Endpoint],
        pins: PinStore,
        lists: ListStore,
        *,
        tenant: str = "local",
        clock: Callable[[], float] = time.time,
        pace: Pace = Pace(),
    ) -> None:
        # A variant lists nothing of its own: it only takes calls of the server it is a variant of.
        self._specs = {spec.id: spec for spec in specs if spec.variant_of is None}
        self._endpoints = dict(endpoints)
        self._pins, self._lists, self._tenant, self._clock = PinBook(pins, tenant), lists, tenant, clock
        self._states = {id: _State(disabled=not spec.enabled) for id, spec in self._specs.items()}
        self._refreshers = {id: Refresher(spec, pace, partial(self._take_in, id)) for id, spec in self._specs.items()}
        self._unsettled = {id for id, spec in self._specs.items() if spec.enabled}
        self._settling = asyncio.Event()
        self._started_at = float("-inf")
        self._views: dict[str, View] = {}
        self._watchers = Watchers(self._views.get, pace.watch_s)
        self._subscriptions = Subscriptions(self._specs)
        self._publish(self._endpoints)

    async def start(self) -> None:
        """Load approvals and last-known lists: servers that are away stay listed."""
        await self._pins.load()
        for server, stored in (await self._lists.load(self._tenant)).items():
            if server in self._specs:
                async with self._states[server].lock:
                    await self._shelve(server, _from_stored(stored))
        self._started_at = asyncio.get_running_loop().time()

    async def aclose(self) -> None:
        self._watchers.close()
        await self._subscriptions.aclose()
        await asyncio.gather(*(refresher.aclose() for refresher in self._refreshers.values()))

    # What the pool tells.

    def on_up(self, server: str, link: Link) -> None:
        if server in self._specs:
            self._refreshers[server].up(link)
            self._subscriptions.renew(server, link)

    def on_health(self, health: Health) -> None:
        state = self._states.get(health.server)
        if state is None:
            return
        state.away = health.state != "ready"
        if state.disabled is not (health.state == "disabled"):
            state.disabled = not state.disabled
            self._publish(self._showing(health.server))
        if health.state in ("down", "needs_login", "disabled"):
            self._settle(health.server)

    def on_notified(self, server: str, method: str, params: Json) -> None:
        if server not in self._specs:
            return
        if method in _LIST_CHANGED:
            self._refreshers[server].changed(_LIST_CHANGED[method])
        elif method == "notifications/resources/updated" and isinstance(params.get("uri"), str):
            for endpoint in self._showing(server):
                self._watchers.updated(endpoint, self._views[endpoint].uri(server, params["uri"]))

    # What the pipeline and the edges read.

    def resolve(self, endpoint: str, kind: Kind, name: str) -> Item | None:
        view = self._views.get(endpoint)
        return view.resolve(kind, name) if view else None

    def items(self, endpoint: str, kind: Kind) -> tuple[Item, ...]:
        view = self._views.get(endpoint)
        return view.items(kind) if view else ()

    def capabilities(self, endpoint: str) -> Json:
        view = self._views.get(endpoint)
        return view.capabilities if view else EMPTY

    def ttl_ms(self, endpoint: str, kind: Kind) -> int:
        """As the port says. Servers that have no lists of this kind count only when there is no other."""
        if endpoint not in self._endpoints:
            return 0
        shown = self._endpoints[endpoint]
        states = ((id, s) for id, s in self._states.items() if self._shows(shown, id) and not s.disabled)
        left_s = min((0.0 if s.away else self._refreshers[id].left_s(kind) for id, s in states), default=inf)
        return 0 if left_s == inf else int(left_s * 1000)

    def prefix(self, endpoint: str) -> PrefixRule:
        """Whether this endpoint's clients read public names or the downstream's own."""
        return self._endpoints[endpoint].prefix

    async def settled(self, endpoint: str, timeout_s: float) -> None:
        """As the port says; counted from the start, so that one hanging server delays early lists only."""
        if not self._unsettled or endpoint not in self._endpoints:
            return
        until = self._started_at + timeout_s
        if until <= asyncio.get_running_loop().time():
            return
        try:
            async with asyncio.timeout_at(until):
                while any(self._shows(self._endpoints[endpoint], server) for server in self._unsettled):
                    await self._settling.wait()
        except TimeoutError:
            return

    def watch(self, endpoint: str, on_change: Callable[[Change], None]) -> Callable[[], None]:
        return self._watchers.watch(endpoint, on_change)

    async def subscribe(self, item: Item, link: Link) -> bool:
        """Have the updates of this resource reported to watchers; False when its server cannot.

        Holds over reconnects. Raises DownstreamError.
        """
        return await self._subscriptions.hold(item, link)

    # What operators read and decide.

    def problems(self, server: str) -> tuple[Problem, ...]:
        shelf = self._states[server].shelf if server in self._states else None
        return shelf.problems if shelf else ()

    def status(self, server: str) -> ListStatus | None:
        """None for a server that is not configured, and for variants."""
        state = self._states.get(server)
        if state is None:
            return None
        shelf = state.shelf or Shelf(self._specs[server])
        counts = {kind: len(shelf.items.get(kind, ())) for kind in KINDS}
        stale = state.shelf is not None and (state.away or bool(state.failed))
        return ListStatus(server, counts, stale, state.fetched_at, shelf.problems, len(shelf.changed))

    def pending(self, server: str | None = None) -> tuple[Changed, ...]:
        """Definitions that differ from the approved ones, of one server or of all."""
        shelves = (state.shelf for id, state in sorted(self._states.items()) if server in (None, id))
        return tuple(changed for shelf in shelves if shelf for changed in shelf.changed)

    async def approve(
        self, server: str, natives: Collection[str] | None = None, *, seen: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """Make present definitions the approved ones, durably; the native names of those that were.

        `natives` None: all that wait. `seen` narrows it to definitions with these `Changed.sha256`, so that what was
        swapped after somebody read the difference is not approved unread.
        """
        state = self._states.get(server)
        if state is None:
            return ()
        async with state.lock:
            chosen = [
                changed
                for changed in self.pending(server)
                if (natives is None or changed.native in natives) and (seen is None or changed.sha256 in seen)
            ]
            await self._pins.record(server, [Pin(c.server, c.kind, c.native, c.sha256, c.new) for c in chosen])
            if chosen:
                await self._shelve(server, state.lists)
        return tuple(changed.native for changed in chosen)

    # How what was fetched becomes what is shown.

    async def _take_in(self, server: str, round: Round) -> None:
        """Called by the server's refresher. What raises here is tried again; what stood before stands on."""
        state = self._states[server]
        async with state.lock:
            lists = _merged(state.lists, round)
            await self._shelve(server, lists)
            state.failed = (state.failed - set(round.fetched)) | set(round.failed)
            state.fetched_at = self._clock() if round.fetched else state.fetched_at
        if round.fetched:
            await self._lists.save(self._tenant, server, _to_stored(lists, round.peer))

    async def _shelve(self, server: str, lists: Lists) -> None:
        """Build, record first sights, then swap: a definition is shown only when its approval is durable."""
        state, spec, approved = self._states[server], self._specs[server], self._pins.of(server)
        if sum(len(listed) for listed in lists.by_kind.values()) > BUILT_INLINE:
            shelf = await asyncio.to_thread(build, spec, lists, approved)
        else:
            shelf = build(spec, lists, approved)
        await self._pins.record(server, shelf.first_sights)
        self._warn(state, shelf)
        state.lists, state.shelf = lists, shelf
        self._publish(self._showing(server))
        self._settle(server)

    def _warn(self, state: _State, shelf: Shelf) -> None:
        for changed in shelf.changed:
            if changed.sha256 not in state.warned:
                log.warning(
                    "%s of %s differs from what was approved%s; see `mcp-hub servers diff %s`",
                    changed.public,
                    changed.server,
                    " and is hidden" if shelf.spec.pins == "quarantine" else "",
                    changed.server,
                )
        state.warned = frozenset(changed.sha256 for changed in shelf.changed)

    def _settle(self, server: str) -> None:
        if server in self._unsettled:
            self._unsettled.discard(server)
            self._settling.set()
            self._settling = asyncio.Event()

    def _shows(self, endpoint: Endpoint, server: str) -> bool:
        return endpoint.servers is None or server in endpoint.servers

    def _showing(self, server: str) -> list[str]:
        return [name for name, endpoint in self._endpoints.items() if self._shows(endpoint, server)]

    def _publish(self, endpoints: Iterable[str]) -> None:
        for name in endpoints:
            endpoint = self._endpoints[name]
            states = [s for id, s in self._states.items() if self._shows(endpoint, id) and not s.disabled]
            shelves = [state.shelf for state in states if state.shelf is not None]
            self._views[name] = View(endpoint, shelves, unknown=len(shelves) < len(states))
        self._watchers.touched(endpoints)


def _merged(lists: Lists, round: Round) -> Lists:
    """The lists after one round: what was not fetched stays as it was."""
    cuts = {kind: cut for kind, cut in lists.cuts.items() if kind not in round.fetched}
    cuts.update({kind: fetched.cut for kind, fetched in round.fetched.items() if fetched.cut is not None})
    by_kind = {**lists.by_kind, **{kind: fetched.definitions for kind, fetched in round.fetched.items()}}
    return replace(lists, by_kind=by_kind, peer=round.peer, cuts=cuts)


def _to_stored(lists: Lists, peer: Peer) -> Json:
    stored: dict[str, Any] = {kind: list(lists.of(kind)) for kind in KINDS}
    stored["peer"] = {
        "era": peer.era,
        "revision": peer.revision,
        "capabilities": peer.capabilities,
        "info": peer.info,
        "instructions": peer.instructions,
    }
    return stored


def _from_stored(stored: Json) -> Lists:
    """Lenient: what a newer or older hub stored otherwise is as if it were not stored."""
    by_kind: dict[Kind, tuple[Any, ...]] = {
        kind: tuple(stored[kind]) for kind in KINDS if isinstance(stored.get(kind), list | tuple)
    }
    return Lists(by_kind, _stored_peer(stored.get("peer")))


def _stored_peer(peer: Any) -> Peer | None:
    if not isinstance(peer, Mapping) or not isinstance(peer.get("capabilities"), Mapping):
        return None
    instructions = peer.get("instructions")
    info = peer.get("info")
    return Peer(
        era="modern" if peer.get("era") == "modern" else "legacy",
        revision=str(peer.get("revision", "")),
        capabilities=peer["capabilities"],
        info=info if isinstance(info, Mapping) else EMPTY,
        instructions=instructions if isinstance(instructions, str) else None,
    )
