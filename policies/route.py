"""The model-routing hook: which variant of the item's server takes the call. The router decides; this asks it once."""

from __future__ import annotations

from dataclasses import replace

from hub.core.call import Call, One, Outcome
from hub.core.ports import Next, Router


class Route:
    """Sends a call where the router says. A router that fails refuses: it may be what keeps data in its region."""

    name = "route"
    steady = True

    def __init__(self, router: Router | None) -> None:
        self._router = router

    def passes(self, call: Call, /) -> bool:
        return self._router is None or not isinstance(call.target, One)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if self._router is None or not isinstance(call.target, One):
            return await next(call)
        route = await self._router.route(call)
        return await next(call if route is None else replace(call, route=route))
