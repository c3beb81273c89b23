"""What users granted, and every token that came of it: opened, renewed, found by a token, and ended here.

A refresh token is replaced each time it is used. Who asks again with the one before, because the answer was lost or
because two of a program run at once, gets the same successor for a short while. After that, two parties hold tokens of
one family and one of them stole it: the whole family ends (RFC 9700 §4.14.2).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Literal
from weakref import WeakValueDictionary

import anyio

from hub.core.accounts import CodeRow, GrantRow, GrantStore
from hub.identity.oauth.ports import TENANT, Sealer, Settings

log = logging.getLogger(__name__)

PREFIX: Final = "mhr_"
MAX_OF_USER: Final = 200  # grants that stand; beyond that, the one longest unused ends
MAX_GRACED: Final = 10_000
STORE_S: Final = 10.0  # a write is seen through even when its caller goes away, for so long
DAY_S: Final = 86_400.0
_ID, _RANDOM, _MAC = 8, 32, 16  # bytes
_LABEL: Final = b"mcp-hub refresh token 1"


@dataclass(frozen=True, slots=True)
class Presented:
    """What a refresh token is to its family now."""

    grant: GrantRow
    state: Literal["current", "graced", "reused"]
    successor: str | None = field(default=None, repr=False)  # "graced": the token in force, if it still opens


def digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Families:
    """All grants that stand. One event loop uses it, after `load`."""

    def __init__(
        self,
        store: GrantStore,
        sealer: Sealer,
        mark: Callable[[], bytes],
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        """`mark` gives the secret that refresh tokens are known by."""
        self._store, self._sealer, self._mark, self._settings, self._clock = store, sealer, mark, settings, clock
        self._rows: dict[str, GrantRow] = {}
        self._of_user: dict[str, set[str]] = {}
        self._current: dict[str, str] = {}  # grant by hash of the token in force
        self._graced: dict[str, tuple[str, float]] = {}  # grant by hash of a token before it, and until when; by time
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._watchers: list[Callable[[str], None]] = []
        self._owed: dict[str, tuple[float, str]] = {}  # ends that the store does not know of yet

    async def load(self) -> None:
        """Take what the store holds."""
        now = self._clock()
        self._rows, self._of_user, self._current, self._graced = {}, {}, {}, {}
        rows = [row for row in await self._store.grants(TENANT) if row.revoked_at is None and now < row.expires_at]
        for row in sorted(rows, key=lambda row: row.previous_until or 0.0):
            self._take(row)

    def watch(self, fn: Callable[[str], None]) -> None:
        """`fn` is told the id of every grant that is ended before its time."""
        self._watchers.append(fn)

    def lock(self, id: str) -> asyncio.Lock:
        """Held by whoever renews this grant."""
        return self._locks.setdefault(id, asyncio.Lock())

    def get(self, id: str) -> GrantRow | None:
        """The grant, while it stands."""
        row = self._rows.get(id)
        return row if row is not None and self._clock() < row.expires_at else None

    def of_user(self, user: str) -> tuple[GrantRow, ...]:
        """Those that stand, oldest first; not those whose code nobody has redeemed yet."""
        rows = [row for id in self._of_user.get(user, ()) if (row := self.get(id)) is not None]
        return tuple(sorted((row for row in rows if row.used_at is not None), key=lambda row: (row.created_at, row.id)))

    def ids_of(self, user: str) -> tuple[str, ...]:
        """Of all that stand, those too whose code nobody has redeemed yet."""
        return tuple(self._of_user.get(user, ()))

    def clients(self) -> frozenset[str]:
        """Ids of the clients that hold a grant which stands."""
        return frozenset(row.client for row in self._rows.values() if self._clock() < row.expires_at)

    async def open(self, grant: GrantRow, code: CodeRow | None) -> None:
        """Keep a grant that waits for its code to be redeemed; durable when it returns.

        Without a code, somebody else knows what it waits for.
        """
        mine = [row for id in self._of_user.get(grant.user, ()) if (row := self.get(id)) is not None]
        if len(mine) >= MAX_OF_USER:
            await self.end([min(mine, key=lambda row: (row.used_at or row.created_at, row.id)).id], "replaced")
        with anyio.fail_after(STORE_S, shield=True):
            await (self._store.add(grant) if code is None else self._store.open(grant, code))
        self._take(grant)

    async def redeem(self, code: str) -> CodeRow | None:
        """The code as it was before this moment; it is used up now, whatever comes of it."""
        with anyio.fail_after(STORE_S, shield=True):
            return await self._store.redeem(TENANT, digest(code), self._clock())

    def fresh(self, grant: GrantRow) -> str:
        """A new refresh token for this grant, which nothing knows yet."""
        head = bytes.fromhex(grant.id[1:]) + secrets.token_bytes(_RANDOM)
        return PREFIX + base64.urlsafe_b64encode(head + self._mac(head)).decode().rstrip("=")

    def started(self, grant: GrantRow, refresh: str | None) -> GrantRow:
        """The grant as it will stand once its code is redeemed."""
        now = self._clock()
        lasts_s = self._settings.access_s if refresh is None else self._settings.refresh_s
        return replace(grant, used_at=now, expires_at=now + lasts_s, refresh_sha256=refresh and digest(refresh))

    async def start(self, started: GrantRow) -> bool:
        """The code was redeemed: keep what `started` said. False: the grant was ended meanwhile."""
        return await self._put(started, None)

    async def rotate(self, grant: GrantRow, old: str, new: str) -> bool:
        """`new` takes the place of `old`, which is good for a while longer. False: somebody else was faster."""
        now = self._clock()
        row = replace(
            grant,
            refresh_sha256=digest(new),
            previous_sha256=digest(old),
            previous_until=now + self._settings.grace_s,
            successor=self._sealer.seal(new.encode(), _bound(grant)),
            used_at=now,
        )
        return await self._put(row, digest(old))

    async def look(self, token: str) -> Presented | None:
        """The family of a refresh token; None: none of ours, or one that has ended."""
        found = self._look(token)
        if found is None or found.state != "reused":
            return found
        await self._reread(found.grant.id)  # the store may know of a turn that we do not
        return self._look(token)

    async def end(self, ids: Sequence[str], reason: str) -> None:
        """End these grants: no token of theirs is taken from now on, and the watchers know.

        Raises HubError or TimeoutError when it could not be written down; that is tried again by `sweep`.
        """
        now = self._clock()
        gone = [id for id in ids if self._drop(id)]
        self._owed |= {id: (now, reason) for id in gone}
        for id in gone:
            for fn in self._watchers:
                fn(id)
        if gone:
            await self._settle(gone, now, reason)

    async def sweep(self) -> None:
        """Forget what has ended, and write down what could not be."""
        now = self._clock()
        for id in [id for id, row in self._rows.items() if now >= row.expires_at]:
            self._drop(id)
        for id, (at, reason) in list(self._owed.items()):
            await self._settle([id], at, reason)
        # codes are kept for a day beyond their end, so that a second use of one is still seen for what it is
        await self._store.sweep(TENANT, now - DAY_S)

    async def _settle(self, ids: Sequence[str], at: float, reason: str) -> None:
        with anyio.fail_after(STORE_S, shield=True):
            await self._store.revoke(TENANT, ids, at, reason)
        for id in ids:
            self._owed.pop(id, None)

    def _look(self, token: str) -> Presented | None:
        hashed, now = digest(token), self._clock()
        if (id := self._current.get(hashed)) is not None:
            row = self.get(id)
            return None if row is None else Presented(row, "current")
        id, until = self._graced.get(hashed, (None, 0.0))
        if id is None:
            id = self._family(token)
        row = None if id is None else self.get(id)
        if row is None:
            return None
        if now > until:
            return Presented(row, "reused")
        opened = None if row.successor is None else self._sealer.open(row.successor, _bound(row))
        return Presented(row, "graced", None if opened is None else opened.decode())

    def _family(self, token: str) -> str | None:
        """Whose token this was once: the store remembers only the last two of each family."""
        try:
            raw = base64.b64decode(token.removeprefix(PREFIX) + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        head, mac = raw[: _ID + _RANDOM], raw[_ID + _RANDOM :]
        if not token.startswith(PREFIX) or not hmac.compare_digest(mac, self._mac(head)):
            return None
        return f"g{head[:_ID].hex()}"

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._mark(), _LABEL + head, "sha256")[:_MAC]

    async def _put(self, row: GrantRow, from_sha256: str | None) -> bool:
        with anyio.fail_after(STORE_S, shield=True):
            stored = await self._store.rotate(row, from_sha256)
        if not stored:
            await self._reread(row.id)
        elif row.id in self._rows:
            self._take(row)
            return True
        return False  # refused, or ended while it was written

    async def _reread(self, id: str) -> None:
        row = next((row for row in await self._store.grants(TENANT) if row.id == id), None)
        if row is not None and row.revoked_at is None and id not in self._owed:
            self._take(row)
        elif self._drop(id):
            for fn in self._watchers:
                fn(id)

    def _take(self, row: GrantRow) -> None:
        before = self._rows.get(row.id)
        if before is not None and before.refresh_sha256 is not None and before.refresh_sha256 != row.refresh_sha256:
            self._current.pop(before.refresh_sha256, None)
        self._rows[row.id] = row
        self._of_user.setdefault(row.user, set()).add(row.id)
        if row.refresh_sha256 is not None:
            self._current[row.refresh_sha256] = row.id
        if row.previous_sha256 is not None and row.previous_until is not None:
            self._graced[row.previous_sha256] = (row.id, row.previous_until)
        self._forget_graced()

    def _forget_graced(self) -> None:
        """All are good equally long, so that the first to be put in is the first to end."""
        now = self._clock()
        while self._graced:
            hashed, (_, until) = next(iter(self._graced.items()))
            if now <= until and len(self._graced) <= MAX_GRACED:
                return
            del self._graced[hashed]

    def _drop(self, id: str) -> bool:
        row = self._rows.pop(id, None)
        if row is None:
            return False
        mine = self._of_user.get(row.user, set())
        mine.discard(id)
        if not mine:
            self._of_user.pop(row.user, None)
        if row.refresh_sha256 is not None:
            self._current.pop(row.refresh_sha256, None)
        return True


def _bound(grant: GrantRow) -> bytes:
    return f"refresh:{grant.tenant}:{grant.id}".encode()
