"""Keeps one live link to every enabled downstream, whatever they do, and says how each of them is.

One task per server, all in one group that nothing else enters: a server that hangs, floods or dies costs only itself.
The pool never sends a call and never retries one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from hub.core.errors import DownstreamError, NeedsLogin, Unreachable
from hub.downstream.counted import Counted
from hub.downstream.health import Health, PoolEvents
from hub.downstream.link import Link, Opener, ServerSpec, Transport, same_connection
from hub.downstream.supervise import Backoff, Supervisor

log = logging.getLogger(__name__)

STARTS_AT_ONCE: Final = 16
START_TURN_S: Final = 2.0  # a start that takes longer gives its turn away and goes on: a hanging one blocks nobody
CLOSE_S: Final = 10.0
DRAIN_S: Final = 30.0  # for the calls on a link whose server was changed, disabled or taken out


class Pool:
    """`stderr` gives the last lines that a server's process printed; transports without processes have none."""

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        openers: Mapping[Transport, Opener],
        events: PoolEvents,
        *,
        stderr: Callable[[str], tuple[str, ...]] = lambda server: (),
        backoff: Backoff = Backoff(),
        close_s: float = CLOSE_S,
        start_turn_s: float = START_TURN_S,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._openers, self._events, self._backoff = openers, events, backoff
        self._stderr, self._close_s, self._start_turn_s, self._drain_s = stderr, close_s, start_turn_s, drain_s
        self._end_s = 0.6 * close_s  # of one link
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._servers = {spec.id: self._supervisor(spec) for spec in specs}
        self._leaving: set[Counted] = set()  # given up, and not closed yet
        self._tasks: dict[Supervisor, asyncio.Task[None]] = {}
        self._owner: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None  # while there is one that takes tasks

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        if self._owner is None:
            owned = asyncio.Event()
            self._owner = asyncio.create_task(self._own(owned), name="downstreams")
            await owned.wait()

    async def aclose(self) -> None:
        """Close every link. Bounded; idempotent."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        closing = asyncio.create_task(self._close(owner), name="closing downstreams")
        _, pending = await asyncio.wait((closing,), timeout=self._close_s)
        if pending:
            log.error("downstreams did not close within %g s; they are abandoned", self._close_s)

    def apply(self, specs: Sequence[ServerSpec]) -> None:
        """Have exactly these servers from now on. Never waits.

        Equal specs keep all they have, and so do those that differ in nothing the connection depends on. Calls in
        flight on a link that is given up have `drain_s` to finish on it; what replaces it connects meanwhile.
        """
        kept: dict[str, Supervisor] = {}
        for spec in specs:
            old = self._servers.get(spec.id)
            if old is not None and same_connection(old.spec, spec):
                if old.spec != spec:
                    old.adopt(spec)
                kept[spec.id] = old
            else:
                kept[spec.id] = self._supervisor(spec)
        given_up = [old for id, old in self._servers.items() if kept.get(id) is not old]
        begun = [new for id, new in kept.items() if self._servers.get(id) is not new]
        self._servers = kept
        for old in given_up:
            self._drop(old)
        for new in begun:
            self._begin(new)

    def link(self, server: str) -> Link:
        """The live link of a server. Raises `Unreachable` or `NeedsLogin`: its state, the reason and the next step."""
        supervisor = self._servers.get(server)
        if supervisor is None:
            raise Unreachable(server, "it is not configured")
        link = supervisor.link
        if link is not None and link.alive:
            return link
        raise _without_link(supervisor.health())

    async def started(self, server: str, timeout_s: float) -> Link:
        """As `link`, but a server in its first start is waited for, up to `timeout_s`."""
        seen: Supervisor | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (now := self._servers.get(server)) is not None and now is not seen:  # replaced: wait for the next
                    seen = now
                    await now.first_verdict()
        return self.link(server)

    def spec(self, server: str) -> ServerSpec | None:
        supervisor = self._servers.get(server)
        return supervisor.spec if supervisor is not None else None

    def health(self) -> tuple[Health, ...]:
        """One per configured server, in the order of the configuration."""
        return tuple(self._health(supervisor) for supervisor in self._servers.values())

    async def probe(self, server: str, timeout_s: float) -> Health:
        """Try now: end a waiting time, and return the verdict of the next attempt, or of a question to a ready server.

        After `timeout_s` the state as it is then. Raises `Unreachable` for a server that is not configured.
        """
        supervisor = self._servers.get(server)
        if supervisor is None:
            raise Unreachable(server, "it is not configured")
        try:
            async with asyncio.timeout(timeout_s):
                silent = await supervisor.verdict()
        except TimeoutError:
            silent = f"no verdict within {timeout_s:g} s"
        health = self._health(supervisor)
        return replace(health, reason=health.reason or silent) if silent else health

    def set_enabled(self, server: str, enabled: bool) -> None:
        """Switch a server on or off until the pool is closed. Raises `Unreachable` when it is not configured."""
        if server not in self._servers:
            raise Unreachable(server, "it is not configured")
        self._servers[server].set_enabled(enabled)

    def _health(self, supervisor: Supervisor) -> Health:
        return replace(supervisor.health(), stderr=self._stderr(supervisor.spec.id))

    def _supervisor(self, spec: ServerSpec) -> Supervisor:
        return Supervisor(
            spec,
            self._openers[spec.transport],
            self._events,
            self._backoff,
            self._start_turn,
            self._end_s,
            self._put_away,
        )

    def _begin(self, supervisor: Supervisor) -> None:
        if self._group is not None:
            task = self._group.create_task(supervisor.run(), name=f"downstream {supervisor.spec.id}")
            self._tasks[supervisor] = task
            task.add_done_callback(lambda done: self._tasks.pop(supervisor, None))

    def _drop(self, supervisor: Supervisor) -> None:
        supervisor.leave()
        if (task := self._tasks.get(supervisor)) is not None:
            task.cancel()

    def _put_away(self, link: Counted) -> None:
        self._leaving.add(link)
        if self._group is not None:
            self._group.create_task(self._away(link), name="closing a downstream")

    async def _away(self, link: Counted) -> None:
        await link.drained(self._drain_s)
        await link.end(self._end_s)
        self._leaving.discard(link)

    async def _close(self, owner: asyncio.Task[None]) -> None:
        """A hub that stops waits for no calls: its edges have drained before."""
        owner.cancel()
        await asyncio.wait((owner,))
        await asyncio.gather(*(link.end(self._end_s) for link in self._leaving))

    async def _own(self, owned: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                for supervisor in self._servers.values():
                    self._begin(supervisor)
                owned.set()
                await asyncio.Event().wait()  # the group stays open for servers that come later
        finally:
            self._group = None

    @asynccontextmanager
    async def _start_turn(self) -> AsyncIterator[None]:
        await self._starts.acquire()
        held = True

        def give_away() -> None:
            nonlocal held
            if held:
                held = False
                self._starts.release()

        timer = asyncio.get_running_loop().call_later(self._start_turn_s, give_away)
        try:
            yield
        finally:
            timer.cancel()
            give_away()


def _without_link(health: Health) -> DownstreamError:
    server, reason = health.server, health.reason
    match health.state:
        case "disabled":
            return Unreachable(server, f"it is disabled; enable it with: mcp-hub servers enable {server}")
        case "needs_login":
            return NeedsLogin(server, f"it does not accept the hub's credential: {reason}")
        case "starting":
            return Unreachable(server, "it is still starting; try again in a few seconds")
        case _:
            wait = "" if health.retry_in_s is None else f" (next attempt in {health.retry_in_s:.0f} s)"
            return Unreachable(server, f"it is down: {reason}{wait}; try now with: mcp-hub servers test {server}")
