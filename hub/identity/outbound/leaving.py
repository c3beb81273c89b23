"""Ends connections: gone here first, then told to their issuer, and both noted in the log.

It also notes what ended by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

from hub.core.connections import SHARED, ConnectionRow
from hub.core.errors import HubError
from hub.identity.outbound.acts import Revoked
from hub.identity.outbound.book import Changed
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.parts import Parts

log = logging.getLogger(__name__)

REVOKE_S: Final = 5.0
LATER_S: Final = 30.0  # for all that is under way at the stop
AT_ONCE: Final = 4  # revocations that nobody waits for


class Leaving:
    """One event loop uses it."""

    def __init__(self, parts: Parts, forget: Callable[[str], None] = lambda account: None) -> None:
        """`forget`: told of an account that is gone, to end the logins offered to it."""
        self._parts, self._forget = parts, forget
        self._since = parts.clocks.wall()
        self._later: set[asyncio.Task[Any]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        parts.connections.watch(self._on_change)

    async def disconnect(self, row: ConnectionRow, whose: str) -> Revoked:
        """Gone here, durably, before its issuer is asked to end it (RFC 7009); and how that went.

        Seen through even when the caller goes away, within some seconds.
        """
        task = asyncio.create_task(self._disconnect(row, whose), name="a logout")
        self._keep(task)
        return await asyncio.shield(task)

    async def _disconnect(self, row: ConnectionRow, whose: str) -> Revoked:
        held = self._parts.connections.held(row)
        removed = await self._parts.connections.remove(row.id)
        self._parts.challenges.forget(row.server, row.user)
        revoked = await self._revoked(row, held)
        if removed is not None:
            await self._parts.acts.logged_out(whose, row, revoked)
        return revoked

    async def forget_user(self, account: str, whose: str) -> int:
        """Whoever is gone leaves nothing that the hub could act with. How many there were; issuers are told later."""
        self._forget(account)
        if account == SHARED:
            return 0
        await self._parts.connections.load()
        rows = self._parts.connections.of(account)
        held = [(row, self._parts.connections.held(row)) for row in rows]
        await self._parts.connections.forget_user(account)
        await self._gone(held, whose, "the account is gone")
        return len(rows)

    async def prune(self, servers: Collection[str], whose: str = "hub") -> int:
        """Remove everybody's connections to these servers, which were taken out. How many there were."""
        await self._parts.connections.load()
        rows = [row for server in sorted(set(servers)) for row in self._parts.connections.at(server)]
        held = [(row, self._parts.connections.held(row)) for row in rows]
        for row in rows:
            await self._parts.connections.remove(row.id)
        await self._gone(held, whose, "the server is gone")
        return len(rows)

    async def aclose(self) -> None:
        """What is under way is waited for, within a bound."""
        if self._later:
            _, late = await asyncio.wait(self._later, timeout=LATER_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _gone(self, held: Sequence[tuple[ConnectionRow, Tokens | None]], whose: str, why: str) -> None:
        for row, tokens in held:
            self._parts.challenges.forget(row.server, row.user)
            self._start(self._revoke_later(row, tokens))
        for row, tokens in held:
            await self._parts.acts.logged_out(whose, row, "unreadable" if tokens is None else "later", why)

    async def _revoke_later(self, row: ConnectionRow, held: Tokens | None) -> None:
        async with self._slots:
            revoked = await self._revoked(row, held)
        log.info("the connection %s to %s is gone; ended by its issuer: %s", row.id, row.server, revoked)

    async def _revoked(self, row: ConnectionRow, held: Tokens | None) -> Revoked:
        if held is None:
            return "unreadable"
        try:
            async with asyncio.timeout(REVOKE_S):
                return "yes" if await self._parts.clients.revoke(row, held) else "no"
        except (HubError, TimeoutError) as exc:
            log.warning("the issuer of %s was not told that it is gone: %s", row.id, exc or "it took too long")
            return "failed"

    def _on_change(self, changed: Changed) -> None:
        row = self._parts.connections.get(changed.id) if changed.what == "needs_login" else None
        if row is not None and row.ended_at is not None and row.ended_at >= self._since:  # not read after a start
            self._start(self._note_end(row))

    async def _note_end(self, row: ConnectionRow) -> None:
        try:
            await self._parts.acts.ended(row)
        except Exception as exc:  # the outermost of this task
            log.error("that the connection %s ended could not be logged: %s", row.id, exc)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(asyncio.create_task(work, name="the end of a connection"))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._later.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._later.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("the end of a connection came to nothing: %s", task.exception())
