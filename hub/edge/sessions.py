"""The legacy Streamable HTTP sessions of one hub: who owns which, how many there may be, and when one is idle.

Owns lifetimes and the binding of a session to its caller; knows nothing of the messages that pass in one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from secrets import token_urlsafe
from time import monotonic
from typing import Final

from hub.edge.inflight import InFlight
from hub.edge.legacy_session import LegacySession
from hub.edge.request import Request

SESSION_BYTES: Final = 32
SWEEP_S: Final = 1.0  # at least, between two looks

Owner = tuple[str, str, str]  # tenant, credential, endpoint


class Held:
    """One session with what keeps it alive. An open stream or a request in flight holds it."""

    __slots__ = ("id", "in_flight", "listening", "owner", "session", "used")

    def __init__(self, id: str, owner: Owner, session: LegacySession, now: float) -> None:
        self.id, self.owner, self.session, self.used = id, owner, session, now
        self.in_flight = InFlight()
        self.listening = False

    @property
    def is_idle(self) -> bool:
        return not self.listening and not len(self.in_flight)


class Sessions:
    """By id, the longest unused first."""

    def __init__(
        self, cap: int, idle_s: float, connected: Callable[[int], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._cap, self._idle_s, self._connected, self._clock = cap, idle_s, connected, clock
        self._held: dict[str, Held] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def open(self, request: Request, session: LegacySession) -> Held | None:
        """A new session with an id that nobody can guess; None when there is room for none.

        At the cap the longest idle one of the credential that holds the most goes, so that one caller who opens many
        costs only itself.
        """
        self.sweep()
        if len(self._held) >= self._cap and not self._make_room():
            return None
        held = Held(token_urlsafe(SESSION_BYTES), owner_of(request), session, self._clock())
        self._held[held.id] = held
        self._connected(1)
        self._look_again()
        return held

    def find(self, request: Request, id: str) -> Held | None:
        """The session, if it is this caller's at this endpoint; another's is as unknown as none."""
        held = self._held.get(id)
        if held is None or held.owner != owner_of(request):
            return None
        now = self._clock()
        if now - held.used > self._idle_s and held.is_idle:
            self.end(held)
            return None
        held.used = now
        del self._held[id]
        self._held[id] = held
        return held

    def touch(self, held: Held) -> None:
        """It is in use now."""
        held.used = self._clock()
        if self._held.pop(held.id, None) is not None:
            self._held[held.id] = held

    def end(self, held: Held) -> None:
        """Forget it, cancel what is in flight, stop its news. Idempotent."""
        if self._held.pop(held.id, None) is not None:
            self._connected(-1)
            held.session.end()
            held.in_flight.cancel_all()

    def end_all(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for held in list(self._held.values()):
            self.end(held)

    def sweep(self) -> None:
        """End what has been idle for too long."""
        for held in list(self._held.values()):
            if self._clock() - held.used <= self._idle_s:
                return
            if self._is_expired(held):
                self.end(held)
            else:
                self.touch(held)

    def _look_again(self) -> None:
        """When the longest unused may be idle for too long: nobody else may ever come and cause a sweep."""
        if self._sweeper is None and self._held:
            left_s = next(iter(self._held.values())).used + self._idle_s - self._clock()
            self._sweeper = asyncio.get_running_loop().call_later(max(SWEEP_S, left_s), self._due)

    def _due(self) -> None:
        self._sweeper = None
        self.sweep()
        self._look_again()

    def _is_expired(self, held: Held) -> bool:
        return held.is_idle and self._clock() - held.used > self._idle_s

    def _make_room(self) -> bool:
        idle = [held for held in self._held.values() if held.is_idle]
        if not idle:
            return False
        most = Counter(held.owner[:2] for held in idle).most_common(1)[0][0]
        self.end(next(held for held in idle if held.owner[:2] == most))
        return True


def owner_of(request: Request) -> Owner:
    return request.who.tenant, request.who.credential, request.endpoint.name
