"""Tells the edges what is new at their endpoint, debounced.

Owns who watches and what they know. Calls back one after the other and never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from hub.core.call import Item
from hub.core.ports import Change
from hub.downstream.view import Signature, View

log = logging.getLogger(__name__)

OnChange = Callable[[Change], None]
MAX_UPDATES: Final = 1000  # resources that changed within one debounce, per endpoint; more are dropped
_FORGOTTEN: Final = (("", ""),)  # what no view lists


class Watchers:
    def __init__(self, view: Callable[[str], View | None], delay_s: float) -> None:
        self._view, self._delay_s = view, delay_s
        self._watching: dict[str, list[OnChange]] = {}
        self._told: dict[str, Signature] = {}  # what the watchers of an endpoint know
        self._updated: dict[str, dict[str, Item]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def watch(self, endpoint: str, on_change: OnChange) -> Callable[[], None]:
        watching = self._watching.setdefault(endpoint, [])
        if not watching:
            self._told[endpoint] = self._signature(endpoint)
        entry: OnChange = lambda change: on_change(change)  # noqa: E731 - an identity of its own: one may watch twice
        watching.append(entry)

        def stop() -> None:
            if entry in watching:
                watching.remove(entry)
                if not watching:
                    self._end(endpoint)

        return stop

    def touched(self, endpoints: Iterable[str]) -> None:
        """Lists of these endpoints may differ now."""
        for endpoint in endpoints:
            self._schedule(endpoint)

    def forget(self, endpoints: Iterable[str]) -> None:
        """These endpoints select tools anew, which no view shows: whoever watches them is told when next touched."""
        for endpoint in endpoints:
            if endpoint in self._told:
                self._told[endpoint] = {**self._told[endpoint], "tool": _FORGOTTEN}

    def updated(self, endpoint: str, uri: str) -> None:
        """The contents of the resource that this endpoint's clients call `uri` are new."""
        view = self._view(endpoint)
        waiting = self._updated.setdefault(endpoint, {}) if self._watching.get(endpoint) else None
        if view is None or waiting is None or len(waiting) >= MAX_UPDATES:
            return
        item = view.resolve("resource", uri)
        if item is not None:
            waiting[item.name] = item
            self._schedule(endpoint)

    def close(self) -> None:
        for endpoint in list(self._watching):
            self._watching[endpoint].clear()
            self._end(endpoint)

    def _end(self, endpoint: str) -> None:
        del self._watching[endpoint], self._told[endpoint]
        self._updated.pop(endpoint, None)
        timer = self._timers.pop(endpoint, None)
        if timer is not None:
            timer.cancel()

    def _schedule(self, endpoint: str) -> None:
        if self._watching.get(endpoint) and endpoint not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[endpoint] = loop.call_later(self._delay_s, self._flush, endpoint)

    def _flush(self, endpoint: str) -> None:
        del self._timers[endpoint]
        told, now = self._told[endpoint], self._signature(endpoint)
        self._told[endpoint] = now
        # Templates have no notification of their own: their clients learn of them as of resources.
        news = [Change(kind) for kind in ("tool", "prompt") if told.get(kind, ()) != now.get(kind, ())]
        if any(told.get(kind, ()) != now.get(kind, ()) for kind in ("resource", "template")):
            news.append(Change("resource"))
        news.extend(Change("resource", item) for item in self._updated.pop(endpoint, {}).values())
        for on_change in tuple(self._watching[endpoint]):
            for change in news:
                _tell(on_change, change)

    def _signature(self, endpoint: str) -> Signature:
        view = self._view(endpoint)
        return view.signature() if view else {}


def _tell(on_change: OnChange, change: Change) -> None:
    try:
        on_change(change)
    except Exception:  # one watcher's bug costs only itself
        log.exception("a watcher of the catalogue raised")
