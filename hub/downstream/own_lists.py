"""What the own links of accounts list: fetched, compared with what is approved, kept while somebody uses it.

Owns one list per account and server; lists that are alike are kept once. Knows no endpoint, and judges nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from hub.core.errors import DownstreamError, NeedsLogin
from hub.downstream.definitions import KINDS
from hub.downstream.link import Link, ServerSpec, same_connection
from hub.downstream.pinbook import PinBook
from hub.downstream.refresher import Pace, Refresher, Round
from hub.downstream.shelf import Lists, Shelf, steadied
from hub.downstream.shelving import merged, shelved, warned
from hub.downstream.view import View

log = logging.getLogger(__name__)

KEEP_S: Final = 3600.0  # a list that nobody asked for
MOST: Final = 10_000  # lists of all accounts together
AGAIN_S: Final = 10.0  # before a link that did not open is tried again

Opened = Callable[[str, str], Awaitable[Link]]
"""The account's own link to a server, opened where there is none. Raises DownstreamError; bounded in time."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Made:
    """Lists and what was made of them, for everybody who has the same."""

    lists: Lists
    shelf: Shelf


class OwnList:
    """What one server lists to one account."""

    def __init__(self, spec: ServerSpec, refresher: Refresher) -> None:
        self.spec, self.refresher = spec, refresher
        self.link: Link | None = None
        self.lists = Lists()
        self.made: _Made | None = None  # None: nothing has been listed yet
        self.refused = False  # the account has to log in
        self.settled = asyncio.Event()  # it has a list, or it is known why not
        self.opening: asyncio.Task[None] | None = None
        self.again_at = 0.0
        self.making = asyncio.Lock()

    @property
    def shelf(self) -> Shelf | None:
        return None if self.made is None else self.made.shelf

    @property
    def is_linked(self) -> bool:
        return self.link is not None and self.link.alive

    def drop(self) -> list[asyncio.Task[None]]:
        """Stop, and take nothing more in. Who waits for it goes on. Never waits."""
        self.refresher.drop()
        self.settled.set()
        if self.opening is None:
            return []
        self.opening.cancel()
        return [self.opening]


@dataclass(slots=True, eq=False)
class Account:
    """All that one account has of its own."""

    used_at: float
    lists: dict[str, OwnList] = field(default_factory=dict)  # by server
    views: dict[str, View] = field(default_factory=dict)  # by endpoint; of whoever merges them


