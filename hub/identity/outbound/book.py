"""The connections as one hub knows them now: by id and by place, and how old their tokens are. Asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, Literal, TypeVar

from hub.core.connections import ConnectionRow

DUE: Final = 0.8  # of a token's life: from then on it is replaced before anybody has to wait
EARLY_S: Final = 10.0  # a token ends so much before its end: the way to the server takes time
JUMP_S: Final = 60.0  # a token from further in the future than this shows that the clock was put back

What = Literal["login", "renewed", "needs_login", "changed", "removed"]
Age = Literal["fresh", "due", "ended"]
Place = tuple[str, str, str]  # server, user, resource
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Changed:
    """Something about a connection is new: for whoever holds links or pages of it."""

    id: str
    user: str
    server: str
    what: What


@dataclass(frozen=True, slots=True)
class Clocks:
    wall: Callable[[], float] = time  # seconds since 1970
    steady: Callable[[], float] = monotonic  # cannot be put back or forward


class Book:
    """All connections. One event loop uses it."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._rows: dict[str, ConnectionRow] = {}
        self._places: dict[Place, set[str]] = {}
        self._accounts: dict[tuple[str, str], set[str]] = {}  # by server and user
        self._ends: dict[str, float] = {}  # of tokens, by the steady clock
        self._touched: set[str] = set()  # since `changed` was emptied by whoever reads all rows
        self._watchers: list[Callable[[Changed], None]] = []

    def watch(self, fn: Callable[[Changed], None]) -> None:
        """`fn` must not raise."""
        self._watchers.append(fn)

    def get(self, id: str) -> ConnectionRow | None:
        return self._rows.get(id)

    def rows(self) -> tuple[ConnectionRow, ...]:
        return tuple(self._rows.values())

    def of(self, user: str) -> tuple[ConnectionRow, ...]:
        """By server and label."""
        mine = [row for row in self._rows.values() if row.user == user]
        return tuple(sorted(mine, key=lambda row: (row.server, row.resource, row.label, row.id)))

    def chosen(self, server: str, user: str, resource: str) -> ConnectionRow | None:
        """The account in use there: of exactly this user, and never another one because this one needs a login."""
        ids = self._places.get((server, user, resource))
        if not ids:
            return None
        return max((self._rows[id] for id in ids), key=lambda row: (row.chosen_at, row.id))

    def current(self, server: str, user: str) -> ConnectionRow | None:
        """As `chosen`, whatever resource of the server it is for: a server may name another one with each challenge."""
        ids = self._accounts.get((server, user))
        if not ids:
            return None
        if len(ids) == 1:
            return self._rows[next(iter(ids))]
        return max((self._rows[id] for id in ids), key=lambda row: (row.chosen_at, row.id))

    def age(self, row: ConnectionRow) -> Age:
        """Of its access token. Either clock can end it; neither makes it last longer than its issuer said."""
        if row.expires_at is None:
            return "fresh"
        now = self._clocks.wall()
        if now >= row.expires_at - _early(row) or self._clocks.steady() >= self._ends.get(row.id, 0.0):
            return "ended"
        due = now >= row.obtained_at + DUE * _life(row) or now < row.obtained_at - JUMP_S
        return "due" if due else "fresh"

    def take(self, row: ConnectionRow, what: What | None) -> None:
        """The row as it is stored, or will be; None: nothing that anybody wants to know is new."""
        before = self._rows.get(row.id)
        if before is not None and row.version < before.version:
            return  # it was read before somebody wrote what is known already
        if before is None or (before.obtained_at, before.expires_at) != (row.obtained_at, row.expires_at):
            left_s = 0.0 if row.expires_at is None else row.expires_at - self._clocks.wall()
            self._ends[row.id] = self._clocks.steady() + min(left_s, _life(row)) - _early(row)
        self._rows[row.id] = row
        self._places.setdefault(_place(row), set()).add(row.id)
        self._accounts.setdefault((row.server, row.user), set()).add(row.id)
        self._touched.add(row.id)
        self._tell(row, what)

    def drop(self, id: str) -> None:
        row = self._rows.pop(id, None)
        self._touched.add(id)
        if row is None:
            return
        self._ends.pop(id, None)
        _take_out(self._places, _place(row), id)
        _take_out(self._accounts, (row.server, row.user), id)
        self._tell(row, "removed")

    def reading(self) -> None:
        """Somebody begins to read all rows: what changes from now on is newer than what will be read."""
        self._touched.clear()

    def read(self, rows: Iterable[ConnectionRow]) -> None:
        """All rows, as they were at some moment since `reading`."""
        found = {row.id: row for row in rows}
        for id in [id for id in self._rows if id not in found and id not in self._touched]:
            self.drop(id)
        for id, row in found.items():
            before = self._rows.get(id)
            if id not in self._touched and row != before:
                self.take(row, news(before, row))

    def _tell(self, row: ConnectionRow, what: What | None) -> None:
        if what is None:
            return
        for fn in self._watchers:
            fn(Changed(row.id, row.user, row.server, what))


def news(before: ConnectionRow | None, row: ConnectionRow) -> What | None:
    """What somebody else's write changed."""
    if before is None or (row.ended is None and before.ended is not None):
        return "login" if row.ended is None else "needs_login"
    if row.ended is not None and before.ended is None:
        return "needs_login"
    if row.obtained_at != before.obtained_at:
        return "renewed"
    seen = ("label", "chosen_at", "account", "scopes", "ended")
    return "changed" if any(getattr(row, name) != getattr(before, name) for name in seen) else None


def _take_out(of: dict[Key, set[str]], key: Key, id: str) -> None:
    ids = of[key]
    ids.discard(id)
    if not ids:
        del of[key]


def _place(row: ConnectionRow) -> Place:
    return row.server, row.user, row.resource


def _life(row: ConnectionRow) -> float:
    return 0.0 if row.expires_at is None else row.expires_at - row.obtained_at


def _early(row: ConnectionRow) -> float:
    return min(EARLY_S, 0.1 * _life(row))
