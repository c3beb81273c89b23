"""Rate limits: refuses who comes too often. Looks at who calls and what, never at arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.core.call import Call, Denied, One, Outcome
from hub.core.ports import AtOnce, Counters, Next, Rate

Rule = Callable[[Call], tuple[tuple[str, ...], Rate] | None]
"""The key to count under and its rate, or None when the call is not counted: that depends on caller and item alone."""


class Limit:
    """One unit a call. A counter that fails refuses: no outage gives anybody more."""

    def __init__(self, name: str, counters: Counters, rule: Rule) -> None:
        self.name, self._counters, self._rule = name, counters, rule
        self._take_now = counters.take_now if isinstance(counters, AtOnce) else None

    def counts(self, call: Call) -> bool:
        return self._rule(call) is not None

    def forward(self, call: Call, /) -> Call | Denied | None:
        counted = self._rule(call)
        if counted is None:
            return call
        if self._take_now is None:
            return None
        key, rate = counted
        wait_s = self._take_now((call.who.tenant, call.who.credential, self.name, *key), rate)
        return call if wait_s <= 0 else self._denied(rate, wait_s)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        counted = self._rule(call)
        if counted is None:
            return await next(call)
        key, rate = counted
        wait_s = await self._counters.take((call.who.tenant, call.who.credential, self.name, *key), rate)
        return await next(call) if wait_s <= 0 else self._denied(rate, wait_s)

    def _denied(self, rate: Rate, wait_s: float) -> Denied:
        return Denied("rate_limited", f"{self.name}: over {rate.per_minute:g} a minute", retry_after_s=wait_s)


class LimitSome:
    """The same for a rule that counts few calls: the others are not even looked at twice."""

    steady = True

    def __init__(self, limit: Limit) -> None:
        self.name, self._limit = limit.name, limit

    def passes(self, call: Call, /) -> bool:
        return not self._limit.counts(call)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        return await self._limit(call, next)


def per_caller(rate: Rate) -> Rule:
    """Every call of one credential, whatever it asks for."""
    counted: tuple[tuple[str, ...], Rate] = ((), rate)
    return lambda call: counted


def per_item(rates: Mapping[str, Rate]) -> Rule:
    """Calls of one credential to one item, on servers that have a rate of their own."""

    def rule(call: Call) -> tuple[tuple[str, ...], Rate] | None:
        target = call.target
        if not isinstance(target, One):
            return None
        rate = rates.get(target.item.server)
        return None if rate is None else ((target.item.kind, target.item.name), rate)

    return rule
