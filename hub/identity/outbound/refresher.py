"""The tokens that the hub holds for downstreams: given to whoever calls for somebody, and kept in force.

A token is replaced at four fifths of its life, behind the back of those who use it; nobody waits for that unless it
has ended. Each connection stands for itself: whose login has ended is told so, and nobody else, and no other account
is used in its place.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from hub.core.connections import ConnectionRow, ConnectionStore, GrantKind
from hub.core.errors import HubError
from hub.core.ports import Conflict
from hub.identity.outbound.book import Age, Book, Changed, Clocks
from hub.identity.outbound.held import NeedsLogin, NotNow, Sealer, TokenClient, Tokens, fits, opened_tokens
from hub.identity.outbound.renewals import MIN_LIFE_S, STORE_S, TENANT, TRIES, Renewals

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0  # how often it is looked for what is due
RELOAD_S: Final = 30.0  # how long what another hub wrote may go unseen
AT_ONCE: Final = 8  # renewals that nobody waits for
MAX_OF_USER: Final = 200
MAX_LABEL: Final = 64
MAX_ACCOUNT: Final = 256  # characters of who one is there
MAX_TEXT: Final = 2048  # of a server, an issuer, a resource, a client
QUICK_S: Final = 60.0  # a token that is refused so soon after it came is none the server will ever take


class Unusable(ValueError):
    """What was asked for cannot be done; says why, in words for whoever asked."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of a login, to be kept."""

    user: str
    server: str
    issuer: str
    resource: str
    client: str
    tokens: Tokens = field(repr=False)
    scopes: tuple[str, ...] = ()  # asked for; what the tokens say counts more
    label: str = ""
    account: str | None = None
    grant: GrantKind = "code"


