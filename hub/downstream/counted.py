"""A link that knows how many requests it carries, so that it can be closed behind the last of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hub.core.call import Json
from hub.downstream.link import Exchange, Link

log = logging.getLogger(__name__)


class Counted:
    """`hub.downstream.link.Link` around another one."""

    __slots__ = ("_calls", "_idle", "_link", "_server", "peer")

    def __init__(self, server: str, link: Link) -> None:
        self._server, self._link, self.peer = server, link, link.peer
        self._calls = 0
        self._idle: asyncio.Event | None = None

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        self._calls += 1
        try:
            return await self._link.request(method, params, exchange)
        finally:
            self._calls -= 1
            if self._idle is not None and not self._calls:
                self._idle.set()

    async def notify(self, method: str, params: Json) -> None:
        await self._link.notify(method, params)

    @property
    def alive(self) -> bool:
        return self._link.alive

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""
        return self._calls > 0

    async def aclose(self) -> None:
        await self._link.aclose()

    async def drained(self, timeout_s: float) -> None:
        """Return once no request is in flight, or after `timeout_s`. Nobody may be given the link any more."""
        self._idle = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._calls:
                    self._idle.clear()
                    await self._idle.wait()

    async def end(self, timeout_s: float) -> None:
        """Close within `timeout_s`, whatever the link does."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.aclose()
        except TimeoutError:
            log.warning("downstream %s did not close within %g s", self._server, timeout_s)