class OwnLists:
    def __init__(
        self,
        pins: PinBook,
        specs: Mapping[str, ServerSpec],
        opened: Opened,
        changed: Callable[[str, str], None],
        pace: Pace,
        clock: Callable[[], float] = monotonic,
        most: int = MOST,
    ) -> None:
        """`specs` is read at every use. `changed` (server, account) is told when what an account sees may be new."""
        self._pins, self._specs, self._opened, self._changed = pins, specs, opened, changed
        self._pace, self._clock, self._most = pace, clock, most
        self.accounts: dict[str, Account] = {}
        self._count = 0
        self._kept: dict[str, WeakValueDictionary[bytes, _Made]] = {}
        self._warned: dict[str, frozenset[str]] = {}
        self._remaking: set[asyncio.Task[None]] = set()

    def one(self, server: str, account: str) -> OwnList | None:
        holder = self.accounts.get(account)
        return holder.lists.get(server) if holder is not None else None

    def everyone(self) -> Iterator[tuple[str, str, OwnList]]:
        """(server, account, list) of all there are now."""
        for account, holder in list(self.accounts.items()):
            for server, own in list(holder.lists.items()):
                yield server, account, own

    def open(self, server: str, account: str) -> OwnList:
        """Have the account's link opened, and its list fetched, unless that is going on. Raises KeyError."""
        own = self._begun(server, account)
        if own.opening is None and not own.is_linked and self._clock() >= own.again_at:
            own.again_at = self._clock() + AGAIN_S
            if own.made is None:
                own.settled.clear()
            task = asyncio.create_task(self._open(own, server, account), name=f"opening {server} for an account")
            own.opening = task
        return own

    def up(self, server: str, account: str, link: Link) -> None:
        """The account has a new link, so everything is fetched. Raises KeyError."""
        own = self._begun(server, account)
        if own.link is not link:
            own.link = link
            own.refresher.up(link)

    def drop(self, server: str, account: str) -> bool:
        """Forget one list at once; False when there was none."""
        holder = self.accounts.get(account)
        own = holder.lists.pop(server, None) if holder is not None else None
        if holder is None or own is None:
            return False
        self._count -= 1
        own.drop()
        holder.views.clear()
        if not holder.lists:
            del self.accounts[account]
        return True

    def respec(self) -> list[tuple[str, str]]:
        """Servers may have been changed or taken out. What was made by other rules is shown no more from now on.

        Those (server, account) whose list is gone because the server is reached otherwise now.
        """
        remade: set[str] = set()
        moved: list[tuple[str, str]] = []
        for server, account, own in self.everyone():
            spec = self._specs.get(server)
            if spec is own.spec:
                continue
            if spec is None or not same_connection(own.spec, spec):
                self.drop(server, account)
                self._kept.pop(server, None)
                moved.extend([(server, account)] if spec is not None else ())
                continue
            own.spec = spec
            if own.made is not None:
                own.made = None
                own.settled.clear()
                remade.add(server)
        for server in remade:
            task = asyncio.create_task(self.remake(server), name=f"own lists of {server}")
            self._remaking.add(task)
            task.add_done_callback(self._remaking.discard)
        return moved

    async def remake(self, server: str) -> None:
        """Approvals or rules of a server are new: compare all lists of it again."""
        self._kept.pop(server, None)
        for id, account, own in self.everyone():
            if id == server and own.lists.peer is not None:
                await self._remake(own, server, account)

    def shelves(self, server: str) -> tuple[Shelf, ...]:
        """Of a server, each once."""
        return tuple(made.shelf for made in self._kept.get(server, {}).values())

    def forget(self, before: float, watched: Collection[str]) -> list[str]:
        """Let go of accounts that used nothing since, unless somebody watches for them; who they are."""
        gone = [id for id, holder in self.accounts.items() if holder.used_at < before and id not in watched]
        for account in gone:
            for server in list(self.accounts[account].lists):
                self.drop(server, account)
        return gone

    async def aclose(self) -> None:
        ending = [*self._remaking]
        refreshers = []
        for server, account, own in self.everyone():
            refreshers.append(own.refresher)
            ending.extend(own.drop())
            self.drop(server, account)
        for task in ending:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(refresher.aclose() for refresher in refreshers))

    def _begun(self, server: str, account: str) -> OwnList:
        spec, holder = self._specs[server], self.accounts.get(account)
        if holder is None:
            holder = self.accounts[account] = Account(self._clock())
        own = holder.lists.get(server)
        if own is None:
            self._make_room(account)
            own = self._new(spec, account)
            holder.lists[server] = own
            self._count += 1
            holder.views.clear()
        return own

    def _new(self, spec: ServerSpec, account: str) -> OwnList:
        async def take_in(round: Round) -> None:
            await self._take_in(own, spec.id, account, round)

        own = OwnList(spec, Refresher(spec, self._pace, take_in))
        return own

    def _make_room(self, account: str) -> None:
        """Whoever used what he has the longest ago loses it: he gets it again when he asks."""
        while self._count >= self._most:
            others = [id for id, holder in self.accounts.items() if id != account and holder.lists]
            if not others:
                return
            oldest = min(others, key=lambda id: self.accounts[id].used_at)
            for server in list(self.accounts[oldest].lists):
                self.drop(server, oldest)

    async def _open(self, own: OwnList, server: str, account: str) -> None:
        try:
            link = await self._opened(server, account)
        except DownstreamError as exc:
            own.refused = isinstance(exc, NeedsLogin)
            if not own.refused:
                log.warning("the lists of an account were not fetched: %s", exc)
        except Exception:
            log.exception("the link of an account to %s was not opened", server)
        else:
            own.opening = None
            if self.one(server, account) is own:
                self.up(server, account, link)
            return
        own.opening = None
        own.settled.set()
        self._tell(own, server, account)

    async def _take_in(self, own: OwnList, server: str, account: str, round: Round) -> None:
        async with own.making:
            listed = any(
                fetched.definitions for fetched in round.fetched.values()
            )  # it is empty where none are offered
            if listed or not round.failed or own.made is not None:
                await self._make(own, merged(own.lists, round))
            own.refused = round.refused
        own.settled.set()
        self._tell(own, server, account)

    def _tell(self, own: OwnList, server: str, account: str) -> None:
        if self.one(server, account) is own:
            self._changed(server, account)

    async def _remake(self, own: OwnList, server: str, account: str) -> None:
        try:
            async with own.making:
                await self._make(own, own.lists)
        except Exception:  # it is fetched again when the account asks
            log.exception("the own lists of %s were not compared again", server)
            if self.one(server, account) is own:
                self.drop(server, account)
        own.settled.set()
        self._changed(server, account)

    async def _make(self, own: OwnList, lists: Lists) -> None:
        """First sights are durable before anything is shown. By the rules of now, also if they change meanwhile."""
        while True:
            spec = own.spec
            shelf = await shelved(self._pins, spec, lists)
            if own.spec is spec:
                break
        kept = self._kept.setdefault(spec.id, WeakValueDictionary())
        made = kept.get(key := _content(shelf))
        if made is None or made.shelf.spec is not spec:
            old = own.made
            if old is not None:
                lists, shelf = steadied(old.lists, old.shelf, lists, shelf)
            made = kept[key] = _Made(lists, shelf)
            self._warned[spec.id] = warned(shelf, self._warned.get(spec.id, frozenset()))
        own.lists, own.made = made.lists, made


def _content(shelf: Shelf) -> bytes:
    """Equal for shelves that nobody can tell apart."""
    told = sha256(repr((shelf.peer, shelf.problems)).encode("utf-8", "surrogatepass"))
    for kind in KINDS:
        for item in shelf.bare.get(kind, ()):
            told.update(repr((kind, item.name, item.native, item.sha256, item.writes, item.changed)).encode())
    for changed in shelf.changed:
        told.update(repr((changed.kind, changed.native, changed.sha256, changed.old is None)).encode())
    return told.digest()
