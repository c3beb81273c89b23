"""One server's life in the pool: connect, stay, reconnect, never give up."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from typing import Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, NeedsLogin
from hub.downstream.counted import Counted
from hub.downstream.health import Health, PoolEvents, State
from hub.downstream.link import Exchange, LinkEvents, Opener, Peer, ServerSpec

log = logging.getLogger(__name__)

OPEN_SLACK_S: Final = 10.0  # for the first question, a second start and the end of a first process


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts."""

    first_s: float = 0.5
    cap_s: float = 60.0
    login_s: float = 60.0
    stable_s: float = 30.0  # ready for that long: the next loss starts from nothing
    jitter: float = 0.2  # so that servers that fell together do not rise together

    def delay_s(self, failures: int, dice: float) -> float:
        """After that many failures in a row; `dice` in [0, 1)."""
        if failures <= 0:
            return 0.0
        plain = min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return plain * (1.0 + self.jitter * (2.0 * dice - 1.0))


class Supervisor:
    """Owns the link of one server. `run` is its only task; everything else is called from the same loop."""

    def __init__(
        self,
        spec: ServerSpec,
        opener: Opener,
        events: PoolEvents,
        backoff: Backoff,
        turn: Callable[[], AbstractAsyncContextManager[None]],
        close_s: float,
        put_away: Callable[[Counted], None],
    ) -> None:
        """`put_away` takes a link that is given up: it lets its calls finish and closes it, behind this one's back."""
        self.spec = spec
        self.link: Counted | None = None
        self._opener, self._events, self._backoff, self._turn = opener, events, backoff, turn
        self._close_s, self._put_away = close_s, put_away
        self._enabled = spec.enabled
        self._state: State = "starting" if spec.enabled else "disabled"
        self._reason = "it is starting" if spec.enabled else "it is disabled"
        self._since = time.time()
        self._peer: Peer | None = None
        self._failures = self._restarts = self._attempts = 0
        self._retry_at: float | None = None
        self._noise: Counter[str] = Counter()
        self._wake = asyncio.Event()  # something that `run` waits for has changed
        self._hurry = False  # somebody waits for the next verdict
        self._judged = asyncio.Condition()

    def health(self) -> Health:
        retry_in_s = None if self._retry_at is None else max(0.0, self._retry_at - monotonic())
        return Health(
            server=self.spec.id,
            state=self._state,
            reason=self._reason,
            since=self._since,
            peer=self._peer,
            failures=0 if self._state == "ready" else self._failures,
            restarts=self._restarts,
            retry_in_s=retry_in_s,
            noise=dict(self._noise) or None,
        )

    def set_enabled(self, enabled: bool) -> None:
        if enabled != self._enabled:
            self._enabled = enabled
            self._failures = 0
            self._wake.set()

    def adopt(self, spec: ServerSpec) -> None:
        """Go on under a spec that differs in nothing the connection depends on."""
        self.spec = spec
        self.set_enabled(spec.enabled)

    def leave(self) -> None:
        """Nobody is given the link any more; its calls have their time to finish. Cancel `run` next."""
        link, self.link = self.link, None
        if link is not None:
            self._put_away(link)

    async def verdict(self) -> str:
        """Wait for the end of the next attempt to connect, or ask a ready server. What is wrong with it, or ""."""
        link = self.link
        if link is not None and link.alive:
            return await self._asked(link)
        if not self._enabled:
            return ""
        before = self._attempts
        self._hurry = True
        self._wake.set()
        async with self._judged:
            await self._judged.wait_for(lambda: self._attempts > before or not self._enabled)
        return ""

    async def first_verdict(self) -> None:
        """Return once the first attempt to connect is over: at once for all but a server in its first start."""
        async with self._judged:
            await self._judged.wait_for(lambda: self._attempts > 0)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._once()
                except DownstreamError as exc:
                    await self._failed(exc)
                except Exception as exc:  # the outermost loop of this task: a fault of ours costs one server
                    log.exception("connecting %s failed", self.spec.id)
                    await self._failed(DownstreamError(self.spec.id, f"the hub failed ({type(exc).__name__})"))
        finally:
            await self._close()
            self._attempts += 1  # there will be no further verdict: whoever waits for one goes on
            async with self._judged:
                self._judged.notify_all()

    async def _once(self) -> None:
        """One connection from its beginning to its end, or one stretch of being disabled."""
        self._wake.clear()
        if not self._enabled:
            await self._close()
            self._peer = None
            await self._judge("disabled", "it is disabled")
            while not self._enabled:
                self._wake.clear()
                await self._wake.wait()
            self._change("starting", "it is starting")
            return
        ended: list[str] = []
        self._hurry = False
        link = await self._open(ended)
        self.link, self._peer = link, link.peer
        began = monotonic()
        await self._judge("ready", "")
        self._events.up(self.spec.id, link)
        while link.alive and not ended and self._enabled:
            self._wake.clear()
            await self._wake.wait()
        self.link = None
        if self._enabled:
            self._restarts += 1
            self._change("down", f"the connection was lost: {ended[0] if ended else 'it ended'}")
        else:
            self._change("disabled", "it is disabled")
            self._put_away(link)
            return
        await link.end(self._close_s)
        await self._lost(monotonic() - began)

    async def _open(self, ended: list[str]) -> Counted:
        def closed(reason: str) -> None:
            ended.append(reason)
            self._wake.set()

        def notified(method: str, params: Json) -> None:
            self._events.notified(self.spec.id, method, params)

        limit_s = self.spec.timeouts.connect_s + self.spec.timeouts.initialize_s + OPEN_SLACK_S
        async with self._turn():
            try:
                async with asyncio.timeout(limit_s):
                    link = await self._opener(self.spec, LinkEvents(notified, closed, self._count))
                    return Counted(self.spec.id, link)
            except TimeoutError as exc:
                raise DownstreamError(self.spec.id, f"it did not come up within {limit_s:g} s") from exc

    def _count(self, what: str) -> None:
        self._noise[what] += 1

    async def _lost(self, ready_s: float) -> None:
        """Reconnect at once after a stable time or a first loss; ever later when it keeps falling."""
        if ready_s >= self._backoff.stable_s:
            self._failures = 0
            return
        self._failures += 1
        await self._pause(self._backoff.delay_s(self._failures - 1, random.random()))

    async def _failed(self, exc: DownstreamError) -> None:
        await self._close()
        self._failures += 1
        login = isinstance(exc, NeedsLogin)
        delay_s = self._backoff.login_s if login else self._backoff.delay_s(self._failures, random.random())
        self._retry_at = monotonic() + delay_s
        self._hurry = False  # this attempt is the one they waited for
        await self._judge("needs_login" if login else "down", exc.text)
        await self._pause(delay_s)

    async def _pause(self, delay_s: float) -> None:
        """Wait, unless somebody asks for a verdict or switches the server off."""
        self._retry_at = monotonic() + delay_s
        try:
            async with asyncio.timeout(delay_s):
                while self._enabled and not self._hurry:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._retry_at = None

    async def _asked(self, link: Counted) -> str:
        """A question that every server must answer; one that is busy may still be well, so the link stays."""
        timeouts = self.spec.timeouts
        exchange = Exchange(timeouts.list_s, monotonic() + timeouts.list_s, self.spec.max_result_bytes)
        try:
            await link.request("server/discover" if link.peer.era == "modern" else "ping", {}, exchange)
        except DownstreamError as exc:
            return f"it is connected, but does not answer: {exc.text}"
        return ""

    async def _judge(self, state: State, reason: str) -> None:
        """An attempt is over: whoever waits for its verdict has it now."""
        if state == "ready" or state == "disabled":
            self._retry_at = None
        self._attempts += 1
        self._change(state, reason)
        async with self._judged:
            self._judged.notify_all()

    def _change(self, state: State, reason: str) -> None:
        if (state, reason) == (self._state, self._reason):
            return
        if state != self._state:
            self._since = time.time()
        self._state, self._reason = state, reason
        log.info("downstream %s is %s%s", self.spec.id, state, f": {reason}" if reason else "")
        self._events.changed(self.health())

    async def _close(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            await link.end(self._close_s)
