"""Asks for new tokens in the place of old ones: once at a time for each connection, whoever wants them.

An issuer may take each refresh token once only, so that two who renew one connection lose it. A hub therefore reads
the row again, marks it as its own to renew for a short while, asks, and writes; another hub on the same store waits
for the end of that while. What was asked is written before it is used. An answer that a killed hub never wrote is
asked for again with the old token: an issuer that allows for that gives it once more, a strict one ends the grant.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio

from hub.core.connections import ConnectionRow, ConnectionStore, Ended, RegistrationRow
from hub.core.errors import HubError
from hub.core.ports import Conflict
from hub.identity.outbound.book import Book, Clocks, news
from hub.identity.outbound.errors import OutboundFailed, Refused
from hub.identity.outbound.held import (
    Sealer,
    TokenClient,
    Tokens,
    opened_secret,
    opened_tokens,
    sealed_secret,
    sealed_tokens,
)

log = logging.getLogger(__name__)

TENANT: Final = "local"
STORE_S: Final = 10.0  # a write is seen through even when its caller goes away, for so long
REFRESH_S: Final = 20.0  # for the issuer's part
LEASE_S: Final = 25.0  # a renewal under way is left alone so long; shorter than the grace of issuers that have one
POLL_S: Final = 0.2  # how often a hub that waits for another one looks
BACKOFF_S: Final = (5.0, 300.0)  # after the first failure, and at most
MIN_LIFE_S: Final = 10.0  # what an issuer calls shorter than this is asked for no more often
TRIES: Final = 5  # of a write that somebody else was faster with
_FINAL: Final = frozenset({"unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"})


@dataclass(frozen=True, slots=True)
class Fault:
    """The last renewal failed."""

    why: str
    times: int
    until: float  # by the steady clock: no other try before
    is_final: bool  # the issuer refuses, for good as far as one can see


@dataclass(frozen=True, slots=True)
class _Owed:
    """What an issuer gave and the store did not take yet."""

    stale: str
    got: Tokens
    at: float


class Renewals:
    """One event loop uses it."""

    def __init__(
        self,
        store: ConnectionStore,
        sealer: Sealer,
        client: TokenClient,
        book: Book,
        clocks: Clocks,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        alone: bool = False,
    ) -> None:
        """`alone`: no other hub uses this store, so that what one left behind is nobody's any more."""
        self._store, self._sealer, self._client, self._book = store, sealer, client, book
        self._clocks, self._pause, self._alone = clocks, pause, alone
        self._me = secrets.token_hex(8)
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, Fault] = {}
        self._owed: dict[str, _Owed] = {}

    def fault(self, id: str) -> Fault | None:
        return self._faults.get(id)

    def forget(self, id: str) -> None:
        """The connection is a new one, or gone."""
        self._faults.pop(id, None)
        self._owed.pop(id, None)

    @property
    def under_way(self) -> int:
        return len(self._flights)

    def start(self, id: str, stale: str, is_useless: bool = False) -> asyncio.Task[None] | None:
        """Have the access token `stale` replaced; never raises. None: it failed a moment ago.

        `is_useless`: the server refused it, so that another hub which renews it is waited for.
        """
        flight = self._flights.get(id)
        if flight is not None:
            return flight
        fault = self._faults.get(id)
        if fault is not None and self._clocks.steady() < fault.until:
            return None
        flight = asyncio.create_task(self._fly(id, stale, is_useless), name=f"renewal of {id}")
        self._flights[id] = flight
        return flight

    def newest(self, row: ConnectionRow) -> ConnectionRow:
        """A row that was read from the store, with what the store did not take yet."""
        owed = self._owed.get(row.id)
        if owed is None:
            return row
        held = opened_tokens(self._sealer, row)
        return row if held is None or held.access != owed.stale else self._renewed(row, owed)

    async def settle(self) -> None:
        """Write what could not be written. Raises HubError or TimeoutError when it still cannot."""
        for id, owed in list(self._owed.items()):
            if id not in self._flights:
                await self._write(id, owed)

    async def end(self, row: ConnectionRow, why: Ended) -> None:
        """A login is needed: unless somebody else has changed the row since, which is then taken as it is."""
        held = opened_tokens(self._sealer, row)
        marked = replace(row, version=row.version + 1, ended=why, ended_at=self._clocks.wall())
        marked = replace(marked, renewing_by=None, renewing_until=None)
        marked = marked if held is None else self.resealed(marked, held)
        try:
            await self._put(marked, row.version)
        except Conflict:
            await self._reread(row.id)
            return
        log.warning("the connection %s to %s needs a login: %s", row.id, row.server, why)
        self._book.take(marked, "needs_login")

    async def aclose(self) -> None:
        """What is under way is waited for: an answer that nobody writes down may cost a login."""
        if self._flights:
            _, late = await asyncio.wait(set(self._flights.values()), timeout=REFRESH_S + STORE_S)
            for flight in late:
                flight.cancel()
            if late:
                await asyncio.wait(late)
        try:
            await self.settle()
        except (HubError, TimeoutError) as exc:
            log.error("what %d issuers gave could not be stored; logins are needed there: %s", len(self._owed), exc)

    async def _fly(self, id: str, stale: str, is_useless: bool) -> None:
        try:
            if id in self._owed:  # what is stored is older than what is held: nothing may be asked with it
                await self._write(id, self._owed[id])
                return
            leased = await self._lease(id, stale, is_useless)
            if leased is not None:
                await self._renew(leased, stale)
        except (HubError, TimeoutError) as exc:
            self._failed(id, str(exc) or "it took too long")
        except Exception as exc:  # the outermost of this task: a token that cannot be renewed is none
            log.exception("the renewal of %s broke", id)
            self._failed(id, f"its renewal broke ({type(exc).__name__})")
        finally:
            del self._flights[id]

    async def _lease(self, id: str, stale: str, is_useless: bool) -> ConnectionRow | None:
        """The row, marked as this hub's to renew; None: there is nothing to renew any more."""
        patience = self._clocks.steady() + LEASE_S + REFRESH_S
        while True:
            row = await self._reread(id)
            if row is None or row.ended is not None:
                return None
            held = opened_tokens(self._sealer, row)
            if held is None or held.access != stale:  # somebody else has
                return None
            if not self._is_leased(row):
                until = self._clocks.wall() + LEASE_S
                leased = replace(row, version=row.version + 1, renewing_by=self._me, renewing_until=until)
                leased = self.resealed(leased, held)
                try:
                    await self._put(leased, row.version)
                except Conflict:
                    continue
                return leased
            if not is_useless and self._book.age(row) != "ended":  # what there is serves until the other hub is done
                self._faults[id] = Fault("another hub renews it", 0, self._clocks.steady() + BACKOFF_S[0], False)
                return None
            if self._clocks.steady() >= patience:
                raise HubError("another hub has been renewing it for too long")
            await self._pause(POLL_S)

    def _is_leased(self, row: ConnectionRow) -> bool:
        if self._alone or row.renewing_until is None or row.renewing_by == self._me:
            return False
        return 0 < row.renewing_until - self._clocks.wall() <= LEASE_S  # no clock makes it last longer

    async def _renew(self, row: ConnectionRow, stale: str) -> None:
        held = opened_tokens(self._sealer, row)
        registration = await self._registered(row)
        if held is None:
            return
        try:
            async with asyncio.timeout(REFRESH_S):
                got = await self._client.refresh(row, held, registration)
        except Refused as exc:
            await self._refused(row, registration, exc)
        except (OutboundFailed, TimeoutError):
            await self._release(row)  # what was held is kept: the issuer may not even have been reached
            raise
        else:
            await self._came(row, stale, replace(got, refresh=got.refresh or held.refresh))

    async def _came(self, row: ConnectionRow, stale: str, got: Tokens) -> None:
        self._owed[row.id] = owed = _Owed(stale, got, self._clocks.wall())
        self._faults.pop(row.id, None)
        try:
            await self._write(row.id, owed, row)
        except (HubError, TimeoutError) as exc:
            log.error("what was renewed for %s could not be stored; it is tried again: %s", row.id, exc)
            known = self._book.get(row.id)
            if known is not None and self.newest(known) is not known:  # it is the only token that still is one
                self._book.take(self.newest(known), "renewed")

    async def _refused(self, row: ConnectionRow, registration: RegistrationRow | None, exc: Refused) -> None:
        if exc.error == "invalid_grant":
            await self.end(row, "invalid_grant")
        elif exc.error == "invalid_client" and await self._disown(row, registration):
            await self.end(row, "invalid_client")
        else:
            await self._release(row)
            self._failed(row.id, str(exc), exc.error in _FINAL)

    async def _disown(self, row: ConnectionRow, registration: RegistrationRow | None) -> bool:
        """No login may use it any more. False: it is another one by now, and worth another try."""
        current = await self._registered(row)
        if current is not None and (registration is None or current.version != registration.version):
            return False
        if current is not None and current.origin == "dynamic" and current.refused_at is None:
            marked = replace(current, version=current.version + 1, refused_at=self._clocks.wall())
            secret = opened_secret(self._sealer, current)
            if secret is not None:  # connections of others are told by the issuer itself whether they have ended
                marked = replace(marked, sealed=sealed_secret(self._sealer, marked, secret))
            try:
                await self._store.put_registration(marked, current.version)
            except Conflict:
                return False
        return True

    async def _registered(self, row: ConnectionRow) -> RegistrationRow | None:
        found = await self._store.registrations(TENANT)
        return next((of for of in found if (of.issuer, of.client) == (row.issuer, row.client)), None)

    async def _release(self, row: ConnectionRow) -> None:
        """Others may try. What cannot be written ends by itself."""
        held = opened_tokens(self._sealer, row)
        if held is None:
            return
        freed = self.resealed(replace(row, version=row.version + 1, renewing_by=None, renewing_until=None), held)
        try:
            await self._put(freed, row.version)
        except Conflict:
            await self._reread(row.id)
        except (HubError, TimeoutError) as exc:
            log.warning("the connection %s stays marked for a while: %s", row.id, exc)
        else:
            self._book.take(freed, None)

    async def _write(self, id: str, owed: _Owed, row: ConnectionRow | None = None) -> None:
        """Over whatever stands there with the token that was replaced; never over another login, or none."""
        for _ in range(TRIES):
            if row is None:
                row = await self._store.one(TENANT, id)
            held = None if row is None else opened_tokens(self._sealer, row)
            if row is None or held is None or held.access != owed.stale:
                self._owed.pop(id, None)
                await self._reread(id)
                return
            fresh = self._renewed(row, owed)
            try:
                await self._put(fresh, row.version)
            except Conflict:
                row = None
                continue
            self._owed.pop(id, None)
            self._book.take(fresh, "renewed")
            return
        raise HubError(f"the connection {id} is changed by others all the time")

    def _renewed(self, row: ConnectionRow, owed: _Owed) -> ConnectionRow:
        got = owed.got
        fresh = replace(
            row,
            version=row.version + 1,
            scopes=row.scopes if got.scopes is None else got.scopes,
            obtained_at=owed.at,
            expires_at=None if got.expires_in is None else owed.at + max(MIN_LIFE_S, got.expires_in),
            ended=None,
            ended_at=None,
            renewing_by=None,
            renewing_until=None,
        )
        return self.resealed(fresh, got)

    def resealed(self, row: ConnectionRow, held: Tokens) -> ConnectionRow:
        """The row with its tokens sealed for the version it has now."""
        return replace(row, sealed=sealed_tokens(self._sealer, row, held.access, held.refresh))

    async def _reread(self, id: str) -> ConnectionRow | None:
        row = await self._store.one(TENANT, id)
        known = self._book.get(id)
        if row is None:
            self._book.drop(id)
            self.forget(id)
        elif row != known:
            self._book.take(self.newest(row), news(known, row))
        return row

    async def _put(self, row: ConnectionRow, expected: int) -> None:
        with anyio.fail_after(STORE_S, shield=True):
            await self._store.put(row, expected)

    def _failed(self, id: str, why: str, is_final: bool = False) -> None:
        before = self._faults.get(id)
        times = 1 if before is None else before.times + 1
        wait_s = min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(times - 1, 10))
        self._faults[id] = Fault(why, times, self._clocks.steady() + wait_s, is_final)
        log.warning("the connection %s was not renewed, what is held is kept: %s", id, why)
