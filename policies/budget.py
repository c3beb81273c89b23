"""Money and quotas: holds what a call may cost before it runs, settles what it did cost. Knows no prices."""

from __future__ import annotations

import logging
from asyncio import CancelledError

import anyio

from hub.core.call import Call, Denied, One, Outcome
from hub.core.ports import Hold, Ledger, Next

log = logging.getLogger(__name__)


class Budget:
    """Around everything that can spend. A hold is settled exactly once, whatever happens below."""

    name = "budget"
    steady = True

    def __init__(self, ledger: Ledger | None, settle_s: float = 5.0) -> None:
        """A ledger that takes longer to settle keeps the hold: too little is spendable then, never too much."""
        self._ledger, self._settle_s = ledger, settle_s

    def passes(self, call: Call, /) -> bool:
        return self._ledger is None or not isinstance(call.target, One)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if self._ledger is None or not isinstance(call.target, One):
            return await next(call)
        hold = await self._ledger.hold(call)
        if isinstance(hold, Denied):
            return hold
        outcome: Outcome = Denied("internal", "the call broke while its budget was held")
        try:
            outcome = await next(call)
        except CancelledError:
            outcome = Denied("cancelled", "the caller went away")
            raise
        finally:
            await self._settle(call, hold, outcome)
        return outcome

    async def _settle(self, call: Call, hold: Hold, outcome: Outcome) -> None:
        """Shielded: a caller who goes away must not leave a hold behind."""
        with anyio.move_on_after(self._settle_s, shield=True) as scope:
            await hold.settle(outcome)
        if scope.cancelled_caught:
            log.error("the hold of call %s was not settled in time and stays held", call.id)
