"""The open connections to one origin: few, kept warm, never more than its limit.

It owns how many there are and who waits for one. It sends nothing and retries nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from functools import cache
from time import monotonic
from typing import Final

from hub.core.alarms import Alarms
from hub.core.errors import Unreachable
from hub.downstream.h1 import Connection
from hub.downstream.h1_request import Target

LIMIT: Final = 100  # connections to one server
WAITING: Final = 1024  # requests that wait for one of them
IDLE_S: Final = 4.0  # common servers close after 5: what is older might just be closing


@cache
def default_tls() -> ssl.SSLContext:
    """Certificates and host names are checked. Made once: loading the trust store takes milliseconds."""
    return ssl.create_default_context()


class Down(Unreachable):
    """It cannot be connected to at all."""


class Connections:
    def __init__(
        self,
        server: str,
        target: Target,
        connect_s: float,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int = LIMIT,
        idle_s: float = IDLE_S,
    ) -> None:
        self._server, self._target, self._connect_s = server, target, connect_s
        self._tls = (tls or default_tls()) if target.tls else None
        self._limit, self._idle_s, self._alarms = limit, idle_s, Alarms()
        self._idle: list[Connection] = []  # the warmest last
        self._open: set[Connection] = set()
        self._promised = 0  # places taken by connections on their way
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    def warm(self) -> Connection | None:
        """A connection that can take a request now, or None. Never waits."""
        now = monotonic()
        while self._idle:
            connection, idle_s = self._idle.pop(), self._idle_s
            if connection.idle_s is not None:
                idle_s = self._idle_limit(connection)
            if now - connection.idle_since < idle_s and connection.usable:
                return connection
            connection.close()
        return None

    async def take(self, deadline: float) -> Connection:
        """A connection, at the latest at `deadline` (monotonic). Raises Unreachable: nothing was sent yet."""
        while True:
            warm = self.warm()
            if warm is not None:
                return warm
            if len(self._open) + self._promised < self._limit:
                return await self.fresh(deadline)
            given = await self._wait(deadline)
            if given is None:
                return await self._connect(deadline)
            if given.usable:
                return given

    async def fresh(self, deadline: float) -> Connection:
        """A new connection, whatever the limit: long-lived streams wait for no call."""
        self._promised += 1
        return await self._connect(deadline)

    def close(self) -> None:
        """Everything, at once; who still waits for an answer is told. Idempotent."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for connection in tuple(self._open):
            connection.lose("the hub closed this link while the request was out")
        self._idle.clear()
        self._wake()

    async def _connect(self, deadline: float) -> Connection:
        """Turns one promised place into a connection, or gives the place back."""
        try:
            if self._closed:
                raise Unreachable(self._server, "the hub has closed this link")
            left_s = deadline - monotonic()
            async with asyncio.timeout(max(0.0, min(self._connect_s, left_s))):
                return await self._dial()
        except TimeoutError as exc:
            kind = Down if left_s >= self._connect_s else Unreachable  # an impatient call proves nothing
            raise kind(self._server, f"{self._target.authority} does not accept connections in time") from exc
        except OSError as exc:
            raise Down(self._server, _words(exc, self._target)) from exc
        finally:
            self._promised -= 1
            self._wake()

    async def _dial(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._server, self._alarms, self._freed, self._gone),
            self._target.host,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
        )
        if self._closed:
            connection.close()
            raise Unreachable(self._server, "the hub has closed this link")
        self._open.add(connection)
        return connection

    async def _wait(self, deadline: float) -> Connection | None:
        """A connection handed over, or None: a place to open one."""
        if len(self._waiters) >= WAITING:
            raise Unreachable(self._server, f"{WAITING} requests already wait for it; try again when it is less busy")
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                return await waiter
        except TimeoutError as exc:
            self._hand_back(waiter)
            raise Unreachable(self._server, f"all {self._limit} connections stayed busy; nothing was sent") from exc
        except asyncio.CancelledError:
            self._hand_back(waiter)
            raise

    def _hand_back(self, waiter: asyncio.Future[Connection | None]) -> None:
        """For a waiter that goes away: what it was given meanwhile is not lost."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not waiter.done() or waiter.cancelled():
            return
        given = waiter.result()
        if given is not None:
            self._freed(given)
        else:
            self._promised -= 1
            self._wake()

    def _freed(self, connection: Connection) -> None:
        if self._closed or len(self._open) > self._limit:
            connection.close()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = monotonic()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(self._idle_s, self._reap)

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake()

    def _wake(self) -> None:
        """Promise free places to those who wait; after `close`, let all of them go on to be told."""
        while self._waiters and (self._closed or len(self._open) + self._promised < self._limit):
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._promised += 1
                waiter.set_result(None)

    def _reap(self) -> None:
        self._reaper = None
        now = monotonic()
        stale = [c for c in self._idle if now - c.idle_since >= self._idle_limit(c)]
        self._idle = [c for c in self._idle if c not in stale]
        for connection in stale:
            connection.close()
        if self._idle and not self._closed:
            self._reaper = asyncio.get_running_loop().call_later(self._idle_s, self._reap)

    def _idle_limit(self, connection: Connection) -> float:
        told = connection.idle_s
        return self._idle_s if told is None else min(self._idle_s, told - 1.0)


def _words(exc: OSError, target: Target) -> str:
    match exc:
        case socket.gaierror():
            return f"the host name {target.host} cannot be resolved; check its url"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {target.authority} is not trusted: {exc.verify_message}"
        case ssl.SSLError():
            return f"{target.authority} does not speak TLS as expected; check http or https in its url"
        case ConnectionRefusedError():
            return f"nothing listens at {target.authority}; start it or check its url"
        case _:
            return f"{target.authority} cannot be reached ({exc.strerror or type(exc).__name__})"
