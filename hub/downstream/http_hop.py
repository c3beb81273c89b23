"""Carries one message at a time to an MCP url: request head, connection, and the repeats that are safe.

It owns the configured headers and the link's token, which go along on every request, and nothing a client sent. What
an answer means is for the links to say; of refusals it knows that a better token may change them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Lost, Unreachable
from hub.downstream.credential import Credential
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import LIMIT, Connections
from hub.downstream.h1_request import Target, Verb, check_configured, header_lines, parse_url
from hub.downstream.http_answer import Answer, Bystander
from hub.downstream.http_bearer import TOKEN_S, Bearer
from hub.downstream.http_verdict import CHALLENGE, wants_login
from hub.downstream.link import Exchange, ServerSpec
from hub.wire import jsonrpc

NO_HEADERS: Final[Mapping[str, str]] = {}
SAY_S: Final = 5.0
SAY_CAP: Final = 64 * 1024
REPLAYABLE: Final = frozenset(
    {"initialize", "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}
)


class Hop:
    """One server's url, its connections, its configured headers and the account it is spoken to for."""

    def __init__(
        self,
        spec: ServerSpec,
        tls: ssl.SSLContext | None = None,
        *,
        limit: int = LIMIT,
        credential: Credential | None = None,
    ) -> None:
        """Raises Unreachable when the configuration cannot be sent."""
        self.server, self._connect_s = spec.id, spec.timeouts.connect_s
        self.bearer = Bearer(spec.id, credential) if credential is not None else None
        self._configured = spec.headers if self.bearer is None or self.bearer.silent else _without(spec.headers)
        try:
            self.target = parse_url(spec.url)
            check_configured(spec.headers)
            self._set_target(self.target, self._configured)
        except ValueError as exc:
            raise Unreachable(spec.id, str(exc)) from exc
        self.connections = Connections(spec.id, self.target, self._connect_s, tls=tls, limit=limit)

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

    def post(
        self,
        body: bytes,
        headers: Mapping[str, str] | bytes,
        exchange: Exchange,
        answer: Callable[[], Answer],
        *,
        replayable: bool = False,
    ) -> Coroutine[Any, Any, Answer]:
        """Send, and wait for the answer that `answer` makes; returns it settled. Raises DownstreamError.

        `headers` may be given as written lines.

        A cancellation closes the connection at once. `replayable`: the same bytes may go out a second time when a
        kept-alive connection turns out to have died before one byte came back. What was refused for want of a better
        token goes out once more with the credential's next, whatever it is: a refusal says that nothing was done. A
        second one raises NeedsLogin, and so does the credential when it has no other; neither ends a link.
        """
        if self.bearer is None:
            return self._sent(self._written(self._post, headers, body), exchange, answer, replayable)
        return self._presented(self.bearer, (headers, body), exchange, answer, replayable)

    async def _presented(
        self,
        bearer: Bearer,
        message: tuple[Mapping[str, str] | bytes, bytes],
        exchange: Exchange,
        answer: Callable[[], Answer],
        replayable: bool,
    ) -> Answer:
        token = None if bearer.silent else await bearer.token(_patience(exchange))
        reader = await self._sent(
            self._written(self._post + bearer.line(token), *message), exchange, answer, replayable
        )
        reply = reader.done.result()
        if wants_login(reply.status, reply.headers):
            reader.resume = None  # it and its answer held one another
            token = await bearer.another(token, reply.status, reply.headers.get(CHALLENGE), _patience(exchange))
            data = self._written(self._post + bearer.line(token), *message)
            reader = await self._sent(data, exchange, answer, replayable)
            reply = reader.done.result()
            if wants_login(reply.status, reply.headers):
                challenge = reply.headers.get(CHALLENGE)
                raise await bearer.refused_again(token, reply.status, challenge, _patience(exchange))
        if reply.status < 300:
            bearer.served(token)
        return reader

    async def _sent(self, data: bytes, exchange: Exchange, answer: Callable[[], Answer], replayable: bool) -> Answer:
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

    async def token(self) -> str | None:
        """What to present with a request that `prepare` writes. Raises NeedsLogin and Unreachable."""
        return None if self.bearer is None else await self.bearer.token(monotonic() + TOKEN_S)

    async def prepare(
        self, verb: Verb, headers: Mapping[str, str], body: bytes = b"", *, token: str | None
    ) -> tuple[Connection, bytes]:
        """A fresh connection of its own for a long answer, and the bytes to send on it. Raises Unreachable."""
        line = b"" if self.bearer is None else self.bearer.line(token)
        if verb == "POST":
            data = self._written(self._post + line, headers, body)
        else:
            accept = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-cache"}
            data = self._written(self.target.head(verb, {**accept, **self._configured}) + line, headers, None)
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


def _patience(exchange: Exchange) -> float:
    """Until when (monotonic) a request waits for its token."""
    return min(monotonic() + exchange.timeout_s, exchange.hard_deadline)


def _without(configured: Mapping[str, str]) -> Mapping[str, str]:
    """For a link with tokens: two `Authorization` would leave it to the server whom it believes."""
    return {name: value for name, value in configured.items() if name.lower() != "authorization"}
