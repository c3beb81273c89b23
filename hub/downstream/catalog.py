"""All items of all downstreams as everybody sees them: what each listed, what was approved, what each endpoint shows.

Owns the present shelves and views, and swaps them whole. Reading never waits for a downstream; the fetching is the
refreshers', the making of shelves and views is pure. It opens no connection and judges no caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from math import inf

from hub.core.call import EMPTY, Item, Json, Kind
from hub.core.errors import HubError
from hub.core.ports import Change, Endpoint, ListStore, Pin, PinStore, PrefixRule
from hub.downstream.definitions import KINDS
from hub.downstream.health import Health
from hub.downstream.likeness import Likeness
from hub.downstream.link import Link, ServerSpec, same_connection
from hub.downstream.lookalikes import Lookalikes
from hub.downstream.pinbook import PinBook
from hub.downstream.refresher import Pace, Refresher, Round
from hub.downstream.shelf import Changed, Lists, Problem, Shelf, steadied
from hub.downstream.shelving import LIST_CHANGED, merged, shelved, warned
from hub.downstream.stored import from_stored, to_stored
from hub.downstream.subscriptions import Subscriptions
from hub.downstream.view import View
from hub.downstream.watchers import Followers, Watchers

log = logging.getLogger(__name__)


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
    wants_login: bool = False  # its link is not accepted
    refused: bool = False  # its lists are not given
    failed: set[Kind] = field(default_factory=lambda: set(KINDS))
    fetched_at: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one change of the shelf at a time
    warned: frozenset[str] = frozenset()


class Catalogue:
    """Implements the ports Catalog and Changes, the same for every account."""

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
        self.specs = {spec.id: spec for spec in specs if spec.variant_of is None}
        self.endpoints = dict(endpoints)
        self._prefixes = {name: endpoint.prefix for name, endpoint in endpoints.items()}  # of those that are gone too
        self.pins, self._lists, self._tenant, self._clock = PinBook(pins, tenant), lists, tenant, clock
        self._pace = pace
        self._states = {id: _State(disabled=not spec.enabled) for id, spec in self.specs.items()}
        self._refreshers = {id: self._refresher(spec) for id, spec in self.specs.items()}
        self._unsettled = {id: -inf for id, spec in self.specs.items() if spec.enabled}  # since when, by the loop
        self._settling = asyncio.Event()
        self._views: dict[str, View] = {}
        self._watchers = Watchers(self.view, pace.watch_s)
        self.followers = Followers()
        self._subscriptions = Subscriptions(self.specs)
        self._lookalikes = Lookalikes(self._tools)
        self._publish(self.endpoints)

    async def start(self) -> None:
        """Load approvals and last-known lists: servers that are away stay listed."""
        await self.pins.load()
        for server, stored in (await self._lists.load(self._tenant)).items():
            if server in self.specs:
                async with self._states[server].lock:
                    await self._shelve(server, from_stored(stored))
        self._unsettled = dict.fromkeys(self._unsettled, asyncio.get_running_loop().time())

    async def apply(
        self, specs: Sequence[ServerSpec], endpoints: Mapping[str, Endpoint], swap: Callable[[], None] = lambda: None
    ) -> None:
        """Have exactly these servers and endpoints from now on; approvals stay. One change at a time.

        All is prepared first; then it is in force in one step, and what `swap` does with it. Servers that are equal
        keep all they have. One that is reached otherwise than before keeps its last list until it gives a new one.
        """
        listing = {spec.id: spec for spec in specs if spec.variant_of is None}
        changed = [id for id, spec in listing.items() if id in self.specs and self.specs[id] != spec]
        async with AsyncExitStack() as held:
            shelves: dict[str, Shelf] = {}
            for id in changed:
                state = self._states[id]
                await held.enter_async_context(state.lock)
                if state.shelf is not None:
                    shelves[id] = await shelved(self.pins, listing[id], state.lists)
            swap()
            gone = self._commit(listing, endpoints, shelves)
        for id in gone:
            try:
                await self._lists.remove(self._tenant, id)
            except HubError as exc:  # all else is in force; at worst another server of that id starts with this list
                log.warning("the last list of %s was not forgotten: %s", id, exc)

    async def aclose(self) -> None:
        self._watchers.close()
        await self._subscriptions.aclose()
        await self._lookalikes.aclose()
        await asyncio.gather(*(refresher.aclose() for refresher in self._refreshers.values()))

    # What the pool tells.

    def on_up(self, server: str, link: Link) -> None:
        if server in self.specs:
            self._refreshers[server].up(link)
            self._subscriptions.renew(server, link)

    def on_health(self, health: Health) -> None:
        state = self._states.get(health.server)
        if state is None:
            return
        before = (state.disabled, state.wants_login)
        state.away, state.disabled = health.state != "ready", health.state == "disabled"
        state.wants_login = health.state == "needs_login"
        if before != (state.disabled, state.wants_login):
            self._publish(self.showing(health.server))
            self._lookalikes.touch()
        if health.state in ("down", "needs_login", "disabled"):
            self._settle(health.server)

    def on_notified(self, server: str, method: str, params: Json) -> None:
        if server not in self.specs:
            return
        if method in LIST_CHANGED:
            self._refreshers[server].changed(LIST_CHANGED[method])
        elif method == "notifications/resources/updated" and isinstance(params.get("uri"), str):
            for endpoint in self.showing(server):
                self._watchers.updated(endpoint, self._views[endpoint].uri(server, params["uri"]))
            self.followers.updated(server, params["uri"])

    # What the pipeline and the edges read.

    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        view = self._views.get(endpoint)
        return view.resolve(kind, name) if view else None

    def items(self, endpoint: str, kind: Kind, account: str = "") -> tuple[Item, ...]:
        view = self._views.get(endpoint)
        return view.items(kind) if view else ()

    def capabilities(self, endpoint: str, account: str = "") -> Json:
        view = self._views.get(endpoint)
        return view.capabilities if view else EMPTY

    def ttl_ms(self, endpoint: str, kind: Kind, account: str = "") -> int:
        """As the port says. Servers that have no lists of this kind count only when there is no other."""
        if endpoint not in self.endpoints:
            return 0
        servers, left_s = self.endpoints[endpoint].servers, inf
        for id, state in self._states.items():  # asked twice for every list: plain, at a third of what generators cost
            if (servers is None or id in servers) and not state.disabled:
                left_s = min(left_s, 0.0 if state.away else self._refreshers[id].left_s(kind))
        return 0 if left_s == inf else int(left_s * 1000)

    def prefix(self, endpoint: str) -> PrefixRule:
        """Whether this endpoint's clients read public names or the downstream's own."""
        return self._prefixes.get(endpoint, "server")

    async def settled(self, endpoint: str | None, timeout_s: float, account: str = "") -> None:
        """As the port says (None: all servers); from a server's start: one that hangs delays early lists only."""
        loop = asyncio.get_running_loop()
        while self._unsettled and (endpoint is None or endpoint in self.endpoints):
            shown = None if endpoint is None else self.endpoints[endpoint]
            early = (at for id, at in self._unsettled.items() if shown is None or self._shows(shown, id))
            until = max(early, default=-inf) + timeout_s
            if until <= loop.time():
                return
            try:
                async with asyncio.timeout_at(until):
                    await self._settling.wait()
            except TimeoutError:
                return

    def watch(self, endpoint: str, on_change: Callable[[Change], None], account: str = "") -> Callable[[], None]:
        return self._watchers.watch(endpoint, on_change)

    async def subscribe(self, item: Item, link: Link, account: str = "") -> bool:
        """Have the updates of this resource reported to watchers; False when its server cannot.

        Holds over reconnects. Raises DownstreamError.
        """
        return await self._subscriptions.hold(item, link)

    # What a follower reads.

    def view(self, endpoint: str, account: str = "") -> View | None:
        """What everybody sees there."""
        return self._views.get(endpoint)

    def shelves(self, endpoint: str) -> tuple[tuple[str, Shelf | None], ...]:
        """By server: the enabled ones that it shows. None: the server has not yet said what it offers."""
        shown = self.endpoints.get(endpoint)
        states = self._states.items()
        return tuple((id, s.shelf) for id, s in states if not s.disabled and shown and self._shows(shown, id))

    def listed(self, server: str) -> Shelf | None:
        return self._states[server].shelf

    def needs_login(self, server: str) -> bool:
        """Whether the server gives its lists to nobody who shows no token; of one that is configured."""
        state = self._states[server]
        return state.wants_login or (state.refused and not state.away)

    def left_s(self, server: str, kind: Kind) -> float:
        """How long its list may still be taken for current; inf: it has none of this kind."""
        return 0.0 if self._states[server].away else self._refreshers[server].left_s(kind)

    def showing(self, server: str) -> list[str]:
        return [name for name, shown in self.endpoints.items() if self._shows(shown, server)]

    # What operators read and decide.

    def problems(self, server: str) -> tuple[Problem, ...]:
        shelf = self._states[server].shelf if server in self._states else None
        return shelf.problems if shelf else ()

    def status(self, server: str) -> ListStatus | None:
        """None for a server that is not configured, and for variants."""
        state = self._states.get(server)
        if state is None:
            return None
        shelf = state.shelf or Shelf(self.specs[server])
        counts = {kind: len(shelf.items.get(kind, ())) for kind in KINDS}
        stale = state.shelf is not None and (state.away or bool(state.failed))
        return ListStatus(server, counts, stale, state.fetched_at, shelf.problems, len(shelf.changed))

    def pending(self, server: str | None = None) -> tuple[Changed, ...]:
        """Definitions that differ from the approved ones, of one server or of all."""
        shelves = (state.shelf for id, state in sorted(self._states.items()) if server in (None, id))
        return tuple(changed for shelf in shelves if shelf for changed in shelf.changed)

    def likenesses(self, server: str) -> tuple[Likeness, ...]:
        """Its tools that could be taken for another server's, as compared last: a second or so after lists change."""
        return self._lookalikes.of(server)

    async def compared(self) -> None:
        """Return once `likenesses` speaks of the present lists."""
        await self._lookalikes.renewed()

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
            await self.pins.record(server, [Pin(c.server, c.kind, c.native, c.sha256, c.new) for c in chosen])
            if chosen:
                await self._shelve(server, state.lists)
        return tuple(changed.native for changed in chosen)

    # How what was fetched becomes what is shown.

    async def _take_in(self, server: str, round: Round) -> None:
        """Called by the server's refresher. What raises here is tried again; what stood before stands on."""
        state = self._states[server]
        async with state.lock:
            lists, state.refused = merged(state.lists, round), round.refused
            await self._shelve(server, lists)
            state.failed = (state.failed - set(round.fetched)) | set(round.failed)
            state.fetched_at = self._clock() if round.fetched else state.fetched_at
        if round.fetched:
            await self._lists.save(self._tenant, server, to_stored(lists, round.peer))

    async def _shelve(self, server: str, lists: Lists) -> None:
        """Build, record first sights, then swap: a definition is shown only when its approval is durable."""
        state, spec = self._states[server], self.specs[server]
        shelf = await shelved(self.pins, spec, lists)
        state.warned = warned(shelf, state.warned)
        state.lists, state.shelf = steadied(state.lists, state.shelf, lists, shelf)
        self._publish(self.showing(server))
        self._lookalikes.touch()
        self._settle(server)

    def _commit(
        self, listing: Mapping[str, ServerSpec], endpoints: Mapping[str, Endpoint], shelves: Mapping[str, Shelf]
    ) -> list[str]:
        """Swap everything, in one step of the loop; the ids of servers that are gone."""
        before = dict(self.specs)
        gone = [id for id in before if id not in listing]
        self.specs.clear()  # the subscriptions read the same mapping
        self.specs.update(listing)
        for id in gone:
            del self._states[id]
            self._refreshers.pop(id).drop()
            self._subscriptions.forget(id)
            self._settle(id)
        for id, spec in listing.items():
            if id not in before:
                self._states[id] = _State()
            elif before[id] == spec:
                continue
            elif id in shelves:
                self._states[id].shelf = shelves[id]
            if id not in before or not same_connection(before[id], spec):
                self._renew(spec)
            self._switch(spec)
        emptied = [name for name in self.endpoints if name not in endpoints]
        selecting = [name for name in endpoints if endpoints[name] != self.endpoints.get(name)]
        self._watchers.forget(selecting)
        self.followers.reselected(selecting)
        self.endpoints = dict(endpoints)
        self._prefixes.update({name: endpoint.prefix for name, endpoint in endpoints.items()})
        for name in emptied:
            self._views.pop(name, None)
        self._publish(self.endpoints)
        self._touch(emptied)
        self._lookalikes.touch()
        return gone

    def _renew(self, spec: ServerSpec) -> None:
        """The server begins anew: what is still fetched over its old link is not taken in."""
        if (old := self._refreshers.get(spec.id)) is not None:
            old.drop()
        self._refreshers[spec.id] = self._refresher(spec)
        state = self._states[spec.id]
        state.away, state.disabled, state.wants_login, state.refused = True, True, False, False

    def _switch(self, spec: ServerSpec) -> None:
        state = self._states[spec.id]
        if spec.enabled and state.disabled:
            self._unsettled[spec.id] = asyncio.get_running_loop().time()
        elif not spec.enabled:
            self._settle(spec.id)
        state.disabled = not spec.enabled

    def _refresher(self, spec: ServerSpec) -> Refresher:
        return Refresher(spec, self._pace, partial(self._take_in, spec.id))

    def _settle(self, server: str) -> None:
        if server in self._unsettled:
            del self._unsettled[server]
            self._settling.set()
            self._settling = asyncio.Event()

    def _shows(self, endpoint: Endpoint, server: str) -> bool:
        return endpoint.servers is None or server in endpoint.servers

    def _tools(self) -> dict[str, tuple[Item, ...]]:
        shelves = {id: state.shelf for id, state in self._states.items() if not state.disabled}
        return {id: shelf.items.get("tool", ()) for id, shelf in shelves.items() if shelf is not None}

    def _publish(self, endpoints: Collection[str]) -> None:
        for name in endpoints:
            shelves = [shelf for _, shelf in self.shelves(name)]
            known = [shelf for shelf in shelves if shelf is not None]
            self._views[name] = View(self.endpoints[name], known, unknown=len(known) < len(shelves))
        self._touch(endpoints)

    def _touch(self, endpoints: Collection[str]) -> None:
        self._watchers.touched(endpoints)
        self.followers.published(endpoints)
