"""Which resources legacy downstreams were asked to report on, and asking again when a link is new.

One subscription per (server, account, uri), whoever wants it: who hears of an update is decided at the edges, and a
downstream is not told when the last of them leaves. At most `MAX_HELD` a server and account, the oldest given up first.
Modern downstreams have none: their subscription is a stream that belongs to its link.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

from hub.core.call import Item
from hub.core.errors import DownstreamError, Refused
from hub.downstream.link import Exchange, Link, ServerSpec
from hub.downstream.view import subscribable

log = logging.getLogger(__name__)

MAX_HELD: Final = 1000
_ANSWER_BYTES: Final = 64 * 1024


Place = tuple[str, str]  # server, account; "" is whoever has none of his own there


class Subscriptions:
    def __init__(self, specs: Mapping[str, ServerSpec]) -> None:
        self._specs = specs
        self._held: dict[Place, dict[str, Link]] = {}  # native uri -> the link that knows of it, oldest first
        self._renewing: dict[Place, asyncio.Task[None]] = {}

    async def hold(self, item: Item, link: Link, account: str = "") -> bool:
        """Ask the server to report on a resource; False when it cannot. Raises DownstreamError."""
        if not subscribable(link.peer):
            return False
        held = self._held.setdefault((item.server, account), {})
        if held.get(item.native) is not link:
            await self._ask(item.server, item.native, link)
            held.pop(item.native, None)
            held[item.native] = link
            if len(held) > MAX_HELD:
                del held[next(iter(held))]
        return True

    def renew(self, server: str, link: Link, account: str = "") -> None:
        """There is a new link, which knows nothing of earlier subscriptions."""
        place = (server, account)
        self._stop(place)
        if self._held.get(place) and subscribable(link.peer):
            self._renewing[place] = asyncio.create_task(self._renew(place, link), name=f"subscriptions of {server}")

    def forget(self, server: str, account: str = "") -> None:
        """The server is gone, or nobody subscribes for this account any more."""
        self._stop((server, account))
        self._held.pop((server, account), None)

    def places(self) -> tuple[Place, ...]:
        return tuple(self._held)

    async def aclose(self) -> None:
        tasks = [task for place in list(self._renewing) if (task := self._stop(place)) is not None]
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _stop(self, place: Place) -> asyncio.Task[None] | None:
        task = self._renewing.pop(place, None)
        if task is not None:
            task.cancel()
        return task

    async def _renew(self, place: Place, link: Link) -> None:
        held = self._held[place]
        try:
            for uri in list(held):
                await self._renew_one(place[0], held, uri, link)
        except DownstreamError as exc:
            log.warning("subscriptions were not renewed: %s", exc)

    async def _renew_one(self, server: str, held: dict[str, Link], uri: str, link: Link) -> None:
        if uri not in held or held[uri] is link:
            return
        try:
            await self._ask(server, uri, link)
        except Refused:
            held.pop(uri, None)  # the resource is gone; who asks for it again is told
        else:
            held[uri] = link

    async def _ask(self, server: str, uri: str, link: Link) -> None:
        wait_s = self._specs[server].timeouts.list_s
        exchange = Exchange(wait_s, monotonic() + wait_s, _ANSWER_BYTES)
        await link.request("resources/subscribe", {"uri": uri}, exchange)