class Connections:
    """One event loop uses it, after `load`; `tend` keeps it in order."""

    def __init__(
        self,
        store: ConnectionStore,
        sealer: Sealer,
        client: TokenClient,
        clocks: Clocks | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        alone: bool = False,
    ) -> None:
        """`alone`: no other hub uses this store, so that no renewal of another one has to be waited for."""
        self._store, self._sealer, self._pause = store, sealer, pause
        self._clocks = clocks or Clocks()
        self._book = Book(self._clocks)
        self._renewals = Renewals(store, sealer, client, self._book, self._clocks, pause, alone)
        self._loading = asyncio.Lock()
        self._used: dict[str, float] = {}  # when the token came that was used: an idle one is renewed when it is wanted
        self._replaced: dict[str, str] = {}  # by id: the token that came in the place of a refused one

    async def load(self) -> None:
        """Take what the store holds now, whoever wrote it."""
        async with self._loading:
            self._book.reading()
            rows = await self._store.all(TENANT)
            self._book.read([self._renewals.newest(row) for row in rows])

    def watch(self, fn: Callable[[Changed], None]) -> None:
        """Told of each change, from whatever hub on this store. `fn` must not raise."""
        self._book.watch(fn)

    def get(self, id: str) -> ConnectionRow | None:
        return self._book.get(id)

    def rows(self) -> tuple[ConnectionRow, ...]:
        """Everybody's."""
        return self._book.rows()

    def of(self, user: str) -> tuple[ConnectionRow, ...]:
        """By server and label."""
        return self._book.of(user)

    def chosen(self, server: str, user: str, resource: str) -> ConnectionRow | None:
        return self._book.chosen(server, user, resource)

    def current(self, server: str, user: str) -> ConnectionRow | None:
        """The account in use at that server, whatever resource it is for."""
        return self._book.current(server, user)

    def at(self, server: str) -> tuple[ConnectionRow, ...]:
        """Everybody's at that server."""
        return tuple(row for row in self._book.rows() if row.server == server)

    def age(self, row: ConnectionRow) -> Age:
        return self._book.age(row)

    def held(self, row: ConnectionRow) -> Tokens | None:
        """What the row holds, open; None: it does not open."""
        return opened_tokens(self._sealer, row)

    def needs_login(self, row: ConnectionRow) -> NeedsLogin | None:
        """Whether it can give no token any more, as far as is known without asking anybody."""
        return self._needed(row, opened_tokens(self._sealer, row))

    async def token(self, server: str, user: str, resource: str) -> str | NeedsLogin | NotNow:
        """The access token to present there for this user (SHARED: for everybody); waits only when it has ended.

        A waiting caller may be cancelled; what it waited for goes on for the others.
        """
        for is_last in (False, True):
            row = self._book.chosen(server, user, resource)
            if row is None:
                return NeedsLogin("new")
            held = opened_tokens(self._sealer, row)
            needed = self._needed(row, held)
            if held is None or (needed is not None and needed.reason != "expired"):
                return needed or NeedsLogin("unreadable")
            self._used[row.id] = row.obtained_at
            age, is_renewable = self._book.age(row), _is_renewable(row, held)
            if age == "fresh" or (age == "due" and not is_renewable):
                return held.access
            flight = self._renewals.start(row.id, held.access) if is_renewable and not is_last else None
            if age == "due":
                return held.access
            if flight is None:
                return needed or self._not_now(row)
            await asyncio.wait({flight})
        raise AssertionError("the last look answers")

    async def refused(self, server: str, user: str, resource: str, access: str) -> str | NeedsLogin | NotNow:
        """The downstream took `access` for no token (401): another one, or who has to log in.

        Of many who come with one refused token, the first has it replaced. Two refused in a row: the server takes none.
        """
        row = self._book.chosen(server, user, resource)
        if row is None:
            return NeedsLogin("new")
        held = opened_tokens(self._sealer, row)
        if row.ended is not None or held is None or held.access != access:
            return await self.token(server, user, resource)
        if not _is_renewable(row, held) or self._is_hopeless(row, access):
            return await self._reject(row)
        flight = self._renewals.start(row.id, access, is_useless=True)
        if flight is not None:
            await asyncio.wait({flight})
        now = self._book.get(row.id)
        fresh = None if now is None else opened_tokens(self._sealer, now)
        if now is not None and fresh is not None and now.ended is None and fresh.access == access:
            if now.obtained_at != row.obtained_at or self._is_hopeless(now, access):
                return await self._reject(now)
            return self._not_now(now)
        if fresh is not None:
            self._replaced[row.id] = fresh.access
        return await self.token(server, user, resource)

    async def keep(self, granted: Granted) -> ConnectionRow:
        """Store what a login gave, in the place of what this user had under this label there; durable when it returns.

        It is the account used there from now on. Raises `Unusable`.
        """
        _check(granted)
        for _ in range(TRIES):
            rows = await self._store.all(TENANT)
            mine = [row for row in rows if row.user == granted.user]
            before = next((row for row in mine if _place(row) == _place(granted)), None)
            if before is None and len(mine) >= MAX_OF_USER:
                raise Unusable(f"there are {MAX_OF_USER} connections already: remove one first")
            row = self._sealed(granted, before, mine)
            try:
                with anyio.fail_after(STORE_S, shield=True):
                    await self._store.put(row, None if before is None else before.version)
            except (Conflict, KeyError):
                continue
            self._forget(row.id)
            self._book.take(row, "login")
            return row
        raise Unusable("somebody else changes this connection at the same time: try again")

    async def rename(self, id: str, label: str) -> ConnectionRow:
        """Raises `Unusable`, also when another account there is called so."""
        _check_label(label)
        return await self._change(id, lambda row: replace(row, label=label))

    async def choose(self, id: str) -> ConnectionRow:
        """Use this account from now on where there are several. Raises `Unusable`."""
        others = [row.chosen_at for row in self._book.rows()]
        return await self._change(id, lambda row: replace(row, chosen_at=self._after(others)))

    async def remove(self, id: str) -> ConnectionRow | None:
        """What was held, durably gone when this returns: a renewal under way does not bring it back."""
        with anyio.fail_after(STORE_S, shield=True):
            row = await self._store.remove(TENANT, id)
        self._forget(id)
        self._book.drop(id)
        return row

    async def forget_user(self, user: str) -> int:
        """Whoever is gone leaves nothing that the hub could act with. How many there were."""
        rows = [row for row in await self._store.all(TENANT) if row.user == user]
        for row in rows:
            await self.remove(row.id)
        return len(rows)

    async def tend(self, every_s: float = EVERY_S) -> None:
        """Renew what is due, write what is owed, see what others wrote. Until it is cancelled."""
        loaded_at = self._clocks.steady()
        while True:
            await self._pause(every_s)
            try:
                await self._renewals.settle()
                if self._clocks.steady() - loaded_at >= RELOAD_S:
                    await self.load()
                    loaded_at = self._clocks.steady()
                self.renew_due()
            except Exception as exc:  # the outermost loop: a store that fails now is no reason to stop looking
                log.warning("connections cannot be tended; it is tried again: %s", exc)

    def renew_due(self) -> None:
        """Start to renew what was used since its token came and soon ends: a few at once, the first to end first."""
        used = [row for row in self._book.rows() if self._used.get(row.id) == row.obtained_at and row.ended is None]
        due = [row for row in used if self._book.age(row) != "fresh"]
        for row in sorted(due, key=lambda row: row.expires_at or 0.0):
            if self._renewals.under_way >= AT_ONCE:
                return
            held = opened_tokens(self._sealer, row)
            if held is not None and _is_renewable(row, held):
                self._renewals.start(row.id, held.access)

    async def aclose(self) -> None:
        await self._renewals.aclose()

    def _needed(self, row: ConnectionRow, held: Tokens | None) -> NeedsLogin | None:
        if row.ended is not None:
            return NeedsLogin(row.ended)
        if held is None:
            return NeedsLogin("unreadable")
        if self._book.age(row) != "ended":
            return None
        fault = self._renewals.fault(row.id)
        is_over = not _is_renewable(row, held) or (fault is not None and fault.is_final)
        return NeedsLogin("expired") if is_over else None

    def _is_hopeless(self, row: ConnectionRow, access: str) -> bool:
        """Whether another token in the place of this refused one would be refused too, or is not to be had."""
        fault = self._renewals.fault(row.id)
        is_quick = 0 <= self._clocks.wall() - row.obtained_at < QUICK_S
        return (self._replaced.get(row.id) == access and is_quick) or (fault is not None and fault.is_final)

    async def _reject(self, row: ConnectionRow) -> NeedsLogin | NotNow:
        try:
            await self._renewals.end(row, "rejected")
        except (HubError, TimeoutError) as exc:
            log.warning("that the connection %s needs a login could not be stored: %s", row.id, exc)
        now = self._book.get(row.id)
        if now is not None and now.ended is None and now.version != row.version:
            return NotNow("it was changed at the same time")
        return NeedsLogin("rejected")

    async def _change(self, id: str, change: Callable[[ConnectionRow], ConnectionRow]) -> ConnectionRow:
        for _ in range(TRIES):
            row = await self._store.one(TENANT, id)
            if row is None:
                self._book.drop(id)
                raise Unusable("there is no such connection any more")
            held = opened_tokens(self._sealer, row)
            if held is None:
                raise Unusable("what is stored for this connection does not open: log in again, or remove it")
            changed = self._renewals.resealed(replace(change(row), version=row.version + 1), held)
            try:
                with anyio.fail_after(STORE_S, shield=True):
                    await self._store.put(changed, row.version)
            except Conflict:
                continue
            except KeyError as exc:
                raise Unusable("another account there has this name") from exc
            changed = self._renewals.newest(changed)
            self._book.take(changed, "changed")
            return changed
        raise Unusable("somebody else changes this connection at the same time: try again")

    def _sealed(self, granted: Granted, before: ConnectionRow | None, mine: list[ConnectionRow]) -> ConnectionRow:
        got, now = granted.tokens, self._clocks.wall()
        life_s = got.expires_in if got.expires_in is not None and math.isfinite(got.expires_in) else None
        row = ConnectionRow(
            tenant=TENANT,
            id=f"o{secrets.token_hex(8)}" if before is None else before.id,
            **{name: getattr(granted, name) for name in ("user", "server", "issuer", "resource", "label", "client")},
            scopes=granted.scopes if got.scopes is None else got.scopes,
            sealed=b"",
            created_at=now,
            obtained_at=now,
            expires_at=None if life_s is None else now + max(MIN_LIFE_S, life_s),
            chosen_at=self._after([row.chosen_at for row in mine]),
            version=1 if before is None else before.version + 1,
            grant=granted.grant,
            account=None if granted.account is None else granted.account[:MAX_ACCOUNT],
        )
        return self._renewals.resealed(row, got)

    def _after(self, times: list[float]) -> float:
        """Now, or a little later than all of these: a clock that was put back chooses too."""
        return max([self._clocks.wall(), *(at + 0.001 for at in times)])

    def _forget(self, id: str) -> None:
        self._renewals.forget(id)
        self._used.pop(id, None)
        self._replaced.pop(id, None)

    def _not_now(self, row: ConnectionRow) -> NotNow:
        fault = self._renewals.fault(row.id)
        return NotNow("its renewal is under way" if fault is None else fault.why)


def _is_renewable(row: ConnectionRow, held: Tokens) -> bool:
    return held.refresh is not None or row.grant == "client_credentials"


def _place(of: ConnectionRow | Granted) -> tuple[str, ...]:
    return of.server, of.issuer, of.resource, of.label


def _check(granted: Granted) -> None:
    if not fits(granted.tokens):
        raise Unusable("the issuer gave a token that no request can carry")
    texts = (granted.user, granted.server, granted.issuer, granted.resource, granted.client)
    if any(len(text) > MAX_TEXT or not text.isprintable() for text in texts):
        raise Unusable("the issuer, the resource or the client has a name that cannot be kept")
    _check_label(granted.label)


def _check_label(label: str) -> None:
    if len(label) > MAX_LABEL or not label.isprintable() or label != label.strip():
        raise Unusable(f"a name for an account has at most {MAX_LABEL} characters, none of them invisible")
