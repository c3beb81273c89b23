"""A legacy server (2025-11-25 and older) behind a url: a session, a POST per request, and a standing GET stream.

It owns the session, the level of its logs, what the server asks of the hub, and taking up a stream that the server
ended before its answer. A closed connection cancels nothing here: `notifications/cancelled` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Late, Lost, NeedsLogin, Unreachable
from hub.downstream.announced import CHANGES, announced
from hub.downstream.envelope import LEVELS, rank, stamped
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import Down
from hub.downstream.h1_request import header_lines
from hub.downstream.http_answer import Answer
from hub.downstream.http_bearer import Bearer
from hub.downstream.http_hop import REPLAYABLE, Hop
from hub.downstream.http_stream import OPENING_S, Ending, StandingStream, Stream, Watcher
from hub.downstream.http_verdict import CHALLENGE, Trouble, judge, wants_login
from hub.downstream.link import Exchange, LinkEvents, Peer, ServerSpec, as_dict
from hub.wire import jsonrpc

GOODBYE_S: Final = 1.0
ASIDES: Final = 64  # cancellations and answers to the server that may wait to be sent; more are dropped
RESUMES: Final = 100  # times one answer's stream may be taken up again
RESUME_S: Final = 1.0  # before taking it up, when the server names no time


class LegacyLink:
    def __init__(self, spec: ServerSpec, events: LinkEvents, hop: Hop, peer: Peer, session: str | None) -> None:
        self.peer = peer
        self._server, self._cap, self._events, self._hop = spec.id, spec.max_result_bytes, events, hop
        self._session = session
        self._headers = {"MCP-Protocol-Version": peer.revision} | ({"Mcp-Session-Id": session} if session else {})
        self._lines = _written(self._headers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ids = count(1)
        self._answers: dict[int, Answer] = {}
        self._asides: set[asyncio.Task[None]] = set()
        self._dead: str | None = None
        self._closing = self._ready = False
        self._level = len(LEVELS) if "logging" in peer.capabilities else -1  # set once per lower level
        self._stream: StandingStream | None = None

    @property
    def alive(self) -> bool:
        return self._dead is None

    async def start(self, reopen_s: float) -> None:
        """Say that the handshake is over, and open the standing stream; if it ends, again after `reopen_s` or more."""
        self._loop = asyncio.get_running_loop()
        await self._hop.say(jsonrpc.notification("notifications/initialized"), self._headers, self)
        watcher = Watcher(self._heard, self._streaming, self._events.noise)
        self._stream = StandingStream(
            watcher, self._cap, self._connect_stream, self._stopped_streaming, reopen_s, self._hop.bearer
        )
        await self._stream.start(OPENING_S)
        self._ready = True

    def request(self, method: str, params: Json, exchange: Exchange) -> Coroutine[Any, Any, Json]:
        sent = self._exchange if exchange.log_level is None else self._at_level
        return sent(method, params, exchange)

    async def notify(self, method: str, params: Json) -> None:
        if self._dead is None:
            await self._hop.say(jsonrpc.notification(method, params), self._headers, self)

    async def aclose(self) -> None:
        if self._closing:
            return
        self._closing, ended = True, self._dead is not None
        self._dead = self._dead or "the hub has closed this link"
        for task in tuple(self._asides):
            task.cancel()
        for answer in tuple(self._answers.values()):  # one that waits to be taken up again has no connection
            answer.fail(Lost(self._server, "the hub closed this link while the request was out"))
        if self._stream is not None:
            await self._stream.aclose()
        if not ended and self._session is not None:
            await self._goodbye()
        self._hop.connections.close()

    # -- one request

    async def _exchange(self, method: str, params: Json, exchange: Exchange) -> Json:
        if self._dead is not None:
            raise Unreachable(self._server, self._dead)
        id = next(self._ids)
        try:
            body = jsonrpc.dumps(jsonrpc.request(id, method, stamped(params, exchange, id, None)))
        except jsonrpc.Malformed as exc:
            raise Unreachable(self._server, f"the request is no JSON: {exc}") from exc
        try:
            answer = await self._hop.post(
                body, self._lines, exchange, lambda: self._reader(id, exchange), replayable=method in REPLAYABLE
            )
        except (asyncio.CancelledError, Late):
            if self._is_out(id):
                self._cancel(id)
            raise
        except Down as exc:
            self._die(exc.text)
            raise
        finally:
            ended = self._answers.pop(id, None)
            if ended is not None:
                ended.resume = ended.barred = None  # they and their answer held one another
        verdict = judge(self._server, answer.done.result(), method, "legacy", session=self._session is not None)
        if not isinstance(verdict, Trouble):
            return verdict
        if verdict.ends_link:
            self._die(verdict.error.text)
        raise verdict.error

    def _reader(self, id: int, exchange: Exchange) -> Answer:
        answer = self._answers[id] = Answer(self._server, id, exchange, self, self._loop)
        answer.resume = lambda: self._resume(answer)
        return answer

    def _is_out(self, id: int) -> bool:
        """Whether the server may be at work for it: not while it waits for a connection, or for another token."""
        answer = self._answers.get(id)
        return answer is not None and not answer.is_settled

    def _cancel(self, id: int) -> None:
        params = {"requestId": id, "reason": "nobody waits for the answer any more"}
        self._aside(self._hop.say(jsonrpc.notification("notifications/cancelled", params), self._headers, self))

    async def _at_level(self, method: str, params: Json, exchange: Exchange) -> Json:
        if self._dead is None and rank(exchange.log_level) < self._level:
            await self._lower_level(exchange)
        return await self._exchange(method, params, exchange)

    async def _lower_level(self, exchange: Exchange) -> None:
        """Legacy levels hold for the whole session: set once per lower one, and filtered per request above."""
        self._level = rank(exchange.log_level)
        quiet = Exchange(exchange.timeout_s, exchange.hard_deadline, 1 << 16)
        try:
            await self._exchange("logging/setLevel", {"level": exchange.log_level}, quiet)
        except DownstreamError:
            return  # without its logs the call itself still makes sense; what ended the link shows next

    # -- a stream that ended before its answer

    def _resume(self, answer: Answer) -> bool:
        if not answer.last_event_id or self._dead is not None or answer.starts > RESUMES:
            return False
        return self._aside(self._take_up(answer))

    async def _take_up(self, answer: Answer) -> None:
        await asyncio.sleep(RESUME_S if answer.retry_ms is None else answer.retry_ms / 1000)
        await self._fetch(answer, self._hop.token, again=True)

    async def _fetch(self, answer: Answer, token: Callable[[], Awaitable[str | None]], again: bool) -> None:
        """`again`: if the server refuses that token, it may have another."""
        if answer.done.done():
            return
        try:
            presented = await token()
            headers = self._headers | {"Last-Event-ID": answer.last_event_id}
            connection, data = await self._hop.prepare("GET", headers, token=presented)
        except (NeedsLogin, Unreachable) as exc:
            answer.fail(Lost(self._server, f"its stream cannot be taken up again: {exc.text}"))
            return
        if answer.done.done():
            connection.close()
            return
        if self._hop.bearer is not None:
            bearer = self._hop.bearer
            answer.barred = lambda *told: again and self._barred(answer, bearer, presented, *told)
        answer.start(connection, data)

    def _barred(
        self, answer: Answer, bearer: Bearer, token: str | None, status: int, headers: Mapping[str, str]
    ) -> bool:
        if self._dead is not None or not wants_login(status, headers):
            return False
        asked = partial(bearer.another, token, status, headers.get(CHALLENGE), answer.end)
        return self._aside(self._fetch(answer, asked, again=False))

    # -- what is no answer

    def aside(self, message: dict[str, Any]) -> None:
        self._heard(message)

    def noise(self, what: str) -> None:
        self._events.noise(what)

    def _heard(self, message: Any) -> None:
        """A notification, or a request of the server's; from whichever stream."""
        told = as_dict(message) or {}
        match jsonrpc.shape(told):
            case "notification":
                self._notified(told["method"], told.get("params", {}))
            case "request":
                self._asked(told["id"], told["method"])
            case "response":
                self._events.noise("foreign")
            case _:
                self._events.noise("garbage")

    def _notified(self, method: str, params: Json) -> None:
        token = params.get("progressToken")
        if method == "notifications/progress":
            answer = self._answers.get(token) if type(token) is int else None
            if answer is None:
                self._events.noise("foreign")
            else:
                answer.progress(params)
            return
        if method == "notifications/message":
            self._logged(params)
        self._events.notified(method, params)

    def _logged(self, params: Json) -> None:
        """The standing stream does not say to which request a message belongs: with two in flight it is nobody's."""
        if len(self._answers) == 1:
            (answer,) = self._answers.values()
            answer.log(params)

    def _asked(self, id: str | int, method: str) -> None:
        if method == "ping":
            reply = jsonrpc.result(id, {})
        else:
            words = "Method not found: the hub declared no such capability"
            reply = jsonrpc.error(id, jsonrpc.METHOD_NOT_FOUND, words)
        self._aside(self._hop.say(reply, self._headers, self))

    def _aside(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self._asides) >= ASIDES or self._closing:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        return True

    def _die(self, reason: str) -> None:
        if self._dead is None:
            self._dead = reason
            self._events.closed(reason)

    async def _goodbye(self) -> None:
        """End the session; a server that does not answer is left alone."""
        until = monotonic() + GOODBYE_S
        quick = Exchange(GOODBYE_S, until, 1 << 16)
        answer = Answer(self._server, None, quick, self)
        try:
            async with asyncio.timeout(GOODBYE_S):
                token = await self._hop.token()
                answer.start(*await self._hop.prepare("DELETE", self._headers, token=token))
                await answer.done
        except (TimeoutError, DownstreamError):
            return
        finally:
            answer.abandon()

    # -- the standing stream

    async def _connect_stream(self, stream: Stream, last_id: str) -> Connection:
        headers = self._headers | ({"Last-Event-ID": last_id} if last_id else {})
        connection, data = await self._hop.prepare("GET", headers, token=stream.token)
        connection.send(stream, data)
        return connection

    def _streaming(self) -> None:
        if self._ready:  # what changed in between may not be told again
            for name in announced(self.peer.capabilities):
                self._events.notified(CHANGES[name][1], {})

    def _stopped_streaming(self, ending: Ending, reason: str) -> None:
        if ending == "ended":
            self._die(reason)
        elif ending == "gone" and self._session is not None and self._ready:
            self._die("has ended the hub's session; the hub starts another one")


def _written(headers: Mapping[str, str]) -> Mapping[str, str] | bytes:
    """Their lines, written once for all requests; what cannot be written is refused with each request."""
    try:
        return header_lines(headers)
    except ValueError:
        return headers
