"""The people who may log in: kept, changed and found here, and checked by password and one-time code.

What a user may do is said by the roles and decided by the policies. Whoever holds something open for a user (a login, a
token, a grant) watches, and is told when that has to end.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from time import time
from typing import Any, Final, Literal, Protocol

import anyio

from hub.core.accounts import UserRow, UserStore
from hub.core.ports import Conflict
from hub.identity import otp
from hub.identity.oauth.asked import Login
from hub.identity.passwords import Busy, Passwords, fit
from hub.identity.profiles import Profile, fit_changes, fit_name, fit_profile, folded
from hub.identity.roles import ADMIN, Roles
from hub.identity.throttle import Attempts

log = logging.getLogger(__name__)

TENANT: Final = "local"
MAX_USERS: Final = 20_000
INVITE_S: Final = 86_400.0
SETUP_S: Final = 600.0  # in which a new one-time secret is confirmed by a code
STORE_S: Final = 10.0  # a write is seen through even when its caller goes away, for so long
BUSY_S: Final = 1.0
_SETUPS: Final = 1000  # at once
_OPENERS: Final = ("name", "password", "roles", "groups")


class Sealer(Protocol):
    """Keeps what must be read again from whoever reads the disk. `bound` is authenticated and not stored."""

    def seal(self, plain: bytes, bound: bytes) -> bytes: ...

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        """None: not sealed by a key that is still there, altered, or bound to something else."""


class UnknownUser(ValueError):
    """No user has this id or name."""


class NameTaken(ValueError):
    """Another user has it."""


class InviteRefused(ValueError):
    """The first user cannot be made with this code."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why somebody is not logged in."""

    kind: Literal["wrong", "otp_needed", "otp_wrong", "wait"]
    wait_s: float = 0.0


