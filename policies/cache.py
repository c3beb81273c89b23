"""Answers kept for callers who ask the same again. The port keys them; this decides what may be kept at all."""

from __future__ import annotations

from hub.core.call import Call, Done, One, Outcome
from hub.core.ports import Next, ResultCache
from hub.wire.asking import RESPONSES, STATE


class Cache:
    """Reads only: what may change something always goes down, and an error is never kept."""

    name = "cache"

    def __init__(self, cache: ResultCache | None) -> None:
        self._cache = cache
        self.steady = cache is None  # what a later round is depends on its params

    def passes(self, call: Call, /) -> bool:
        return self._cache is None or call.writes or not isinstance(call.target, One) or _is_later_round(call)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        cache = self._cache
        if cache is None or self.passes(call):
            return await next(call)
        kept = await cache.get(call)
        if kept is not None:
            return kept
        outcome = await next(call)
        if isinstance(outcome, Done) and outcome.result.get("isError") is not True:
            await cache.put(call, outcome)
        return outcome


def _is_later_round(call: Call) -> bool:
    """It is answered for what its user said, which no key knows."""
    return STATE in call.params or RESPONSES in call.params
