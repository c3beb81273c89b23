"""Keys people make for their programs: made, listed, rotated, revoked here, and found again by their hash.

The key itself is shown once. What it may do is said by its row and decided by the policies.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import time
from typing import Final

import anyio

from hub.core.call import Grants, Principal
from hub.core.names import SERVER_ID
from hub.core.ports import KeyRow, KeyStore

PREFIX: Final = "mhk_"
TENANT: Final = "local"
SCOPES: Final = frozenset({"mcp", "admin", "audit:read"})
MAX_GRANTS: Final = 256
MAX_OVERLAP: Final = timedelta(days=30)  # of a rotated key and its successor
STORE_S: Final = 10.0  # a write is seen through even when its caller goes away, for so long
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_GLOB: Final = re.compile(r"[\x21-\x7e]{1,128}")
_EXPIRY: Final = re.compile(r"([1-9][0-9]{0,4})([dhm])")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


class UnknownKey(ValueError):
    """No key that is still good has this id or name."""


def parse_expiry(text: str) -> timedelta:
    """ "30d", "12h" or "90m". Raises ValueError, in words."""
    found = _EXPIRY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration: write a number and d, h or m, as in 30d, 12h or 90m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def token_hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Live:
    principal: Principal
    expires_s: float  # seconds since 1970
    id: str


class Keys:
    """All keys of the hub, and a snapshot of those in force. One event loop uses it, after `load`."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._store, self._clock = store, clock
        self._rows: tuple[KeyRow, ...] = ()
        self._live: dict[str, _Live] = {}  # by hash of the key
        self._used: dict[str, float] = {}  # when keys were used that the store does not know of yet, by id

    async def load(self) -> None:
        """Take what the store holds."""
        self._rows = await self._store.all(TENANT)
        self._live = {row.sha256: _live(row) for row in self._rows if row.revoked_at is None}

    def rows(self) -> tuple[KeyRow, ...]:
        """Every key ever made, oldest first, revoked ones too."""
        return tuple(replace(row, last_used_at=self._last_use(row)) for row in self._rows)

    def principal(self, digest: str) -> Principal | None:
        """Whom the key with this hash stands for, if it is in force now."""
        live = self._live.get(digest)
        if live is None:
            return None
        now = self._clock()
        if now >= live.expires_s:
            return None
        self._used[live.id] = now
        return live.principal

    def credentials(self) -> frozenset[str]:
        """Of the keys in force now, as principals have them."""
        now = self._clock()
        return frozenset(live.principal.credential for live in self._live.values() if now < live.expires_s)

    def expiring(self, within: timedelta) -> tuple[KeyRow, ...]:
        """Keys that end so soon and have no successor."""
        now = self._clock()
        end, standing = now + within.total_seconds(), {row.id for row in self._rows if row.revoked_at is None}
        return tuple(
            row
            for row in self._rows
            if row.id in standing and row.replaced_by not in standing and now < _read(row.expires_at) <= end
        )

    async def flush(self) -> None:
        """Store when keys were last used, all in one write. What fails to be stored is tried again next time."""
        stamps = {row.id: at for row in self._rows if (at := self._last_use(row)) not in (None, row.last_used_at)}
        self._used = {}
        if not stamps:
            return
        # in memory first: a use that comes meanwhile is newer
        before = {row.id: row for row in self._rows}
        self._rows = tuple(replace(row, last_used_at=stamps.get(row.id, row.last_used_at)) for row in self._rows)
        try:
            with anyio.fail_after(STORE_S, shield=True):
                await self._store.used(TENANT, {id: at for id, at in stamps.items() if at is not None})
        except BaseException:
            self._used = {id: _read(at) for id, at in stamps.items()} | self._used
            self._rows = tuple(
                replace(row, last_used_at=before[row.id].last_used_at) if row.id in stamps else row
                for row in self._rows
            )
            raise

    def _last_use(self, row: KeyRow) -> str | None:
        """To the minute: more would tell how busy somebody is, and cost a write a call."""
        used = self._used.get(row.id)
        return row.last_used_at if used is None else _written(datetime.fromtimestamp(used // 60 * 60, UTC))

    async def create(
        self,
        name: str,
        scopes: Sequence[str] = ("mcp",),
        servers: Sequence[str] | None = None,
        tools: Sequence[str] | None = None,
        expires_in: timedelta | None = None,
    ) -> tuple[KeyRow, str]:
        """A new key, in force when this returns: its row, and the key itself, which nothing keeps.

        Raises ValueError, in words, for what is not well formed and for a name that a key in force has.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        key = PREFIX + secrets.token_urlsafe(32)
        row = KeyRow(
            id=f"k{secrets.token_hex(6)}",
            tenant=TENANT,
            name=_name(name),
            sha256=token_hash(key),
            scopes=_scopes(scopes),
            servers=_names(servers, "server", _is_server, "an id as in `servers list`, or '*' for all"),
            tools=_names(tools, "tool", _is_glob, "a pattern over public tool names, as in 'time__*'"),
            created_at=_written(now),
            expires_at=_end(now, expires_in),
        )
        with anyio.fail_after(STORE_S, shield=True):  # stored and in force, or neither
            try:
                await self._store.add(row)
            except KeyError as exc:
                raise ValueError(f"there is a key named {name!r}: revoke it first, or take another name") from exc
            self._rows = (*self._rows, row)
            self._live[row.sha256] = _live(row)
        return row, key

    async def rotate(
        self, id_or_name: str, overlap: timedelta, expires_in: timedelta | None = None
    ) -> tuple[KeyRow, KeyRow, str]:
        """A successor with the same name and grants: the old row, the new one, and the key itself.

        Both are good for the `overlap`, then the old one ends. The new one lives as long as the old one was made for,
        or for `expires_in`. Raises UnknownKey, and ValueError in words.
        """
        old, now = self._find(id_or_name), self._clock()
        self._check_rotation(old, now, overlap)
        made = next((row for row in self._rows if row.id == old.replaced_by), old)  # it knows how long they live
        if expires_in is None and made.expires_at is not None:
            expires_in = timedelta(seconds=_read(made.expires_at) - _read(made.created_at))
        key, at = PREFIX + secrets.token_urlsafe(32), datetime.fromtimestamp(now, UTC)
        new = replace(
            old,
            id=f"k{secrets.token_hex(6)}",
            sha256=token_hash(key),
            created_at=_written(at),
            expires_at=_end(at, expires_in),
            last_used_at=None,
            replaced_by=None,
        )
        ends = min(_written(at + overlap), old.expires_at or "~")
        with anyio.fail_after(STORE_S, shield=True):
            try:
                await self._store.rotate(new, old.id, ends)
            except KeyError as exc:
                raise ValueError(f"the key {old.id} was changed meanwhile: look at `keys list`") from exc
            gone = replace(self._find(old.id), expires_at=ends, replaced_by=new.id)
            self._rows = (*(gone if row.id == old.id else row for row in self._rows), new)
            self._live |= {gone.sha256: _live(gone), new.sha256: _live(new)}
        return gone, new, key

    def _check_rotation(self, old: KeyRow, now: float, overlap: timedelta) -> None:
        if not timedelta(0) < overlap <= MAX_OVERLAP:
            raise ValueError(f"an overlap is at most {MAX_OVERLAP.days}d; to end the old key at once, revoke it")
        if now >= _read(old.expires_at):
            raise ValueError(f"the key {old.id} has expired: make a new one with `keys create`")
        if any(row.id == old.replaced_by and row.revoked_at is None for row in self._rows):
            raise ValueError(f"the key {old.id} was rotated already: its successor is {old.replaced_by}, rotate that")

    def meant(self, id_or_name: str) -> tuple[KeyRow, ...]:
        """The key with this id; or the newest of this name and those it took over from that are still good.

        Raises UnknownKey.
        """
        row, now = self._find(id_or_name), self._clock()
        if row.id == id_or_name:
            return (row,)
        others = [
            other
            for other in reversed(self._rows)
            if other.name == row.name and other.id != row.id and other.revoked_at is None
        ]
        return (row, *(other for other in others if now < _read(other.expires_at)))

    async def revoke(self, id_or_name: str) -> KeyRow:
        """The row as it is now; the key is refused from the moment this is called. Raises UnknownKey."""
        row = self._find(id_or_name)
        self._live.pop(row.sha256, None)  # first, so that no failure below leaves it in force
        at = _written(datetime.fromtimestamp(self._clock(), UTC))
        with anyio.fail_after(STORE_S, shield=True):
            await self._store.revoke(TENANT, row.id, at)
            gone = replace(row, revoked_at=at)
            self._rows = tuple(gone if other.id == row.id else other for other in self._rows)
        return gone

    def _find(self, id_or_name: str) -> KeyRow:
        standing = [row for row in self._rows if row.revoked_at is None]
        for row in standing:
            if row.id == id_or_name:
                return row
        for row in reversed(standing):  # a name may stand on expired keys too: the newest is meant
            if row.name == id_or_name:
                return row
        raise UnknownKey(f"there is no key {id_or_name[:64]!r} in force: `keys list` shows those there are")


def _live(row: KeyRow) -> _Live:
    return _Live(principal_of(row), _read(row.expires_at), row.id)


def principal_of(row: KeyRow) -> Principal:
    servers = None if row.servers is None else frozenset(row.servers)
    return Principal(
        tenant=row.tenant,
        name=f"key:{row.name}",
        credential=f"key:{row.id}",
        scopes=frozenset(row.scopes),
        grants=Grants(servers, row.tools),
    )


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name for a key: use letters, digits, '.', '_' and '-', at most 64")
    return name


def _scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(scopes) - SCOPES)
    if unknown or not scopes:
        said = f"{unknown[0][:80]!r} is no scope" if unknown else "a key needs a scope"
        raise ValueError(f"{said}: there are {', '.join(sorted(SCOPES))}")
    return tuple(sorted(set(scopes)))


def _names(given: Sequence[str] | None, what: str, fits: Callable[[str], bool], rule: str) -> tuple[str, ...] | None:
    """None stays None: not narrowed by this. An empty list is refused, because it could be read both ways."""
    if given is None:
        return None
    for name in given:
        if not fits(name):
            raise ValueError(f"{name[:140]!r} is no {what}: give {rule}")
    if not 0 < len(given) <= MAX_GRANTS:
        raise ValueError(f"a key names between 1 and {MAX_GRANTS} of --{what}, or leaves it out")
    return tuple(dict.fromkeys(given))


def _is_server(name: str) -> bool:
    return name == "*" or SERVER_ID.fullmatch(name) is not None


def _is_glob(name: str) -> bool:
    return _GLOB.fullmatch(name) is not None


def _end(now: datetime, expires_in: timedelta | None) -> str | None:
    if expires_in is None:
        return None
    if not timedelta(0) < expires_in <= timedelta(days=99_999):
        raise ValueError("a key expires in the future, within 99999 days")
    return _written(now + expires_in)


def _written(at: datetime) -> str:
    """RFC 3339 UTC, always the same width, so that times compare as texts."""
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _read(at: str | None) -> float:
    return float("inf") if at is None else datetime.fromisoformat(at).timestamp()
