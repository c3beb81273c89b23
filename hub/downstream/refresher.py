"""Keeps one server's lists fresh: one task, woken by signals, at most one round of fetches at a time.

Decides when to fetch and what; what is made of the lists is its owner's. A failed fetch is tried again while the link
lives, ever more slowly; a list whose time has run out, or of whose changes nobody tells, is asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic

from hub.core.call import Kind
from hub.core.errors import DownstreamError, NeedsLogin
from hub.downstream.definitions import KINDS
from hub.downstream.link import Link, Peer, ServerSpec
from hub.downstream.listing import Fetched, fetch, offers, tells

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, but for `jitter`."""

    debounce_s: float = 0.3  # list_changed notifications within it are one
    gap_s: float = 1.0  # between two fetches from one server
    watch_s: float = 0.25  # changes told to clients within it are one
    retry_s: float = 2.0  # doubled after each failure, up to a minute
    again_min_s: float = 30.0  # before a list whose time ran out is asked for again: one that says 1 ms floods nobody
    again_s: float = 300.0  # the same without a time or news of changes: new tools show in minutes, at 4 small requests
    believed_s: float = 3600.0  # no list is taken for current longer: a wrong promise heals within the hour
    jitter: float = 0.1  # asked later by up to this share, so that servers that came up together are not asked together


@dataclass(frozen=True, slots=True)
class Round:
    """One round of fetches."""

    peer: Peer
    fetched: Mapping[Kind, Fetched]
    failed: Collection[Kind]
    refused: bool = False  # some of them for want of a login


class Refresher:
    def __init__(self, spec: ServerSpec, pace: Pace, apply: Callable[[Round], Awaitable[None]]) -> None:
        self._spec, self._pace, self._apply = spec, pace, apply
        self._link: Link | None = None
        self._due: set[Kind] = set()
        self._wake = asyncio.Event()
        self._at_once = False
        self._failures = 0
        self._refused = False  # in the present round
        self._last = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._fresh_until: dict[Kind, float] = {}  # monotonic; absent: not known to be current
        self._ask_at: dict[Kind, float] = {}  # monotonic

    def up(self, link: Link) -> None:
        """A new link: everything is fetched, at once."""
        self._link, self._at_once, self._failures = link, True, 0
        self._cancel_retry()
        self._signal(KINDS)

    def changed(self, kinds: Collection[Kind]) -> None:
        """The server says that these lists are new."""
        if self._link is not None:
            self._signal(kinds)

    def left_s(self, kind: Kind) -> float:
        """How long the list last taken in may still be taken for current; inf: the server has no lists of this kind."""
        if self._link is None or not self._link.alive:
            return 0.0
        return max(0.0, self._fresh_until.get(kind, -inf) - monotonic())

    def drop(self) -> None:
        """Stop, and take nothing more in, not even what is being fetched. Never waits."""
        self._link = None
        self._cancel_retry()
        self._cancel_again()
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        self.drop()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _signal(self, kinds: Collection[Kind]) -> None:
        for kind in kinds:
            self._fresh_until.pop(kind, None)
            self._ask_at.pop(kind, None)
        self._due.update(kinds)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"lists of {self._spec.id}")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            if not self._at_once:
                await asyncio.sleep(max(self._pace.debounce_s, self._last + self._pace.gap_s - loop.time()))
            self._wake.clear()
            self._at_once = False
            kinds, self._due = self._due, set()
            try:
                failed = await self._round(kinds)
            except Exception:
                log.exception("the lists of %s were not taken in; trying again", self._spec.id)
                failed = kinds
            self._last = loop.time()
            self._plan_retry(failed)
            self._plan_again()

    async def _round(self, kinds: Collection[Kind]) -> Collection[Kind]:
        link = self._link
        assert link is not None  # nothing is due before the first one
        began = monotonic()
        offered = [kind for kind in kinds if offers(link.peer, kind)]
        self._refused = False
        answers = await asyncio.gather(*(self._fetch(link, kind) for kind in offered))
        fetched = {kind: Fetched(()) for kind in kinds if kind not in offered}
        fetched.update({kind: answer for kind, answer in zip(offered, answers, strict=True) if answer is not None})
        failed = tuple(kind for kind in kinds if kind not in fetched)
        await self._apply(Round(link.peer, fetched, failed, self._refused))
        self._note_times(link.peer, fetched, began)
        return failed

    async def _fetch(self, link: Link, kind: Kind) -> Fetched | None:
        try:
            return await fetch(self._spec, link, kind)
        except DownstreamError as exc:
            log.warning("the %s list was not fetched: %s", kind, exc)
            self._refused = self._refused or isinstance(exc, NeedsLogin)
            return None

    def _note_times(self, peer: Peer, fetched: Mapping[Kind, Fetched], began: float) -> None:
        """What was taken in is current for so long, counted from before it was asked for."""
        pace, later = self._pace, 1.0 + self._pace.jitter * random.random()
        for kind, listed in fetched.items():
            if kind in self._due:
                continue  # it is new again, or of a link that is over
            if not offers(peer, kind):
                self._fresh_until[kind] = inf
                continue
            fresh_s = min(listed.ttl_ms, pace.believed_s * 1000) / 1000
            self._fresh_until[kind] = began + fresh_s
            if fresh_s > 0:
                self._ask_at[kind] = began + max(fresh_s, pace.again_min_s) * later
            elif not tells(self._spec, peer, kind):
                self._ask_at[kind] = began + pace.again_s * later

    def _plan_again(self) -> None:
        self._cancel_again()
        if self._ask_at:
            at = min(self._ask_at.values())
            self._again = asyncio.get_running_loop().call_later(max(0.0, at - monotonic()), self._ask_again, at)

    def _cancel_again(self) -> None:
        if self._again is not None:
            self._again.cancel()

    def _ask_again(self, at: float) -> None:
        kinds = [kind for kind, ask_at in self._ask_at.items() if ask_at <= at]
        if kinds and self._link is not None and self._link.alive:  # a new link is asked for everything anyway
            self._signal(kinds)

    def _plan_retry(self, failed: Collection[Kind]) -> None:
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        delay_s = min(self._pace.retry_s * 2.0 ** min(self._failures - 1, 10), 60.0)
        self._retry = asyncio.get_running_loop().call_later(delay_s, self._try_again, tuple(failed))

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()

    def _try_again(self, kinds: Collection[Kind]) -> None:
        if self._link is not None and self._link.alive:
            self._signal(kinds)
