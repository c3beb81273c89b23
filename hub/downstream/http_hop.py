"""Carries one message at a time to an MCP url: request head, connection, and the one repeat that is safe.

It owns the configured headers, which go along on every request, and nothing a client sent. What an answer means is
for the links to say.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Lost, Unreachable
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import LIMIT, Connections
from hub.downstream.h1_request import Target, Verb, check_configured, header_lines, parse_url
from hub.downstream.http_answer import Answer, Bystander
from hub.downstream.link import Exchange, ServerSpec
from hub.wire import jsonrpc

NO_HEADERS: Final[Mapping[str, str]] = {}
SAY_S: Final = 5.0
SAY_CAP: Final = 64 * 1024
REPLAYABLE: Final = frozenset(
    {"initialize", "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}
)


class Hop:
    """One server's url, its connections and its configured headers."""

    def __init__(self, spec: ServerSpec, tls: ssl.SSLContext | None = None, *, limit: int = LIMIT) -> None:
        """Raises Unreachable when the configuration cannot be sent."""
        self.server, self._connect_s = spec.id, spec.timeouts.connect_s
        try:
            self.target = parse_url(spec.url)
            check_configured(spec.headers)
            self._set_target(self.target, spec.headers)
        except ValueError as exc:
            raise Unreachable(spec.id, str(exc)) from exc
        self.connections = Connections(spec.id, self.target, self._connect_s, tls=tls, limit=limit)
        self._configured = spec.headers

    def post_to(self, target: Target) -> None:
        """Further posts go to another path of the same origin."""
        assert target.same_origin(self.target)
        self._set_target(target, self._configured)

    def _set_target(self, target: Target, configured: Mapping[str, str]) -> None:
        self._post = target.head(
            "POST",
            {
                "accept": "application/json, text/event-stream",
                "content-type": "application/json",
                "accept-encoding": "identity",
                **configured,
            },
        )

    async def post(
        self,
        body: bytes,
        headers: Mapping[str, str] | bytes,
        exchange: Exchange,
        answer: Callable[[], Answer],
        *,
        replayable: bool = False,
    ) -> Answer:
        """Send, and wait for the answer that `answer` makes; returns it settled. Raises DownstreamError.

        `headers` may be given as written lines.

        A cancellation closes the connection at once. `replayable`: the same bytes may go out a second time when a
        kept-alive connection turns out to have died before one byte came back.
        """
        data = self._written(self._post, headers, body)
        connection = self.connections.warm()
        if connection is None:
            deadline = min(monotonic() + exchange.timeout_s, exchange.hard_deadline)
            connection = await self.connections.take(deadline)
        reader = answer()
        reader.start(connection, data)
        try:
            await reader.done
            return reader
        except asyncio.CancelledError:
            reader.abandon()
            raise
        except Lost:
            if not (replayable and reader.untouched):
                raise
        return await _settled(answer(), await self.connections.fresh(exchange.hard_deadline), data)

    async def say(self, message: Json, headers: Mapping[str, str], bystander: Bystander) -> None:
        """Post what has no answer of its own. Bounded, and failures are swallowed: nothing waits for it."""
        quick = Exchange(SAY_S, monotonic() + SAY_S, SAY_CAP)
        try:
            await self.post(jsonrpc.dumps(message), headers, quick, lambda: Answer(self.server, None, quick, bystander))
        except (DownstreamError, jsonrpc.Malformed):
            return

    async def prepare(self, verb: Verb, headers: Mapping[str, str], body: bytes = b"") -> tuple[Connection, bytes]:
        """A fresh connection of its own for a long answer, and the bytes to send on it. Raises Unreachable."""
        if verb == "POST":
            data = self._written(self._post, headers, body)
        else:
            accept = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-cache"}
            data = self._written(self.target.head(verb, {**accept, **self._configured}), headers, None)
        return await self.connections.fresh(monotonic() + self._connect_s), data

    def _written(self, head: bytes, headers: Mapping[str, str] | bytes, body: bytes | None) -> bytes:
        try:
            lines = headers if isinstance(headers, bytes) else header_lines(headers)
        except ValueError as exc:
            raise Unreachable(self.server, f"the request cannot be written as HTTP: {exc}") from exc
        if body is None:
            return head + lines + b"\r\n"
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, len(body), body)


async def _settled(reader: Answer, connection: Connection, data: bytes) -> Answer:
    reader.start(connection, data)
    try:
        await reader.done
    except asyncio.CancelledError:
        reader.abandon()
        raise
    return reader
