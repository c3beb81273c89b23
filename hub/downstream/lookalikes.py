"""Keeps the likenesses of the present tools: made anew a little after lists change, off the loop, and logged once.

Owns the timer and the last result. A server whose lists never rest costs a twentieth of one core, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hub.core.call import Item
from hub.downstream.likeness import Likeness, likenesses

log = logging.getLogger(__name__)

DELAY_S: Final = 1.0
REST: Final = 20  # times as long as the last making took
LOGGED: Final = 20  # of one change; the rest is counted

Tools = Callable[[], Mapping[str, Sequence[Item]]]


class Lookalikes:
    def __init__(self, tools: Tools, *, delay_s: float = DELAY_S) -> None:
        """`tools`: those of every enabled server, by its id."""
        self._tools, self._delay_s, self._took_s = tools, delay_s, 0.0
        self._stale = self._closed = False
        self._found: Mapping[str, tuple[Likeness, ...]] = {}
        self._told: frozenset[Likeness] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._making: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """Lists may differ now."""
        self._stale = True
        if self._timer is None and self._making is None and not self._closed:
            wait_s = max(self._delay_s, REST * self._took_s)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._begin)

    def of(self, server: str) -> tuple[Likeness, ...]:
        """As they were made last: seconds old at most, while lists change."""
        return self._found.get(server, ())

    async def renewed(self) -> None:
        """Return once the result is about the lists as they were when this was called, or newer."""
        if self._making is not None:
            await asyncio.shield(self._making)
        if self._stale:
            await asyncio.shield(self._begin())

    async def aclose(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._making is not None:
            await asyncio.wait({self._making})

    def _begin(self) -> asyncio.Task[None]:
        """Idempotent: one making at a time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._making is None:
            self._making = asyncio.create_task(self._make(), name="lookalikes")
        return self._making

    async def _make(self) -> None:
        self._stale = False
        started = time.monotonic()
        try:
            self._found = await asyncio.to_thread(likenesses, self._tools())
            self._tell()
        except Exception:  # warnings are missed, calls are not
            log.exception("comparing the servers' tools failed")
        finally:
            self._took_s, self._making = time.monotonic() - started, None
        if self._stale:
            self.touch()

    def _tell(self) -> None:
        now = frozenset(likeness for found in self._found.values() for likeness in found)
        news = sorted(now - self._told, key=lambda likeness: (likeness.server, likeness.item, likeness.other))
        for likeness in news[:LOGGED]:
            log.warning("%s; see `mcp-hub servers test %s`", likeness.text, likeness.server)
        if len(news) > LOGGED:
            log.warning("and %d more such likenesses between servers' tools", len(news) - LOGGED)
        self._told = now
