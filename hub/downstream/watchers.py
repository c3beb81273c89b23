"""Tells the edges what is new at their endpoint, debounced: to everybody alike, or to each account what is its own.

Owns who watches and what they know. Calls back one after the other and never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final, Protocol

from hub.core.call import Item
from hub.core.ports import Change
from hub.downstream.view import Signature, View

log = logging.getLogger(__name__)

OnChange = Callable[[Change], None]
MAX_UPDATES: Final = 1000  # resources that changed within one debounce, per endpoint; more are dropped
_FORGOTTEN: Final = (("", ""),)  # what no view lists


class Follower(Protocol):
    """Who makes views of its own of what everybody sees. Called in the same step of the loop; never waits."""

    def published(self, endpoints: Collection[str]) -> None:
        """What these endpoints show may be new."""

    def reselected(self, endpoints: Collection[str]) -> None:
        """These select tools anew."""

    def updated(self, server: str, uri: str) -> None:
        """The contents of a resource are new; `uri` is the server's own."""


class Followers:
    """Hands on to all that joined."""

    def __init__(self) -> None:
        self._all: list[Follower] = []

    def join(self, follower: Follower) -> None:
        self._all.append(follower)

    def published(self, endpoints: Collection[str]) -> None:
        for follower in self._all:
            follower.published(endpoints)

    def reselected(self, endpoints: Collection[str]) -> None:
        for follower in self._all:
            follower.reselected(endpoints)

    def updated(self, server: str, uri: str) -> None:
        for follower in self._all:
            follower.updated(server, uri)


Place = tuple[str, str]  # endpoint, account


class Watchers:
    def __init__(self, view: Callable[[str, str], View | None], delay_s: float) -> None:
        self._view, self._delay_s = view, delay_s
        self._watching: dict[Place, list[OnChange]] = {}
        self._told: dict[Place, Signature] = {}  # what the watchers of a place know
        self._updated: dict[Place, dict[str, Item]] = {}
        self._timers: dict[Place, asyncio.TimerHandle] = {}

    def watch(self, endpoint: str, on_change: OnChange, account: str = "") -> Callable[[], None]:
        place = (endpoint, account)
        watching = self._watching.setdefault(place, [])
        if not watching:
            self._told[place] = self._signature(place)
        entry: OnChange = lambda change: on_change(change)  # noqa: E731 - an identity of its own: one may watch twice
        watching.append(entry)

        def stop() -> None:
            if entry in watching:
                watching.remove(entry)
                if not watching:
                    self._end(place)

        return stop

    def places(self) -> tuple[Place, ...]:
        """Where anybody watches, for which account."""
        return tuple(self._watching)

    def touched(self, endpoints: Collection[str], account: str | None = None) -> None:
        """Lists of these endpoints may differ now: for this account, or (None) for any."""
        places = tuple(self._watching) if account is None else tuple((name, account) for name in endpoints)
        for place in places:
            if place[0] in endpoints:
                self._schedule(place)

    def forget(self, endpoints: Collection[str]) -> None:
        """These endpoints select tools anew, which no view shows: whoever watches them is told when next touched."""
        for place, told in self._told.items():
            if place[0] in endpoints:
                self._told[place] = {**told, "tool": _FORGOTTEN}

    def updated(self, endpoint: str, uri: str, account: str = "") -> None:
        """The contents of the resource that these clients call `uri` are new."""
        place = (endpoint, account)
        if not self._watching.get(place):
            return
        view, waiting = self._view(endpoint, account), self._updated.setdefault(place, {})
        if view is None or len(waiting) >= MAX_UPDATES:
            return
        item = view.resolve("resource", uri)
        if item is not None:
            waiting[item.name] = item
            self._schedule(place)

    def close(self) -> None:
        for place in list(self._watching):
            self._watching[place].clear()
            self._end(place)

    def _end(self, place: Place) -> None:
        del self._watching[place], self._told[place]
        self._updated.pop(place, None)
        timer = self._timers.pop(place, None)
        if timer is not None:
            timer.cancel()

    def _schedule(self, place: Place) -> None:
        if self._watching.get(place) and place not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[place] = loop.call_later(self._delay_s, self._flush, place)

    def _flush(self, place: Place) -> None:
        del self._timers[place]
        told, now = self._told[place], self._signature(place)
        self._told[place] = now
        # Templates have no notification of their own: their clients learn of them as of resources.
        news = [Change(kind) for kind in ("tool", "prompt") if told.get(kind, ()) != now.get(kind, ())]
        if any(told.get(kind, ()) != now.get(kind, ()) for kind in ("resource", "template")):
            news.append(Change("resource"))
        news.extend(Change("resource", item) for item in self._updated.pop(place, {}).values())
        for on_change in tuple(self._watching[place]):
            for change in news:
                _tell(on_change, change)

    def _signature(self, place: Place) -> Signature:
        view = self._view(*place)
        return view.signature() if view else {}


def _tell(on_change: OnChange, change: Change) -> None:
    try:
        on_change(change)
    except Exception:  # one watcher's bug costs only itself
        log.exception("a watcher of the catalogue raised")
