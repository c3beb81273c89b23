"""Accounts at downstreams, as administrators see them: listed, offered a login, renamed, chosen, ended, and logged.

No token is told, open or sealed. Whose an account is decides who can use it, so that is said with each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Literal, Protocol

from hub.core.accounts import UserRow
from hub.core.call import LOCAL, Json
from hub.core.connections import SHARED, ConnectionRow
from hub.core.errors import HubError
from hub.core.ports import Journal, Offer
from hub.identity.outbound.acts import EVERYBODY, THIS, Revoked
from hub.identity.outbound.held import WORDS, NeedsLogin
from hub.identity.outbound.pending import GOOD_S
from hub.identity.outbound.refresher import MAX_LABEL
from hub.identity.outbound.tokens import where

MOST: Final = 1000  # offered logins that can be asked about
Holder = Literal["user", "local", "key", "shared"]
State = Literal["waiting", "done", "gone"]


class UnknownConnection(ValueError):
    """There is none of this id."""


class NoLogin(ValueError):
    """A login that cannot be offered, or an act that cannot be done now; says why."""


class Held(Protocol):
    """`hub.identity.outbound.refresher.Connections`, as administrators use it. Its acts raise ValueError in words."""

    def rows(self) -> Sequence[ConnectionRow]: ...

    def of(self, user: str, /) -> Sequence[ConnectionRow]: ...

    def get(self, id: str, /) -> ConnectionRow | None: ...

    def current(self, server: str, user: str, /) -> ConnectionRow | None: ...

    def needs_login(self, row: ConnectionRow, /) -> NeedsLogin | None: ...

    async def rename(self, id: str, label: str, /) -> ConnectionRow: ...

    async def choose(self, id: str, /) -> ConnectionRow: ...


class Logins(Protocol):
    """`hub.identity.outbound.desk.Desk`, as administrators use it."""

    def offer_to(self, account: str, whose: str, server: str, label: str = "", /) -> Offer:
        """Raises HubError, in words."""

    async def finished(self, id: str, timeout_s: float, /) -> bool: ...


class Ends(Protocol):
    """`hub.identity.outbound.leaving.Leaving`."""

    async def disconnect(self, row: ConnectionRow, whose: str, /) -> Revoked:
        """Gone when it returns, and in the log as done by `whose`; and whether its issuer ended it."""


class People(Protocol):
    """`hub.identity.users.Users`."""

    def by_id(self, id: str, /) -> UserRow | None: ...

    def meant(self, id_or_name: str, /) -> UserRow:
        """Raises `hub.identity.users.UnknownUser`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A login that somebody shall be offered; of this computer without a user and where it is not for everybody."""

    server: str
    user: str | None = None  # name or id
    is_shared: bool = False
    label: str = ""


@dataclass(slots=True)
class _Offered:
    account: str
    server: str
    ends_at: float
    before: frozenset[tuple[str, float]] = field(default_factory=frozenset)  # the logins there were
    is_done: bool = False


class ConnectionDesk:
    def __init__(
        self,
        connections: Held,
        desk: Logins,
        leaving: Ends,
        users: People,
        journal: Journal,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` gives seconds that nobody puts back."""
        self._connections, self._desk, self._leaving = connections, desk, leaving
        self._users, self._journal, self._clock = users, journal, clock
        self._offered: OrderedDict[str, _Offered] = OrderedDict()

    def rows(
        self, user: str | None = None, server: str | None = None, holder: Holder | None = None
    ) -> list[ConnectionRow]:
        """`user` is a name or id. Raises UnknownUser."""
        account = None if user is None else self._users.meant(user).id
        return [
            row
            for row in self._connections.rows()
            if account in (None, row.user)
            and server in (None, row.server)
            and (holder is None or self._holder(row) == holder)
        ]

    def shown(self, row: ConnectionRow) -> dict[str, Any]:
        """As administrators read it; what it holds stays inside."""
        needed = self._connections.needs_login(row)
        current = self._connections.current(row.server, row.user)
        user = self._users.by_id(row.user)
        return {
            "id": row.id,
            "server": row.server,
            "holder": self._holder(row),
            "user": None if user is None else user.name,
            "holder_id": row.user,
            "account": row.account,
            "label": row.label,
            "issuer": row.issuer,
            "resource": row.resource,
            "scopes": list(row.scopes),
            "grant": row.grant,
            "state": "connected" if needed is None else "needs_login",
            "why": None if needed is None else WORDS[needed.reason],
            "chosen": current is not None and current.id == row.id,
            "logged_in_at": _written(row.created_at),
            "renewed_at": _written(row.obtained_at),
            "ends_at": None if row.expires_at is None else _written(row.expires_at),
        }

    def show(self, id: str) -> dict[str, Any]:
        """Raises UnknownConnection, as all that take an id do."""
        return self.shown(self._row(id))

    async def login(self, who: str, wish: Wish) -> dict[str, Any]:
        """The page of a login. Raises NoLogin, UnknownUser, and ValueError in words."""
        if wish.user is not None and wish.is_shared:
            raise ValueError("a login is of one user or for everybody: leave out user or shared")
        check_label(wish.label)
        account, whose = self._account(wish)
        detail = {"act": "connections.login", "server": wish.server, "account": account, "label": wish.label}
        try:
            offer = self._desk.offer_to(account, whose, wish.server, wish.label)
        except HubError as exc:
            raise NoLogin(str(exc)) from exc
        ends_at = self._note(offer.id, account, wish.server)
        await self._journal.event("admin", who, "done", None, detail)  # the link is told to nobody before
        return {"id": offer.id, "url": offer.url, "expires_in_s": int(ends_at - self._clock())}

    async def pending(self, id: str, wait_s: float) -> dict[str, Any]:
        """How an offered login goes, at the latest after `wait_s`; `gone` too for one that nobody knows."""
        offered = self._offered.get(id)
        if offered is None:
            return {"state": "gone", "connection": None}
        left_s = offered.ends_at - self._clock()
        if not offered.is_done:
            offered.is_done = await self._desk.finished(id, max(0.0, min(wait_s, left_s)))
        if not offered.is_done:
            state: State = "waiting" if self._clock() < offered.ends_at else "gone"
            return {"state": state, "connection": None}
        made = self._latest(offered)
        return {"state": "done", "connection": None if made is None else self.shown(made)}

    async def change(self, who: str, id: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """`label` and `chosen`. In the log before it is done: it decides whom the hub speaks as. Raises NoLogin."""
        row, label = self._row(id), wish.get("label")
        if label is not None:
            check_label(label)
        if label is not None and label != row.label:
            await self._logged(who, "connections.rename", row, lambda: self._connections.rename(id, label))
        current = self._connections.current(row.server, row.user)
        if wish.get("chosen") and (current is None or current.id != id):
            await self._logged(who, "connections.choose", row, lambda: self._connections.choose(id))
        return self.show(id)

    async def remove(self, who: str, id: str) -> dict[str, Any]:
        """What there was; `revoked` says whether the issuer ended it."""
        row = self._row(id)
        shown = self.shown(row)
        return {**shown, "revoked": await self._leaving.disconnect(row, who)}

    async def _logged(self, who: str, act: str, row: ConnectionRow, do: Callable[[], Any]) -> None:
        detail: Json = {"act": act, "server": row.server, "issuer": where(row.issuer), "account": row.user}
        detail = {**detail, "connection": row.id}
        await self._journal.event("auth", who, "done", None, detail)
        try:
            await do()
        except Exception as exc:
            await self._journal.event("auth", who, "error", None, detail)
            if isinstance(exc, ValueError):
                raise NoLogin(str(exc)) from exc
            raise

    def _account(self, wish: Wish) -> tuple[str, str]:
        """Whose it will be, as calls name it and as people read it."""
        if wish.is_shared:
            return SHARED, EVERYBODY
        if wish.user is None:
            return LOCAL, THIS
        user = self._users.meant(wish.user)
        if user.disabled_at is not None:
            raise NoLogin(f"the user {user.name} is disabled: `users enable` comes first")
        return user.id, f"user {user.name}"

    def _note(self, id: str, account: str, server: str) -> float:
        """When the page ends. The same page may be offered twice."""
        now = self._clock()
        while self._offered and (len(self._offered) >= MOST or next(iter(self._offered.values())).ends_at <= now):
            self._offered.popitem(last=False)
        known = self._offered.get(id)
        if known is None:
            known = self._offered[id] = _Offered(account, server, now + GOOD_S)
            known.before = frozenset((row.id, row.created_at) for row in self._of(known))
        return known.ends_at

    def _latest(self, offered: _Offered) -> ConnectionRow | None:
        """What the login made, if it is still there."""
        mine = [row for row in self._of(offered) if (row.id, row.created_at) not in offered.before]
        return max(mine, key=lambda row: row.created_at, default=None)

    def _of(self, offered: _Offered) -> list[ConnectionRow]:
        return [row for row in self._connections.of(offered.account) if row.server == offered.server]

    def _row(self, id: str) -> ConnectionRow:
        row = self._connections.get(id)
        if row is None:
            raise UnknownConnection(f"there is no connection {id[:32]!r}: mcp-hub connections shows those there are")
        return row

    def _holder(self, row: ConnectionRow) -> Holder:
        if row.user == SHARED:
            return "shared"
        if row.user == LOCAL:
            return "local"
        return "key" if self._users.by_id(row.user) is None and row.user.startswith("key:") else "user"


def check_label(label: str) -> None:
    """Raises ValueError, in words."""
    if len(label) > MAX_LABEL or not label.isprintable() or label != label.strip():
        raise ValueError(f"a label has at most {MAX_LABEL} characters that can be seen, and no blanks around them")


def _written(at_s: float) -> str:
    """RFC 3339 UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
