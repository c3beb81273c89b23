"""Answers kept for callers who ask the same again. The port keys them; this decides what may be kept at all."""

from __future__ import annotations

from hub.core.call import Call, Done, One, Outcome
from hub.core.ports import Next, ResultCache


class Cache:
    """Reads only: what may change something always goes down, and an error is never kept."""

    name = "cache"

    def __init__(self, cache: ResultCache | None) -> None:
        self._cache = cache

    def passes(self, call: Call, /) -> bool:
        return self._cache is None or call.writes or not isinstance(call.target, One)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        cache = self._cache
        if cache is None or call.writes or not isinstance(call.target, One):
            return await next(call)
        kept = await cache.get(call)
        if kept is not None:
            return kept
        outcome = await next(call)
        if isinstance(outcome, Done) and outcome.result.get("isError") is not True:
            await cache.put(call, outcome)
        return outcome
