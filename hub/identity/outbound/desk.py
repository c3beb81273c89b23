"""Where logins at downstreams are offered, begun and ended: one page of the hub, one browser, one answer.

What stands in `begin` and `finish` asks others and waits; everything before them does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from hub.core.call import Json, Principal
from hub.core.connections import SHARED, ConnectionRow
from hub.core.errors import HubError
from hub.core.ports import Offer
from hub.identity.outbound.acts import whose_of
from hub.identity.outbound.clients import CALLBACK
from hub.identity.outbound.errors import OutboundFailed, Unavailable, Unfit
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.logins import Login
from hub.identity.outbound.parts import Parts
from hub.identity.outbound.pending import Lost, Offered, Pending, Waiting
from hub.identity.outbound.refresher import MAX_LABEL, Granted, Unusable
from hub.identity.outbound.registration import document

log = logging.getLogger(__name__)

KEEP_S: Final = 30.0  # what an issuer gave is kept and logged even when the browser hangs up, within this
GONE: Final = "this login was used already, is older than ten minutes, or never was one: ask for a new one"


class Unofferable(HubError):
    """Nobody can log in there so; says why, in words."""


@dataclass(frozen=True, slots=True)
class Finished:
    server: str
    account: str
    connection: ConnectionRow


class Desk:
    """`hub.core.ports.Offers`. One event loop uses it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._offered = Offered(parts.clocks.steady)
        self._redeeming: set[asyncio.Task[Finished]] = set()

    # -- offers

    def offer(self, who: Principal, server: str) -> Offer | None:
        if who.account == SHARED or self._refusal(who.account, server) is not None:
            return None
        row = self._parts.connections.current(server, who.account)
        label = "" if row is None else row.label
        try:
            self._check(who.account, server, label, False)
        except OutboundFailed:
            return None
        return self._offer(self._offered.open(who.account, whose_of(who), server, label))

    def offer_to(self, account: str, whose: str, server: str, label: str = "") -> Offer:
        """For whoever asks at this moment, of one's own account or (SHARED) everybody's. Raises Unofferable."""
        refusal = self._refusal(account, server)
        if refusal is not None:
            raise Unofferable(refusal)
        if len(label) > MAX_LABEL or not label.isprintable() or label != label.strip():
            raise Unofferable(f"a name for an account has at most {MAX_LABEL} characters, none of them invisible")
        try:
            self._check(account, server, label, True)
        except OutboundFailed as exc:
            raise Unofferable(str(exc)) from exc
        return self._offer(self._offered.open(account, whose, server, label, is_anew=True))

    async def finished(self, id: str, timeout_s: float) -> bool:
        found = self._offered.by_id(id)
        if found is None:
            return False
        if not found.ended.is_set():
            with anyio.move_on_after(timeout_s):
                await found.ended.wait()
        return found.is_done

    def pending(self, token: str) -> Pending | None:
        """What the page of this offer says; None: unknown, used or too late."""
        found = self._offered.by_token(token)
        return None if found is None else found.said

    def protected(self) -> tuple[str, ...]:
        """The servers where one can log in with one's own account."""
        return tuple(id for id, found in self._parts.protected().items() if found.auth.account == "user")

    def document(self) -> Json | None:
        """The hub's client document (CIMD); None: it has no public address."""
        hub = self._parts.hub()
        return None if hub is None or hub.document_url is None else document(hub)

    def forget(self, account: str) -> None:
        """Whoever is gone ends no login that was begun for him."""
        self._offered.forget(account)

    async def aclose(self) -> None:
        """A login whose answer has come is waited for, within a bound: nobody else has its tokens."""
        if self._redeeming:
            _, late = await asyncio.wait(self._redeeming, timeout=KEEP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # -- the login

    async def begin(self, token: str, browser: str) -> str:
        """Where this browser, named by a key that only it has, is sent. Raises OutboundFailed, or Lost."""
        waiting = self._offered.by_token(token)
        if waiting is None:
            raise Lost(GONE)
        waiting.begun_by(browser)
        server, account = waiting.server, waiting.account
        challenge = self._parts.challenges.of(server, account)
        try:
            held = self._check(account, server, waiting.label, waiting.is_asked_for)
            login = await self._parts.clients.begin(server, challenge, held if challenge.is_step_up else (), waiting.id)
        except OutboundFailed as exc:
            await self._parts.acts.login_failed(waiting.whose, server, account, None, exc)
            raise
        if self._offered.by_token(token) is not waiting:
            raise Lost(GONE)
        waiting.login = login
        return login.begun.location

    async def finish(self, query: Sequence[tuple[str, str]], browser: str) -> Finished:
        """The answer that came back, as it came. Raises OutboundFailed, or Lost."""
        states = [value for name, value in query if name == "state"]
        waiting = self._offered.by_id(states[0].partition(".")[0]) if len(states) == 1 else None
        if waiting is None or waiting.is_done:
            raise Lost(GONE)
        login = waiting.answered(browser, states[0])
        # a browser that hangs up now would leave a grant that nobody knows of
        task = asyncio.create_task(self._redeem(waiting, login, query), name="the end of a login")
        self._redeeming.add(task)
        task.add_done_callback(self._redeemed)
        return await asyncio.shield(task)

    def _redeemed(self, task: asyncio.Task[Finished]) -> None:
        self._redeeming.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("a login came to nothing: %s", task.exception())

    async def _redeem(self, waiting: Waiting, login: Login, query: Sequence[tuple[str, str]]) -> Finished:
        server, account, issuer = waiting.server, waiting.account, login.server.issuer
        try:
            tokens = await self._parts.clients.finish(server, login, query)
        except OutboundFailed as exc:
            await self._parts.acts.login_failed(waiting.whose, server, account, issuer, exc)
            raise
        try:
            async with asyncio.timeout(KEEP_S):
                row = await self._kept(waiting, login, tokens)
        except BaseException as exc:
            await self._parts.clients.give_back(login, tokens)
            if isinstance(exc, TimeoutError):
                raise Unavailable("what the login gave could not be stored in time: begin it again") from exc
            raise
        await self._supersede(row)
        return Finished(server, account, row)

    async def _kept(self, waiting: Waiting, login: Login, tokens: Tokens) -> ConnectionRow:
        parts, begun = self._parts, login.begun
        server, account, label = waiting.server, waiting.account, waiting.label
        if waiting.is_dropped or self._refusal(account, server) is not None:
            raise Lost("the server was changed or the account removed while the login was under way")
        granted = Granted(
            account, server, begun.issuer, begun.resource, login.client.id, tokens, begun.scopes, label=label
        )
        try:
            row = await parts.connections.keep(granted)
        except Unusable as exc:
            failed = Unfit(str(exc))
            await parts.acts.login_failed(waiting.whose, server, account, begun.issuer, failed)
            raise failed from exc
        try:
            if waiting.is_dropped:
                raise Lost("the account was removed while the login was under way, or other logins took its place")
            await parts.acts.logged_in(waiting.whose, row)
        except BaseException:  # what the log does not take is not given
            await parts.connections.remove(row.id)
            raise
        parts.attempts.logged_in((account, server, label))
        parts.challenges.met(server, account)
        waiting.is_done = True
        waiting.ended.set()
        return row

    async def _supersede(self, row: ConnectionRow) -> None:
        """The same account at an issuer or resource that the server had before is none that anybody would use again."""
        connections = self._parts.connections
        for old in connections.of(row.user):
            is_before = old.id != row.id and old.chosen_at < row.chosen_at
            if is_before and (old.server, old.label) == (row.server, row.label):
                try:
                    await connections.remove(old.id)
                except (HubError, TimeoutError) as exc:
                    log.warning("the connection %s, which another took the place of, was not removed: %s", old.id, exc)

    # -- whether

    def _check(self, account: str, server: str, label: str, is_asked_for: bool) -> tuple[str, ...]:
        """The scopes that are held there. Raises Exhausted where another login would not help."""
        row = self._parts.connections.current(server, account)
        held = None if row is None or row.label != label else row.scopes
        challenge = self._parts.challenges.of(server, account)
        self._parts.attempts.check((account, server, label), challenge, None if is_asked_for else held)
        return held or ()

    def _refusal(self, account: str, server: str) -> str | None:
        """Why this account cannot be logged in there, in words."""
        found = self._parts.protected().get(server)
        if found is None:
            return f"the hub does not log in to a server {server!r}: the list of servers shows which it logs in to"
        if found.auth.grant != "code":
            return f"the hub gets tokens for the server {server} by itself"
        if found.auth.account == "shared" and account != SHARED:
            return f"the server {server} has one account for all: an admin logs in with mcp-hub login {server} --shared"
        if found.auth.account == "user" and account == SHARED:
            return f"at the server {server} everybody has his own account, and none is everybody's"
        if self._parts.hub() is None:
            return "no browser reaches this hub: set its public_url"
        return None

    def _offer(self, waiting: Waiting) -> Offer:
        hub = self._parts.hub()
        assert hub is not None, "`_refusal` has seen to it, and nobody waited since"
        page = hub.redirect_uris[0].removesuffix(CALLBACK) + CALLBACK.removesuffix("/callback")
        return Offer(waiting.id, f"{page}?c={waiting.token}")
