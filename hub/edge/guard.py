"""One inbound connection with what uvicorn does not have: deadlines and sizes for headers, and an end for slow readers.

Owns no timers: a connection notes since when it owes something, and the server's sweep asks it. Must not look into what
it carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hub.edge.cycle import Cycle
from hub.edge.heads import Head, Heads
from hub.edge.ports import Limits
from hub.edge.request import Scope

_REFUSALS: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n",
}
KEEP_ALIVE_S: Final = 75.0
READ_BYTES_S: Final = 1024  # the least a reader has to take while an answer waits for it
_END: Final = b"content-length: 0\r\nconnection: close\r\n\r\n"


class GuardedProtocol(HttpToolsProtocol):
    def __init__(
        self,
        config: Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        lost: Callable[[], None],
    ) -> None:
        """`lost` is called when this connection is no longer one of the server's."""
        super().__init__(config, state, {}, loop)
        self._limits, self._lost, self._time = limits, lost, loop.time
        self._headers_since: float | None = None  # the request whose headers are not complete
        self._body_since: float | None = None  # the request whose body is not complete
        self._stalled_since: float | None = None  # the peer leaves more unread than may wait
        self._unread = 0  # how much it was then
        self._idle_since: float | None = None  # nothing is asked and nothing is answered
        self._head_bytes = 0  # received since the headers that are being read began
        self._is_counted = True  # their first bytes too
        self._last = (b"", "", b"", b"")  # how the url of the last request reads: url, path, raw path, query
        self._refused = False
        self._heads = Heads()
        self._running: Cycle | None = None  # of several that came at once, the one that is being answered
        self._begun = 0  # requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self._limits.connections:
            self._refused = True
            self.transport = transport
            self._refuse(503)
            return
        super().connection_made(transport)
        self._headers_since = self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_since = self._body_since = self._stalled_since = self._idle_since = None
        for cycle in (self._running, *(cast(Cycle, queued) for queued, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.wake()
        super().connection_lost(exc)
        self._lost()

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        between = self._body_since is None and (cycle is None or cycle.response_complete) and not self._refused
        if between and self._headers_since is None and (known := self._heads.find(data)) is not None:
            self._again(*known)
            return
        fresh = between and (self._headers_since is None or (not self._begun and not self._head_bytes))
        self._idle_since = None
        if self._headers_since is None and self._body_since is None:
            self._headers_since = self._time()  # the first byte of the next request
        if self._headers_since is not None:
            self._head_bytes += len(data)
        before = self._begun
        super().data_received(data)
        if self._headers_since is not None and self._head_bytes > self._limits.header_bytes:
            self._refuse(431)
        elif fresh and not self._refused and self._begun == before + 1 and self._headers_since is None:
            self._learn(data)

    def _again(self, head: Head, body: bytes) -> None:
        """A whole request with a head of before: the parser has seen the same bytes, and stands where it stood."""
        self._idle_since = None
        self.cycle = cycle = Cycle(  # type: ignore[assignment]
            head.scope, self.transport, self.flow, self.server_state, self.on_response_complete, keep_alive=True
        )
        self._running = cycle
        cycle.start_judged(self.loop, self.app, head, body)

    def _learn(self, data: bytes) -> None:
        cycle = cast(Cycle, self.cycle)
        if not cycle.more_body and cycle.keep_alive and not cycle.response_complete:
            cycle.head = self._heads.learn(data, cycle.scope)

    def on_message_begin(self) -> None:
        if self._headers_since is None:  # it came in one piece with the end of the request before
            self._headers_since, self._is_counted = self._time(), False
        self._begun += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._refused:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        cap = self._limits.header_bytes
        if (self._head_bytes > cap or not self._is_counted) and self._size() > cap:
            self._refuse(431)
            return
        self._head_bytes, self._headers_since, self._is_counted = 0, None, True
        self._body_since = self._time()
        if self._is_clear():
            self._begin()
        else:
            self._refuse(400)

    def _is_clear(self) -> bool:
        """Whether the request says in one way only to whom it goes, and how it is framed (RFC 9112, 2.5 and 3.2.2)."""
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            return False
        if self.url.startswith(b"/") or self.url == b"*":
            return True
        try:
            named = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            return False
        port = b"" if named.port is None else b":%d" % named.port
        hosts = [value.strip().lower() for name, value in self.headers if name == b"host"]
        return named.host is not None and hosts == [named.host.lower() + port]

    def on_body(self, body: bytes) -> None:
        cycle = cast(Cycle, self.cycle)
        if self._refused or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.wake()

    def on_message_complete(self) -> None:
        self._body_since = None
        cycle = cast(Cycle, self.cycle)
        if self._refused or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.wake()

    def on_response_complete(self) -> None:
        if self._headers_since is not None:  # what came early has its time from now on
            self._headers_since = self._time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cast(Cycle, cycle)
            self._running.start(self.loop, app)
        else:
            self._idle_since = self._time()

    def pause_writing(self) -> None:
        self._stalled_since, self._unread = self._time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_since = None
        super().resume_writing()

    def overdue(self, now: float) -> bool:
        """Whether this connection has owed headers, the rest of a body, or a read for too long."""
        limits = self._limits
        answering = self.cycle is not None and not self.cycle.response_complete
        return (
            (not answering and _past(self._headers_since, limits.header_s, now))
            or _past(self._body_since, limits.body_s + 1.0, now)  # the app answers 408 first, where it reads
            or self._is_stalled(now)
            or _past(self._idle_since, KEEP_ALIVE_S, now)
        )

    def _is_stalled(self, now: float) -> bool:
        """Who takes a large answer over a slow line is waited for; who takes next to nothing holds memory."""
        if not _past(self._stalled_since, self._limits.body_s, now):
            return False
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < READ_BYTES_S * self._limits.body_s:
            return True
        self._stalled_since, self._unread = now, unread
        return False

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _begin(self) -> None:
        """Start with a request whose head is whole, or let it wait for the one before. There are no upgrades."""
        scope, parser = self.scope, self.parser
        version, url = parser.get_http_version(), self.url
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        if url != self._last[0]:
            parsed = httptools.parse_url(url)
            path = parsed.path.decode("ascii")
            self._last = url, unquote(path) if "%" in path else path, parsed.path, parsed.query or b""
        _, scope["path"], scope["raw_path"], scope["query_string"] = self._last
        before = self.cycle
        self.cycle = cycle = Cycle(  # type: ignore[assignment]
            cast(Scope, scope),
            self.transport,
            self.flow,
            self.server_state,
            self.on_response_complete,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_100=self.expect_100_continue,
            is_head=scope["method"] == "HEAD",
        )
        if before is None or before.response_complete:
            self._running = cycle
            cycle.start(self.loop, self.app)
        else:  # pipelined
            self.flow.pause_reading()
            self.pipeline.appendleft((cast(Any, cycle), self.app))

    def abort(self) -> None:
        """End the connection at once, unsent bytes and all."""
        self.transport.abort()

    def _refuse(self, status: int) -> None:
        self._refused = True
        self.transport.write(_REFUSALS[status] + _END)
        self.transport.close()


def _past(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s


def config_for(app: Any) -> Config:
    """uvicorn's own knobs: its loggers are left to the program, no access log, no lifespan, no websockets."""
    config = Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    config.load()
    return config
