"""Notices that the client of an open stream has gone."""

from __future__ import annotations

import anyio

from hub.edge.request import Receive


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Return never, or once the client has left and `scope` is cancelled."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
