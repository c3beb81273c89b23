"""Looks up, once per call, what rules may know beyond the call itself, so that gates stay pure."""

from __future__ import annotations

from dataclasses import replace

from hub.core.call import Call, Outcome
from hub.core.ports import Attributes, Next


class Facts:
    name = "facts"
    steady = True

    def __init__(self, attributes: Attributes | None) -> None:
        """None: there is nothing to look up."""
        self._attributes = attributes

    def passes(self, call: Call, /) -> bool:
        return self._attributes is None

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if self._attributes is None:
            return await next(call)
        found = await self._attributes.of(call)  # what raises denies: a rule without its facts would guess
        return await next(replace(call, facts={**call.facts, **found}))
