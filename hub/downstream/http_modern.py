"""A modern server (2026-07-28) behind a url: every request is a POST of its own, and nothing is remembered between.

It owns the stamping of requests, the standing listen for list changes, and when the server contradicts what was
negotiated. Closing a request's connection is its cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import Unreachable
from hub.downstream.announced import CHANGES, announced
from hub.downstream.envelope import stamped
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import Down
from hub.downstream.h1_request import header_lines
from hub.downstream.http_answer import Answer
from hub.downstream.http_hop import REPLAYABLE, Hop
from hub.downstream.http_stream import OPENING_S, Ending, StandingStream, Stream, Watcher
from hub.downstream.http_verdict import Trouble, judge
from hub.downstream.link import Exchange, LinkEvents, Peer, ServerSpec, as_dict
from hub.wire import jsonrpc
from hub.wire.headers import routing_headers

TOOLS: Final = 4096  # whose headers are kept
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"


class ModernLink:
    def __init__(self, spec: ServerSpec, events: LinkEvents, hop: Hop, peer: Peer) -> None:
        self.peer = peer
        self._server, self._cap, self._events, self._hop = spec.id, spec.max_result_bytes, events, hop
        self._ids = count(1)
        self._call_lines: dict[str, bytes] = {}  # by tool
        self._meta = jsonrpc.dumps(stamped({}, Exchange(0.0, 0.0, 0), 0, peer.revision)["_meta"])  # of most calls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dead: str | None = None
        self._ready = False  # the link has been given out
        self._listen: StandingStream | None = None

    @property
    def alive(self) -> bool:
        return self._dead is None

    async def start(self, reopen_s: float) -> None:
        """Listen for list changes, when the server announces any; after an end, again after `reopen_s` or more."""
        self._loop = asyncio.get_running_loop()
        if announced(self.peer.capabilities):
            watcher = Watcher(self._heard, self._listening, self._events.noise)
            self._listen = StandingStream(
                watcher, self._cap, self._connect_listen, self._stopped_listening, reopen_s, self._hop.bearer
            )
            await self._listen.start(OPENING_S)
        self._ready = True

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        if self._dead is not None:
            raise Unreachable(self._server, self._dead)
        id = next(self._ids)
        try:
            body = self._written(id, method, params, exchange)
        except jsonrpc.Malformed as exc:
            raise Unreachable(self._server, f"the request is no JSON: {exc}") from exc
        try:
            answer = await self._hop.post(
                body,
                self._headers(method, params, exchange),
                exchange,
                lambda: Answer(self._server, id, exchange, self, self._loop),
                replayable=method in REPLAYABLE,
            )
        except Down as exc:
            self._die(exc.text)
            raise
        verdict = judge(self._server, answer.done.result(), method, "modern", session=False)
        if not isinstance(verdict, Trouble):
            return verdict
        if verdict.stale and method == "tools/call":
            self._events.notified("notifications/tools/list_changed", {})
        if verdict.ends_link:
            self._die(verdict.error.text)
        raise verdict.error

    def _written(self, id: int, method: str, params: Json, exchange: Exchange) -> bytes:
        """The request, stamped. With the `_meta` of most calls it is put together: 0.3 us where that was 0.8."""
        asks = exchange.notice is not None or exchange.log_level is not None
        if asks or exchange.trace or exchange.capabilities or method != "tools/call" or "_meta" in params:
            return jsonrpc.dumps(jsonrpc.request(id, method, stamped(params, exchange, id, self.peer.revision)))
        return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":%b,"_meta":%b}}' % (
            id,
            jsonrpc.dumps(params)[:-1],  # never empty: it holds the tool's name
            self._meta,
        )

    def _headers(self, method: str, params: Json, exchange: Exchange) -> Mapping[str, str] | bytes:
        """Those of a tool's calls are written once: checking and writing them anew was 4 us of each."""
        revision = self.peer.revision
        if method != "tools/call" or exchange.headers:
            return {**routing_headers(method, params, revision), **exchange.headers}
        name = params["name"]
        lines = self._call_lines.get(name)
        if lines is None:
            lines = header_lines(routing_headers(method, params, revision))
            if len(self._call_lines) < TOOLS:
                self._call_lines[name] = lines
        return lines

    async def notify(self, method: str, params: Json) -> None:
        """Modern HTTP has no notifications from clients: there is nothing to send."""

    async def aclose(self) -> None:
        self._dead = self._dead or "the hub has closed this link"
        if self._listen is not None:
            await self._listen.aclose()
        self._hop.connections.close()

    # -- what is no answer

    def aside(self, message: dict[str, Any]) -> None:
        """Something on a request's stream that is not about this request."""
        if jsonrpc.shape(message) == "notification":
            self._events.notified(message["method"], message.get("params", {}))
        else:
            self._events.noise("garbage")  # servers of this era ask nothing

    def noise(self, what: str) -> None:
        self._events.noise(what)

    def _die(self, reason: str) -> None:
        if self._dead is None:
            self._dead = reason
            self._events.closed(reason)

    # -- the standing listen

    async def _connect_listen(self, stream: Stream, last_id: str) -> Connection:
        wanted = {CHANGES[name][0]: True for name in announced(self.peer.capabilities)}
        quiet = Exchange(0.0, monotonic(), self._cap)
        params = stamped({"notifications": wanted}, quiet, 0, self.peer.revision)
        method = "subscriptions/listen"
        body = jsonrpc.dumps(jsonrpc.request(next(self._ids), method, params))
        headers = routing_headers(method, params, self.peer.revision)
        connection, data = await self._hop.prepare("POST", headers, body, token=stream.token)
        connection.send(stream, data)
        return connection

    def _listening(self) -> None:
        if self._ready:  # what changed while nobody listened is not told again
            for name in announced(self.peer.capabilities):
                self._events.notified(CHANGES[name][1], {})

    def _heard(self, message: Any) -> None:
        told = as_dict(message) or {}
        shape = jsonrpc.shape(told)
        if shape == "notification":
            if told["method"] != "notifications/subscriptions/acknowledged":
                self._events.notified(told["method"], _unmarked(told.get("params", {})))
        elif shape != "response":  # the response closes the stream
            self._events.noise("garbage")

    def _stopped_listening(self, ending: Ending, reason: str) -> None:
        if ending == "ended":  # it cannot be reached any more; without a listen calls go on
            self._die(reason)


def _unmarked(params: Json) -> Json:
    """Without the id of the hub's own listen, which means nothing to anybody else."""
    meta = as_dict(params.get("_meta"))
    if meta is None or SUBSCRIPTION_KEY not in meta:
        return params
    rest = {name: value for name, value in meta.items() if name != SUBSCRIPTION_KEY}
    bare = {name: value for name, value in params.items() if name != "_meta"}
    return {**bare, "_meta": rest} if rest else bare
