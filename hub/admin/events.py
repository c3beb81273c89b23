"""Counts what the log is told beside calls: logins, tokens and other acts of identity, admin acts, starts and stops."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.core.call import Json
from hub.core.ports import EventKind, Journal

MAX_SERIES: Final = 1000
OTHER: Final = "other"
_ACT: Final = re.compile(r"[a-z][a-z0-9_.]{0,39}")


class CountedJournal(Collector):
    """A journal whose every entry is counted once it is durable, and which gives the counts to a scrape."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self._counts: dict[tuple[str, str, str], int] = {}  # by kind, act and outcome

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        id = await self._inner.event(kind, who, outcome, item, detail)
        key = kind, _act(detail), outcome.partition(":")[0]
        if key not in self._counts and len(self._counts) >= MAX_SERIES:
            key = kind, OTHER, key[2]
        self._counts[key] = self._counts.get(key, 0) + 1
        return id

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "mcp_hub_events",
            "Entries of the log that are no calls, by act and outcome.",
            labels=("kind", "act", "outcome"),
        )
        for labels, count in list(self._counts.items()):
            events.add_metric(labels, count)
        yield events


def _act(detail: Json) -> str:
    """The act as the hub's own parts name it; what has no name, or none of theirs, is one of the others."""
    act = detail.get("act")
    return act if isinstance(act, str) and _ACT.fullmatch(act) else OTHER
