"""A human's yes, bound to exactly these arguments. Knows no store: it asks the port."""

from __future__ import annotations

from hub.core.call import Call, One, Outcome
from hub.core.ports import Approvals, Next


class Approve:
    """Refuses what has no approval and needs one. Without approvals configured, every call passes."""

    name = "approve"
    steady = True

    def __init__(self, approvals: Approvals | None) -> None:
        self._approvals = approvals

    def passes(self, call: Call, /) -> bool:
        return self._approvals is None or not isinstance(call.target, One)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if self._approvals is not None and isinstance(call.target, One):
            denied = await self._approvals.judge(call)
            if denied is not None:
                return denied
        return await next(call)
