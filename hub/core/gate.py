"""Runs one gate on calls, subscriptions and lists, so that what is listed is what is callable."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import assert_never

from hub.core.call import (
    ANY,
    Call,
    Denied,
    HubOwned,
    Item,
    Listed,
    Listing,
    One,
    Outcome,
    Several,
    Unresolved,
)
from hub.core.ports import Allowed, Gate, Next, Steady
from hub.core.shown import Shown

log = logging.getLogger(__name__)


class GateStage:
    """A gate as a stage. An item denied for ANY arguments answers as one that does not exist.

    So does one whose ANY verdict carries obligations: neither a list nor a subscription could discharge them. A steady
    gate is asked about the items of a list once for each caller, for as long as the list has the same ones.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate, self.name = gate, gate.name
        self.steady = isinstance(gate, Steady) and gate.steady
        self._shown = Shown()

    @property
    def remembered(self) -> int:
        """How many items the lists hold whose verdicts are remembered."""
        return self._shown.held

    def passes(self, call: Call, /) -> bool:
        target = call.target
        if not isinstance(target, One):
            return False
        verdict = self.gate.decide(call, target.item, call.arguments)
        return isinstance(verdict, Allowed) and not verdict.obligations

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        match call.target:
            case One(item):
                verdict = self._judge(call, item)
                if isinstance(verdict, Denied):
                    return verdict if self._shows(call, item) else _unknown(verdict)
                if not verdict.obligations:
                    return await next(call)
                if not self._shows(call, item):
                    return Denied("unknown_item", f"{self.name}: hidden by the obligations it has for any arguments")
                return await next(replace(call, obligations=call.obligations + verdict.obligations))
            case Several(items):
                return await next(replace(call, target=Several(self._visible(call, items)[0])))
            case Listing():
                outcome = await next(call)
                if isinstance(outcome, Listed):
                    return self._narrowed(call, outcome)
                if isinstance(outcome, Denied):
                    return outcome
                return Denied("internal", f"{self.name}: a list that is none")
            case HubOwned():
                return await next(call)
            case Unresolved():
                return Denied("internal", f"{self.name}: target was never resolved")
            case other:
                assert_never(other)

    def _judge(self, call: Call, item: Item) -> Allowed | Denied:
        """A gate that raises on an item it also hides must not tell that the item is there."""
        try:
            return self.gate.decide(call, item, call.arguments)
        except Exception as exc:
            if self._shows(call, item):
                raise
            return Denied("unknown_item", f"{self.name}: {type(exc).__name__}")

    def _narrowed(self, call: Call, listed: Listed) -> Listed:
        items = listed.items
        shown = self._shown.of(call, items) if self.steady else None
        if shown is None:
            shown, judged = self._visible(call, items)
            if self.steady and judged:
                self._shown.keep(call, items, shown)
        return listed if len(shown) == len(items) else Listed(shown)

    def _visible(self, call: Call, items: tuple[Item, ...]) -> tuple[tuple[Item, ...], bool]:
        """The items that are shown, and whether all could be judged."""
        decide, found, judged = self.gate.decide, list[Item](), True
        for item in items:
            try:
                verdict = decide(call, item, ANY)
            except Exception:  # one item a gate cannot judge is hidden; the others are still listed
                log.exception("gate %s raised on %s", self.name, item.name)
                judged = False
                continue
            if isinstance(verdict, Allowed) and not verdict.obligations:
                found.append(item)
        return (items if len(found) == len(items) else tuple(found)), judged

    def _shows(self, call: Call, item: Item) -> bool:
        try:
            verdict = self.gate.decide(call, item, ANY)
        except Exception:  # one item a gate cannot judge is hidden; the others are still listed
            log.exception("gate %s raised on %s", self.name, item.name)
            return False
        return isinstance(verdict, Allowed) and not verdict.obligations


def _unknown(verdict: Denied) -> Denied:
    return replace(verdict, code="unknown_item", told=None, relayed=None, retry_after_s=None)
