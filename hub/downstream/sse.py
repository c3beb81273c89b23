"""A server of 2024-11-05: one stream on which everything comes, and an url to which everything goes.

It owns the stream, and the refusal of an `endpoint` elsewhere: a credential or token goes to the configured origin
and to no other. Which answer belongs to which request is the correlator's to say.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, Lost, NeedsLogin, Oversize, Unreachable
from hub.downstream.correlate import Correlator
from hub.downstream.credential import Credential, Credentials
from hub.downstream.h1 import Connection
from hub.downstream.h1_request import Target, resolve
from hub.downstream.http_answer import Answer, Unheard
from hub.downstream.http_bearer import speaker
from hub.downstream.http_frames import Frames
from hub.downstream.http_hop import NO_HEADERS, Hop
from hub.downstream.http_verdict import CHALLENGE, login, refusal, wants_login
from hub.downstream.link import Exchange, Link, LinkEvents, Peer, ServerSpec
from hub.downstream.negotiate import INITIALIZE, legacy_peer
from hub.downstream.sse_events import Event, TooLong
from hub.wire.revisions import at_least

SLACK: Final = 4096  # an event is longer than the result in it
POST_S: Final = 30.0  # for a message to be taken
Refusal = tuple[int, str | None]  # of a token: the status, and the challenge


class Inbox:
    """The receiver of the stream."""

    def __init__(self, server: str, cap: int, take: Callable[[Any, int], object], noise: Callable[[str], None]) -> None:
        self._server, self._cap, self._take, self._noise = server, cap, take, noise
        loop = asyncio.get_running_loop()
        self.endpoint: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[DownstreamError] = loop.create_future()
        # Where another token may be had: how the server refused the one it was asked for the stream with.
        self.refused: asyncio.Future[Refusal] | None = None
        self.connection: Connection | None = None
        self._frames: Frames | None = None

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        if status == 200 and headers.get("content-type", "").lower().startswith("text/event-stream"):
            self._frames = Frames(self._cap, None, self._noise, self._other)
        elif self.refused is not None and wants_login(status, headers):
            self.refused.set_result((status, headers.get(CHALLENGE)))
            self._close()
        elif status in (401, 403):
            self.end(login(self._server, status))
        elif status == 200:
            self.end(Unreachable(self._server, "answers the stream's request with something else; check its url"))
        else:
            self.end(Unreachable(self._server, refusal(status)))

    def on_body(self, data: bytes) -> None:
        if self._frames is None:
            return
        try:
            frames = self._frames.feed(data, self.connection)
        except TooLong:
            self._noise("oversize")
            self.end(Oversize(self._server, f"a message on its stream is longer than {self._cap} bytes"))
            return
        for frame in frames:
            self._take(frame.message, frame.size_bytes)

    def on_end(self) -> None:
        self.connection = None
        self.end(Lost(self._server, "ended its stream"))

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self.connection = None
        self.end(error)

    def end(self, error: DownstreamError) -> None:
        if not self.ended.done():
            self.ended.set_result(error)
        self._close()

    def _close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _other(self, event: Event) -> None:
        if event.name == "endpoint" and not self.endpoint.done():
            self.endpoint.set_result(event.data.decode("utf-8", "replace"))


class SseLink:
    def __init__(self, spec: ServerSpec, events: LinkEvents, hop: Hop) -> None:
        self._server, self._url, self._events, self._hop = spec.id, spec.url, events, hop
        self._correlator = Correlator(spec.id, self._post, events, era="legacy")
        self._inbox = Inbox(spec.id, spec.max_result_bytes + SLACK, self._correlator.feed, events.noise)
        self._inbox.ended.add_done_callback(lambda ended: self._ended(ended.result()))
        self._headers: Mapping[str, str] = NO_HEADERS
        self._open = self._closing = False
        self.peer = Peer("legacy", "2024-11-05", {}, {})

    @property
    def alive(self) -> bool:
        return self._open and not self._inbox.ended.done()

    async def start(self, initialize_s: float) -> None:
        """Stream, endpoint, handshake. Raises DownstreamError."""
        until = monotonic() + initialize_s
        self._hop.post_to(self._target(await self._opened(until)))
        handshake = Exchange(initialize_s, until, 4 * 1024 * 1024)
        self.peer = legacy_peer(self._server, await self._correlator.request("initialize", INITIALIZE, handshake))
        if at_least(self.peer.revision, "2025-06-18"):
            self._headers = {"MCP-Protocol-Version": self.peer.revision}
        self._correlator.adopt(self.peer)
        await self._correlator.notify("notifications/initialized", {})
        if self._inbox.ended.done():
            raise self._inbox.ended.result()
        self._open = True

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        return await self._correlator.request(method, params, exchange)

    async def notify(self, method: str, params: Json) -> None:
        await self._correlator.notify(method, params)

    async def aclose(self) -> None:
        self._closing = True
        self._inbox.end(Lost(self._server, "the hub has closed this link"))
        self._correlator.fail(Lost(self._server, "the hub has closed this link"))
        self._hop.connections.close()

    async def _post(self, data: bytes) -> None:
        exchange, nobody = Exchange(POST_S, monotonic() + POST_S, 1 << 16), Unheard(self._events.noise)
        try:
            answer = await self._hop.post(
                data, self._headers, exchange, lambda: Answer(self._server, None, exchange, nobody)
            )
        except Lost as exc:
            if self._inbox.ended.done():  # the stream's end says more than that of the post
                error = self._inbox.ended.result()
                raise type(error)(error.server, error.text) from exc
            raise
        status = answer.done.result().status
        if 200 <= status < 300:
            return
        error = login(self._server, status) if status in (401, 403) else Garbled(self._server, refusal(status))
        if status in (401, 404, 410) and self._open:  # the stream's session is gone, whatever the stream says
            self._inbox.end(error if isinstance(error, NeedsLogin) else Lost(self._server, "has ended the session"))
        raise error

    # -- inside

    async def _opened(self, until: float) -> str:
        """Open the stream; the endpoint that it names. With a token, and when that is refused, once with another."""
        bearer = self._hop.bearer
        token = None if bearer is None else await bearer.token(until)
        named = await self._endpoint(token, until)
        if bearer is not None and isinstance(named, tuple):
            token = await bearer.another(token, *named, until)
            named = await self._endpoint(token, until)
            if isinstance(named, tuple):
                raise await bearer.refused_again(token, *named, until)
        assert isinstance(named, str)
        return named

    async def _endpoint(self, token: str | None, until: float) -> str | Refusal:
        inbox = self._inbox
        either: list[asyncio.Future[Any]] = [inbox.endpoint, inbox.ended]
        if self._hop.bearer is not None:
            inbox.refused = asyncio.get_running_loop().create_future()
            either.append(inbox.refused)
        connection, data = await self._hop.prepare("GET", NO_HEADERS, token=token)
        inbox.connection = connection
        connection.send(inbox, data)
        left_s = max(0.0, until - monotonic())
        await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if inbox.endpoint.done():
            return inbox.endpoint.result()
        if inbox.ended.done():
            raise inbox.ended.result()
        if inbox.refused is not None and inbox.refused.done():
            return inbox.refused.result()
        raise Unreachable(self._server, "opened its stream and never named its endpoint")

    def _target(self, reference: str) -> Target:
        try:
            target = resolve(self._url, reference)
        except ValueError as exc:
            raise Garbled(self._server, "names an endpoint that is no url") from exc
        if not target.same_origin(self._hop.target):
            text = "names an endpoint on another origin; the hub sends its credential nowhere but to the configured one"
            raise Garbled(self._server, text)
        return target

    def _ended(self, error: DownstreamError) -> None:
        self._correlator.fail(error)
        self._hop.connections.close()
        if self._open and not self._closing:
            self._events.closed(error.text)


async def connect_sse(spec: ServerSpec, events: LinkEvents, hop: Hop) -> Link:
    """A link over this hop, which the caller closes when this raises."""
    link = SseLink(spec, events, hop)
    try:
        await link.start(spec.timeouts.initialize_s)
    except BaseException:
        await link.aclose()
        raise
    return link


class SseOpener:
    """An Opener for `sse`, and of links for one account alone."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, credentials: Credentials | None = None) -> None:
        """`tls`: other trust than the system's. `credentials`: whom links speak for that are opened for nobody."""
        self._tls, self._credentials = tls, credentials

    async def __call__(self, spec: ServerSpec, events: LinkEvents, /, credential: Credential | None = None) -> Link:
        """`credential`: of the account it is opened for; None: it is everybody's."""
        return await connect_sse(
            spec, events, Hop(spec, self._tls, credential=speaker(spec, credential, self._credentials))
        )


async def open_sse(spec: ServerSpec, events: LinkEvents) -> Link:
    """An Opener for `sse`, with the system's trust."""
    return await SseOpener()(spec, events)
