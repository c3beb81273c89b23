"""Which resources legacy downstreams were asked to report on, and asking again when a link is new.

One subscription per (server, uri), whoever wants it: who hears of an update is decided at the edges, and a downstream
is not told when the last of them leaves. At most `MAX_HELD` a server, the oldest given up first. Modern downstreams
have none: their subscription is a stream that belongs to its link.
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


class Subscriptions:
    def __init__(self, specs: Mapping[str, ServerSpec]) -> None:
        self._specs = specs
        self._held: dict[str, dict[str, Link]] = {}  # by server: native uri -> the link that knows of it, oldest first
        self._renewing: dict[str, asyncio.Task[None]] = {}

    async def hold(self, item: Item, link: Link) -> bool:
        """Ask the server to report on a resource; False when it cannot. Raises DownstreamError."""
        if not subscribable(link.peer):
            return False
        held = self._held.setdefault(item.server, {})
        if held.get(item.native) is not link:
            await self._ask(item.server, item.native, link)
            held.pop(item.native, None)
            held[item.native] = link
            if len(held) > MAX_HELD:
                del held[next(iter(held))]
        return True

    def renew(self, server: str, link: Link) -> None:
        """The server has a new link, which knows nothing of earlier subscriptions."""
        self._stop(server)
        if self._held.get(server) and subscribable(link.peer):
            self._renewing[server] = asyncio.create_task(self._renew(server, link), name=f"subscriptions of {server}")

    def forget(self, server: str) -> None:
        """The server is gone."""
        self._stop(server)
        self._held.pop(server, None)

    async def aclose(self) -> None:
        tasks = [task for server in list(self._renewing) if (task := self._stop(server)) is not None]
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _stop(self, server: str) -> asyncio.Task[None] | None:
        task = self._renewing.pop(server, None)
        if task is not None:
            task.cancel()
        return task

    async def _renew(self, server: str, link: Link) -> None:
        held = self._held[server]
        try:
            for uri in list(held):
                await self._renew_one(server, uri, link)
        except DownstreamError as exc:
            log.warning("subscriptions were not renewed: %s", exc)

    async def _renew_one(self, server: str, uri: str, link: Link) -> None:
        held = self._held[server]
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
