"""The catalogue as each account sees it: what everybody sees, with its own lists in the place of some servers'.

Owns the views of accounts, who watches for them and what they subscribed to. Whoever has nothing of his own reads what
everybody reads. Nothing of one account is ever read for another: every view is made from the shelves of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from math import inf
from time import monotonic
from weakref import WeakValueDictionary

from hub.core.call import EMPTY, Item, Json, Kind
from hub.core.ports import Change, Pin, PrefixRule
from hub.downstream.catalog import Catalogue, ListStatus
from hub.downstream.credential import Credentials
from hub.downstream.likeness import Likeness
from hub.downstream.link import Link
from hub.downstream.login_tool import is_login_tool, login_shelf
from hub.downstream.own_lists import KEEP_S, MOST, Account, Opened, OwnList, OwnLists
from hub.downstream.refresher import Pace
from hub.downstream.shelf import Changed, Problem, Shelf
from hub.downstream.shelving import LIST_CHANGED
from hub.downstream.subscriptions import Subscriptions
from hub.downstream.view import View
from hub.downstream.watchers import Watchers

_Alike = tuple[str, tuple[int, ...], bool]


class OwnCatalogue:
    """Implements the ports Catalog and Changes, and what dispatch asks of shelves; "" sees what everybody sees."""

    def __init__(
        self,
        base: Catalogue,
        credentials: Credentials,
        opened: Opened,
        *,
        pace: Pace = Pace(),
        clock: Callable[[], float] = monotonic,
        keep_s: float = KEEP_S,
        most: int = MOST,
    ) -> None:
        self._base, self._credentials, self._clock, self._keep_s = base, credentials, clock, keep_s
        self._lists = OwnLists(base.pins, base.specs, opened, self._renewed, pace, clock, most)
        self._accounts = self._lists.accounts
        self._personal: frozenset[str] = frozenset()  # servers where everybody has his own account
        self._inviting: dict[str, Shelf] = {}  # by server: the login tool, where it stands for the list
        self._strangers: dict[str, View] = {}  # by endpoint: what accounts see that have nothing of their own
        self._alike: WeakValueDictionary[_Alike, View] = WeakValueDictionary()
        self._watchers = Watchers(self._view, pace.watch_s)
        self._subscriptions = Subscriptions(base.specs)
        self._sweeping: asyncio.TimerHandle | None = None
        base.followers.join(self)
        self.published(())

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._watchers.close()
        await self._subscriptions.aclose()
        await self._lists.aclose()

    # What the catalogue of everybody tells.

    def published(self, endpoints: Collection[str]) -> None:
        moved = self._lists.respec()
        self._personal = frozenset(
            id for id, spec in self._base.specs.items() if spec.auth and spec.auth.account == "user"
        )
        self._inviting = {id: shelf for id in self._personal if (shelf := self._invitation(id)) is not None}
        self._strangers.clear()
        for holder in self._accounts.values():
            holder.views.clear()
        self._retry(moved)
        self._watchers.touched(endpoints)

    def reselected(self, endpoints: Collection[str]) -> None:
        self._watchers.forget(endpoints)

    def updated(self, server: str, uri: str) -> None:
        """Told by the link of everybody: those hear of it who see what it lists."""
        showing = self._base.showing(server)
        for endpoint, account in self._watchers.places():
            own = self._lists.one(server, account)
            if endpoint in showing and (own is None or own.shelf is None):
                self._tell_updated(endpoint, server, uri, account)

    # What the links of accounts tell, and whoever keeps their connections.

    def on_up(self, server: str, account: str, link: Link) -> None:
        if account and server in self._personal and self._credentials.own(server, account) is not None:
            self._lists.up(server, account, link)
            self._subscriptions.renew(server, link, account)
            self._sweep_later()

    def on_notified(self, server: str, account: str, method: str, params: Json) -> None:
        own = self._lists.one(server, account)
        if own is None:
            return
        if method in LIST_CHANGED:
            own.refresher.changed(LIST_CHANGED[method])
        elif method == "notifications/resources/updated" and isinstance(params.get("uri"), str):
            for endpoint in self._base.showing(server) if own.shelf is not None else ():
                self._tell_updated(endpoint, server, params["uri"], account)

    def begun(self, server: str, account: str) -> None:
        """A login came, maybe to another account there than before: its list is fetched, and what stood is gone."""
        self._lists.drop(server, account)
        if account and server in self._personal:
            self._lists.open(server, account)
            self._sweep_later()
        self._touch(server, account)

    def ended(self, server: str, account: str) -> None:
        """The account holds nothing there any more."""
        self._lists.drop(server, account)
        self._subscriptions.forget(server, account)
        self._touch(server, account)

    def heard(self, server: str, account: str) -> bool:
        """Whether some client of this account waits for what its link to this server tells."""
        return any(who == account for _, who in self._watchers.places())

    # What the pipeline and the edges read.

    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        holder = self._accounts.get(account)
        if holder is None and not (self._inviting and account):
            return self._base.resolve(endpoint, kind, name)
        view = self._seen(endpoint, holder)
        found = view.resolve(kind, name) if view is not None else None
        if found is None and holder is not None and kind == "tool":  # whoever was asked to log in by it asks again
            stranger = self._seen(endpoint, None)
            item = stranger.resolve(kind, name) if stranger is not None else None
            if item is not None and is_login_tool(item):
                return item
        return found

    def items(self, endpoint: str, kind: Kind, account: str = "") -> tuple[Item, ...]:
        view = self._view(endpoint, account)
        return view.items(kind) if view is not None else ()

    def capabilities(self, endpoint: str, account: str = "") -> Json:
        """As the port says. Before a login nobody knows what a server offers: all of it is promised."""
        view = self._view(endpoint, account)
        return view.capabilities if view is not None else EMPTY

    def ttl_ms(self, endpoint: str, kind: Kind, account: str = "") -> int:
        holder = self._accounts.get(account)
        if holder is None:
            return self._base.ttl_ms(endpoint, kind)
        left_s = inf
        for server, _ in self._base.shelves(endpoint):
            own = holder.lists.get(server)
            if own is None:
                left_s = min(left_s, self._base.left_s(server, kind))
            else:
                left_s = min(left_s, 0.0 if own.shelf is None else own.refresher.left_s(kind))
        return 0 if left_s == inf else int(left_s * 1000)

    def prefix(self, endpoint: str) -> PrefixRule:
        return self._base.prefix(endpoint)

    async def settled(self, endpoint: str | None, timeout_s: float, account: str = "") -> None:
        """As the port says; links of the account that were not opened yet are opened for it."""
        waiting = self._opening(endpoint, account) if self._personal and account and endpoint is not None else ()
        if waiting:
            await asyncio.gather(self._base.settled(endpoint, timeout_s), _within(timeout_s, waiting))
        else:
            await self._base.settled(endpoint, timeout_s)

    def watch(self, endpoint: str, on_change: Callable[[Change], None], account: str = "") -> Callable[[], None]:
        if not account:
            return self._base.watch(endpoint, on_change)
        return self._watchers.watch(endpoint, on_change, account)

    async def subscribe(self, item: Item, link: Link, account: str = "") -> bool:
        """Have the updates of this resource reported to watchers, of this account alone where the link is its own.

        False when its server cannot. Holds over reconnects. Raises DownstreamError.
        """
        if not account or self._credentials.own(item.server, account) is None:
            return await self._base.subscribe(item, link)
        self._sweep_later()
        return await self._subscriptions.hold(item, link, account)

    # What operators read and decide.

    def status(self, server: str) -> ListStatus | None:
        """Counts are of what everybody sees; what waits for approval may be of anybody's list."""
        status = self._base.status(server)
        return status and replace(status, waiting=len(self.pending(server)))

    def problems(self, server: str) -> tuple[Problem, ...]:
        return self._base.problems(server)

    def likenesses(self, server: str) -> tuple[Likeness, ...]:
        return self._base.likenesses(server)

    async def compared(self) -> None:
        await self._base.compared()

    def pending(self, server: str | None = None) -> tuple[Changed, ...]:
        """As of the catalogue of everybody, with what differs in lists of accounts; nothing says whose they are."""
        found = {(c.server, c.kind, c.native, c.sha256): c for c in self._base.pending(server)}
        for id in sorted(self._base.specs) if server is None else (server,):
            for shelf in self._lists.shelves(id):
                for changed in shelf.changed:
                    found.setdefault((id, changed.kind, changed.native, changed.sha256), changed)
        return tuple(found.values())

    async def approve(
        self, server: str, natives: Collection[str] | None = None, *, seen: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """As of the catalogue of everybody. Where lists differ in one definition, one of them becomes the approved."""
        approved = await self._base.approve(server, natives, seen=seen)
        chosen: dict[tuple[Kind, str], Changed] = {}
        for changed in self.pending(server):
            if (natives is None or changed.native in natives) and (seen is None or changed.sha256 in seen):
                chosen.setdefault((changed.kind, changed.native), changed)
        more = [changed for changed in chosen.values() if changed.native not in approved]
        async with self._base.pins.deciding(server):
            await self._base.pins.record(server, [Pin(c.server, c.kind, c.native, c.sha256, c.new) for c in more])
        if approved or more:
            await self._lists.remake(server)
        return (*approved, *(changed.native for changed in more))

    # How views come about.

    def _view(self, endpoint: str, account: str) -> View | None:
        holder = self._accounts.get(account)
        if holder is None and not (self._inviting and account):
            return self._base.view(endpoint)
        return self._seen(endpoint, holder)

    def _seen(self, endpoint: str, holder: Account | None) -> View | None:
        if holder is not None:
            holder.used_at = self._clock()
        views = self._strangers if holder is None else holder.views
        view = views.get(endpoint)
        if view is None:
            made = self._made(endpoint, holder)
            if made is None:
                return None
            view = views[endpoint] = made
        return view

    def _made(self, endpoint: str, holder: Account | None) -> View | None:
        shown = self._base.endpoints.get(endpoint)
        if shown is None:
            return None
        shelves: list[Shelf] = []
        unknown = False
        for server, shelf in self._base.shelves(endpoint):
            own = holder.lists.get(server) if holder is not None else None
            if own is not None and own.shelf is not None:
                shelf = own.shelf
            elif server in self._inviting and (own is None or own.refused):
                shelf, unknown = self._inviting[server], True
            if shelf is None:
                unknown = True
            else:
                shelves.append(shelf)
        key = (endpoint, tuple(id(shelf) for shelf in shelves), unknown)  # a view holds its shelves: no id comes twice
        view = self._alike.get(key)
        if view is None or not view.is_of(shown):
            view = self._alike[key] = View(shown, shelves, unknown)
        return view

    def _invitation(self, server: str) -> Shelf | None:
        """The login tool of a server that lists nothing to whoever shows no token."""
        spec, listed = self._base.specs[server], self._base.listed(server)
        if not self._base.needs_login(server) or (listed is not None and any(listed.items.values())):
            return None
        known = self._inviting.get(server)
        return known if known is not None and known.spec is spec else login_shelf(spec)

    def _opening(self, endpoint: str, account: str) -> Sequence[OwnList]:
        """The account's lists at this endpoint that are awaited."""
        awaited: list[OwnList] = []
        for server, _ in self._base.shelves(endpoint):
            if server not in self._personal or self._credentials.own(server, account) is None:
                continue
            own = self._lists.open(server, account)
            if not own.settled.is_set():
                awaited.append(own)
        if awaited:
            self._sweep_later()
        return awaited

    def _retry(self, moved: Sequence[tuple[str, str]]) -> None:
        """A server's state is new: links that did not open are tried again for those who wait for news."""
        watched = {account for _, account in self._watchers.places()}
        failed = [(server, account) for server, account, own in self._lists.everyone() if own.shelf is None]
        for server, account in (*moved, *failed):
            if account in watched and server in self._personal and self._credentials.own(server, account) is not None:
                self._lists.open(server, account)

    # How changes are told, and what is not used is forgotten.

    def _renewed(self, server: str, account: str) -> None:
        """Told by the lists of accounts."""
        holder = self._accounts.get(account)
        if holder is not None:
            holder.views.clear()
        self._touch(server, account)

    def _touch(self, server: str, account: str) -> None:
        self._watchers.touched(self._base.showing(server), account)

    def _tell_updated(self, endpoint: str, server: str, uri: str, account: str) -> None:
        view = self._view(endpoint, account)
        if view is not None:
            self._watchers.updated(endpoint, view.uri(server, uri), account)

    def _sweep_later(self) -> None:
        if self._sweeping is None and (self._accounts or self._subscriptions.places()):
            self._sweeping = asyncio.get_running_loop().call_later(self._keep_s / 4, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self.sweep()
        self._sweep_later()

    def sweep(self) -> None:
        """Forget what the accounts have that used nothing for long and for whom nobody watches."""
        watched = {account for _, account in self._watchers.places()}
        self._lists.forget(self._clock() - self._keep_s, watched)
        for server, account in self._subscriptions.places():
            if server not in self._personal or (account not in self._accounts and account not in watched):
                self._subscriptions.forget(server, account)


async def _within(timeout_s: float, lists: Sequence[OwnList]) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            for own in lists:
                await own.settled.wait()
    except TimeoutError:
        return