class Users:
    """All users of the hub. One event loop uses it, after `load`."""

    def __init__(
        self, store: UserStore, roles: Roles, sealer: Sealer | None = None, clock: Callable[[], float] = time
    ) -> None:
        """`clock` gives seconds since 1970. Without a sealer nobody can set up one-time codes."""
        self._store, self._roles, self._sealer, self._clock = store, roles, sealer, clock
        self._rows: dict[str, UserRow] = {}
        self._names: dict[str, UserRow] = {}  # the live one of that name, else the one made last
        self._subjects: dict[tuple[str, str], UserRow] = {}  # the same, by issuer and its name for the user
        self._watchers: list[Callable[[str], None]] = []
        self._passwords, self._attempts, self._codes = Passwords(), Attempts(clock), otp.OneTimeCodes(clock)
        self._setups: dict[str, tuple[bytes, float]] = {}  # secret and end, by user id
        self._invited: tuple[bytes, float] | None = None  # SHA-256 of the code, and its end
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take what the store holds."""
        self._take(await self._store.all(TENANT))

    def watch(self, fn: Callable[[str], None]) -> None:
        """`fn` is told the id of a user whose access must end: disabled, or with another password, role or group."""
        self._watchers.append(fn)

    def rows(self) -> tuple[UserRow, ...]:
        """By name; disabled ones too."""
        return tuple(sorted(self._rows.values(), key=lambda row: (row.name, row.created_at, row.id)))

    def known_roles(self) -> tuple[str, ...]:
        return self._roles.names()

    def now(self) -> float:
        return self._clock()

    def find(self, name: str) -> UserRow | None:
        """Whoever logs in by this name; where nobody does, a disabled user who did."""
        return self._names.get(folded(name))

    def by_id(self, id: str) -> UserRow | None:
        return self._rows.get(id)

    def by_subject(self, issuer: str, subject: str) -> UserRow | None:
        """Whom this provider knows by this name, byte for byte; a disabled user where there is no other."""
        return self._subjects.get((issuer, subject))

    def meant(self, id_or_name: str) -> UserRow:
        """Raises UnknownUser."""
        row = self.by_id(id_or_name) or self.find(id_or_name)
        if row is None:
            raise UnknownUser(f"there is no user {id_or_name[:64]!r}: `users list` shows those there are")
        return row

    def any(self) -> bool:
        """Whether there is a user who can log in."""
        return any(row.password is not None and row.disabled_at is None for row in self._rows.values())

    async def check(self, name: str, password: str, otp: str | None, address: str) -> Login | Wrong:
        """Who this is, in one time for every wrong name and password. Counts failures; at most so many a minute."""
        account = folded(name)[:128]
        wait_s = self._attempts.begin(account, address)
        if wait_s:
            return Wrong("wait", wait_s)
        row = self._names.get(account)
        try:
            matched = await self._passwords.matches(password, None if row is None else row.password)
        except Busy:
            self._attempts.succeeded(account, address)
            return Wrong("wait", BUSY_S)
        now = None if row is None else self._rows.get(row.id)
        if not matched or row is None or now is None or now.disabled_at is not None or now.password != row.password:
            return Wrong("wrong")
        found = self._second(now, otp)
        if not isinstance(found, Wrong) or found.kind != "otp_wrong":
            self._attempts.succeeded(account, address)
        return found

    def _second(self, row: UserRow, code: str | None) -> Login | Wrong:
        """What the one-time code adds, for whoever knew the password."""
        if row.otp is None:
            return Login(row, self._clock(), "password")
        if not code:
            return Wrong("otp_needed")
        wait_s = self._attempts.begin_code(row.id)
        if wait_s:
            return Wrong("wait", wait_s)
        secret = None if self._sealer is None else self._sealer.open(row.otp, _bound(row.id))
        if secret is None:
            log.warning("the one-time secret of user %s does not open: reset it, and have it set up anew", row.name)
            return Wrong("otp_wrong")
        if not self._codes.use(row.id, secret, code):
            return Wrong("otp_wrong")
        self._attempts.code_was_right(row.id)
        return Login(row, self._clock(), "otp")

    async def create(self, name: str, profile: Profile | None = None, password: str | None = None) -> UserRow:
        """A new user; without a password it cannot log in yet. Raises ValueError in words, NameTaken, Busy."""
        row = self._new(fit_name(name), fit_profile(profile or Profile(), self._roles.names()))
        if password is not None:
            row = replace(row, password=await self._passwords.hashed(fit(password, row.name)))
        async with self._writing:
            return await self._add(row)

    async def change(self, id: str, given: Mapping[str, Any], expected: int | None = None) -> UserRow:
        """Replace roles, groups, display, email or attributes. Raises ValueError in words, and Conflict.

        `expected` is the version that the caller saw; None: whatever is there.
        """
        changes = fit_changes(given, self._roles.names())
        return await self._change(id, expected, lambda row: replace(row, **changes))

    async def set_password(self, id: str, password: str, expected: int | None = None) -> UserRow:
        """Raises ValueError in words that do not hold it, Conflict, Busy."""
        hashed = await self._passwords.hashed(fit(password, self.meant(id).name))
        return await self._change(id, expected, lambda row: replace(row, password=hashed))

    async def disable(self, id: str, expected: int | None = None) -> UserRow:
        """Nobody logs in as this user, and what was open for it ends. The time of a first disabling stands."""
        now = self._clock()
        return await self._change(
            id, expected, lambda row: replace(row, disabled_at=now if row.disabled_at is None else row.disabled_at)
        )

    async def enable(self, id: str, expected: int | None = None) -> UserRow:
        """With the password and roles as before. Raises NameTaken when somebody else has the name now."""
        return await self._change(id, expected, lambda row: replace(row, disabled_at=None))

    async def reset_otp(self, id: str, expected: int | None = None) -> UserRow:
        """The password alone is asked for then, until one-time codes are set up anew."""
        row = await self._change(id, expected, lambda row: replace(row, otp=None))
        self._codes.forget(id)
        return row

    def begin_otp(self, id: str, issuer: str) -> tuple[str, str]:
        """A new one-time secret, for people to type and as an `otpauth:` URI; in force once a code confirmed it."""
        row, now = self.meant(id), self._clock()
        if self._sealer is None:
            raise ValueError("one-time codes need a key to be kept under, and this hub has none")
        self._setups = {other: setup for other, setup in self._setups.items() if setup[1] > now and other != id}
        if len(self._setups) >= _SETUPS:
            raise ValueError("too many people set up one-time codes: try again in ten minutes")
        secret = otp.new_secret()
        self._setups[row.id] = (secret, now + SETUP_S)
        return otp.written(secret), otp.uri(secret, row.name, issuer)

    async def confirm_otp(self, id: str, code: str) -> UserRow:
        """Raises ValueError in words, also when the code is not one of the secret."""
        secret, end = self._setups.get(id, (b"", 0.0))
        if self._sealer is None or self._clock() >= end:
            raise ValueError("no one-time secret waits to be confirmed: begin again")
        wait_s = self._attempts.begin_code(id)
        if wait_s:
            raise ValueError(f"too many codes were wrong: try again in {wait_s:.0f} s")
        self._codes.forget(id)  # of another secret
        if not self._codes.use(id, secret, code):
            raise ValueError("this is not the code of now: look at the clock of the device, and try again")
        self._attempts.code_was_right(id)
        del self._setups[id]
        sealed = self._sealer.seal(secret, _bound(id))
        return await self._change(id, None, lambda row: replace(row, otp=sealed))

    async def invite(self) -> str:
        """A code that makes the first user, for a day; one that was made before is void. Raises InviteRefused."""
        if self.any():
            raise InviteRefused("there is a user who can log in: that one makes others")
        code = secrets.token_urlsafe(32)
        self._invited = (sha256(code.encode()).digest(), self._clock() + INVITE_S)
        return code

    async def accept(self, code: str, name: str, password: str) -> UserRow:
        """The first user, an admin. The code is void then. Raises InviteRefused, and ValueError in words."""
        self._check_invite(code)
        row = self._new(fit_name(name), Profile(roles=(ADMIN,)))
        row = replace(row, password=await self._passwords.hashed(fit(password, row.name)))
        async with self._writing:
            self._check_invite(code)  # two may have come with one link
            made = await self._add(row)
            self._invited = None
        return made

    def _check_invite(self, code: str) -> None:
        invited = self._invited
        digest = sha256(code.encode(errors="surrogatepass")).digest()
        if invited is None or self._clock() >= invited[1] or not hmac.compare_digest(digest, invited[0]):
            raise InviteRefused("this link is void: run mcp-hub users invite for a new one, or mcp-hub users add NAME")
        if self.any():
            raise InviteRefused("there is a user who can log in already: log in, or ask that one")

    async def put_back(self, made: UserRow, before: UserRow | None) -> None:
        """Undo one change that could not be logged, as `put_all_back`."""
        await self.put_all_back([(before, made)])

    async def put_all_back(self, pairs: Sequence[tuple[UserRow | None, UserRow]]) -> None:
        """Undo changes that could not be logged: (row before, or None; row as it was made). The versions count on.

        What somebody changed since stays. A user that was new is left disabled, without a password and under its id,
        so that the name is free.
        """
        now = self._clock()
        async with self._writing:
            still = [(before, made) for before, made in pairs if self._rows.get(made.id) == made]
            gone = [
                replace(made, name=made.id, password=None, issuer=None, subject=None, disabled_at=now)
                for _, made in still
            ]
            old = [before or left for (before, _), left in zip(still, gone, strict=True)]
            await self._write(
                [(made, replace(row, version=made.version + 1)) for (_, made), row in zip(still, old, strict=True)]
            )

    async def replace_all(
        self, pairs: Sequence[tuple[UserRow | None, UserRow]]
    ) -> tuple[tuple[UserRow | None, UserRow], ...]:
        """Several changes at once, or none of them: (row that was seen, or None; new row), and so as they were made.

        The new rows are taken as they are, but for their version. Raises Conflict, NameTaken.
        """
        async with self._writing:
            for before, after in pairs:
                if self._rows.get(after.id) != before:
                    raise Conflict(f"the user {after.name} was changed meanwhile: do it again")
            if sum(before is None for before, _ in pairs) + len(self._rows) > MAX_USERS:
                raise ValueError(f"a hub has at most {MAX_USERS} users")
            made = tuple(
                (before, replace(after, version=1 if before is None else before.version + 1)) for before, after in pairs
            )
            await self._write(made)
        return made

    def _new(self, name: str, profile: Profile) -> UserRow:
        id = f"u{secrets.token_hex(8)}"
        return UserRow(
            *(TENANT, id, name, profile.roles, profile.groups, self._clock()),
            display=profile.display,
            email=profile.email,
            attributes=profile.attributes,
        )

    async def _add(self, row: UserRow) -> UserRow:
        there = self._names.get(row.name)
        if there is not None:
            how = "" if there.disabled_at is None else " (disabled; `users enable` brings it back)"
            raise NameTaken(f"there is a user named {row.name!r} already{how}")
        if len(self._rows) >= MAX_USERS:
            raise ValueError(f"a hub has at most {MAX_USERS} users")
        await self._write([(None, row)])
        return row

    async def _change(self, id: str, expected: int | None, change: Callable[[UserRow], UserRow]) -> UserRow:
        async with self._writing:
            row = self.meant(id)
            if expected is not None and row.version != expected:
                raise Conflict(f"the user {row.name} was changed by somebody else")
            made = change(row)
            if made == row:
                return row
            made = replace(made, version=row.version + 1)
            await self._write([(row, made)])
        return made

    async def _write(self, pairs: Sequence[tuple[UserRow | None, UserRow]]) -> None:
        """Stored and in memory, or neither; then whoever watches is told."""
        expected = [None if before is None else before.version for before, _ in pairs]
        with anyio.fail_after(STORE_S, shield=True):
            try:
                await self._store.put([after for _, after in pairs], expected)
            except KeyError as exc:
                raise NameTaken(f"there is another user named or known as {exc.args[0]!r} already") from exc
            except Conflict:  # an earlier write came through after all, or somebody else wrote
                self._take(await self._store.all(TENANT))
                raise
            self._take([*{**self._rows, **{after.id: after for _, after in pairs}}.values()])
        for before, after in pairs:
            if before is not None and _ends(before, after):
                self._tell(after.id)

    def _take(self, rows: Sequence[UserRow]) -> None:
        self._rows = {row.id: row for row in rows}
        ordered = sorted(rows, key=lambda row: (row.disabled_at is None, row.created_at))
        self._names = {row.name: row for row in ordered}
        self._subjects = {(row.issuer, row.subject): row for row in ordered if row.issuer and row.subject}

    def _tell(self, id: str) -> None:
        for watcher in self._watchers:
            try:
                watcher(id)
            except Exception:  # the others must be told all the same: what stays open is a way in
                log.exception("a part of the hub did not take the end of a user's access")


def _bound(id: str) -> bytes:
    return f"otp|{TENANT}|{id}".encode()


def _ends(before: UserRow, after: UserRow) -> bool:
    """Whether what is open for the user must be opened anew, if at all. A first one-time secret takes nothing away."""
    if (after.disabled_at is not None and before.disabled_at is None) or before.otp not in (None, after.otp):
        return True
    return any(getattr(before, member) != getattr(after, member) for member in _OPENERS)
