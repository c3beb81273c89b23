"""Runs the HTTP door on one listening socket until it is told to stop, and drains.

Owns connections and their deadlines; knows nothing of what they carry. Signals are the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from email.utils import formatdate
from typing import Final, Protocol

from uvicorn.server import ServerState

from hub.edge.guard import GuardedProtocol, config_for
from hub.edge.ports import Limits
from hub.edge.request import Receive, Scope, Send

log = logging.getLogger(__name__)

_BACKLOG: Final = 2048
_TICK_S: Final = 1.0  # of the date header
_CLOSE_S: Final = 1.0  # for the last bytes of answers that are complete


class Served(Protocol):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def drain(self, timeout_s: float) -> None:
        """End what would not end by itself; return when nothing is in flight, or after `timeout_s`."""


async def run_server(app: Served, sock: socket.socket, limits: Limits, *, stopping: asyncio.Event) -> None:
    """Serve `app` on `sock` until `stopping`; then accept nothing more, drain up to `limits.drain_s`, and return.

    Closes `sock`. What has not finished when the time is over is cancelled.
    """
    await _Server(app, limits).run(sock, stopping)


class _Server:
    def __init__(self, app: Served, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._config = config_for(app)
        self._state = ServerState()
        self._connections: set[GuardedProtocol] = self._state.connections  # type: ignore[assignment]
        self._draining = False
        self._empty = asyncio.Event()  # set when, draining, the last connection is gone

    async def run(self, sock: socket.socket, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._protocol(loop), sock=sock, backlog=_BACKLOG)
        sweeper = asyncio.create_task(self._sweep(loop), name="connection sweep")
        try:
            await stopping.wait()
        finally:
            self._draining = True
            server.close()
            try:
                await self._drain(loop)
            finally:
                sweeper.cancel()
                self._cut()

    def _protocol(self, loop: asyncio.AbstractEventLoop) -> GuardedProtocol:
        return GuardedProtocol(self._config, self._state, loop, self._limits, self._lost)

    def _lost(self) -> None:
        if self._draining and not self._connections:
            self._empty.set()

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends what is overdue and keeps the date header; a whole sweep of idle connections costs microseconds."""
        pause = min(_TICK_S, self._limits.header_s / 4, self._limits.body_s / 4)
        while True:
            self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
            now = loop.time()
            for connection in list(self._connections):
                if connection.overdue(now):
                    connection.abort()
            await asyncio.sleep(pause)

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        end = loop.time() + self._limits.drain_s
        self._lost()
        for connection in list(self._connections):
            connection.shutdown()
        try:
            await self._app.drain(self._limits.drain_s)
        except Exception:
            log.exception("draining failed")
        while self._state.tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._state.tasks), timeout=left)
        try:
            async with asyncio.timeout(_CLOSE_S):  # closed by their own transports, once all is written
                await self._empty.wait()
        except TimeoutError:
            log.info("%d connections were cut off", len(self._connections))

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        for task in list(self._state.tasks):
            task.cancel()
