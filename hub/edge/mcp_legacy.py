"""Legacy Streamable HTTP: sessions, one POST per message, one stream for what belongs to no request.

Owns HTTP's part of it: session ids, version header, Accept, batches. What a session answers is `legacy_session.py`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, Final

import anyio

from hub.core.call import EMPTY, Back
from hub.core.ids import new_call_id
from hub.edge.accept import EVENTS, JSON, accepts
from hub.edge.back import queue_back
from hub.edge.inflight import Flight
from hub.edge.leaving import cancel_when_gone
from hub.edge.legacy_session import LegacySession, initialize_fault
from hub.edge.ports import EdgePorts
from hub.edge.post_answer import WRITE_S, PostAnswer
from hub.edge.refused import invalid, readable_id, refuse
from hub.edge.request import CALL_ID, EventStream, Headers, Receive, Request, Send, respond
from hub.edge.sessions import Held, Sessions
from hub.edge.standing import standing
from hub.wire import jsonrpc
from hub.wire.decode import Refusal
from hub.wire.pages import Pages
from hub.wire.revisions import LEGACY, is_legacy

SESSION: Final = "mcp-session-id"
VERSION: Final = "mcp-protocol-version"
BATCH: Final = 50
_USUAL: Final = f"{JSON}, {EVENTS}"  # as most clients write what they accept

log = logging.getLogger(__name__)

Message = dict[str, Any]


class LegacyEdge:
    def __init__(self, ports: EdgePorts) -> None:
        self._ports = ports
        self._pages = Pages(ports.cursor_key)
        limits = ports.limits
        self._sessions = Sessions(limits.sessions, limits.session_idle_s, lambda n: ports.connected("http", n))

    async def post(self, request: Request, receive: Receive, send: Send) -> None:
        """One message, or a batch. A request is answered here; everything else is accepted with 202."""
        message = request.message
        if request.headers.get("accept") != _USUAL and {JSON, EVENTS} - accepts(request.headers):
            text = f"accept both {JSON} and {EVENTS}: which of them answers is the hub's choice"
            await self._refuse(send, request, 406, invalid(text), "not_acceptable")
        elif isinstance(message, dict) and message.get("method") == "initialize":
            await self._initialize(request, send)
        elif (held := self._session(request)) is None:
            await self._refuse_session(request, send)
        elif isinstance(message, list):
            await self._batch(held, request, send)
        elif jsonrpc.shape(message) == "request":
            await self._request(held, request, send)
        else:
            await self._message(held, request, send)

    async def get(self, request: Request, receive: Receive, send: Send) -> None:
        """The one stream of a session, for what belongs to no request. It holds the session open."""
        if EVENTS not in accepts(request.headers):
            await self._refuse(
                send, request, 406, invalid(f"accept {EVENTS}: the answer is a stream"), "not_acceptable"
            )
            return
        held = self._session(request)
        if held is None:
            await self._refuse_session(request, send)
            return
        if held.listening:
            await self._refuse(send, request, 409, invalid("this session has its one stream already"), "conflict")
            return
        held.listening = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                await self._stream(held, request, send)
                tasks.cancel_scope.cancel()
        finally:
            held.listening = False
            self._sessions.touch(held)

    async def delete(self, request: Request, receive: Receive, send: Send) -> None:
        """The client ends its session; its calls in flight are cancelled."""
        held = self._session(request)
        if held is None:
            await self._refuse_session(request, send)
            return
        self._sessions.end(held)
        await respond(send, 200, b"", _head(new_call_id()))

    async def aclose(self) -> None:
        """End every session and its stream."""
        self._sessions.end_all()

    async def _initialize(self, request: Request, send: Send) -> None:
        message, call_id = request.message, new_call_id()
        fault = initialize_fault(message) if jsonrpc.shape(message) == "request" else None
        if jsonrpc.shape(message) != "request":
            await self._refuse(send, request, 400, invalid("the message is no JSON-RPC 2.0 request"))
        elif fault is not None:
            await self._refuse(send, request, 200, Refusal(jsonrpc.INVALID_PARAMS, fault))
        else:
            session = LegacySession(self._ports, request.who, request.endpoint, "http", message["params"], self._pages)
            held = self._sessions.open(request, session)
            if held is None:
                text = "this hub has as many sessions as it may have and all are in use; try again later"
                await self._refuse(send, request, 503, invalid(text), "full")
                return
            body = jsonrpc.dumps(jsonrpc.result(message["id"], session.opening()))
            await respond(send, 200, body, (*_head(call_id), (SESSION.encode(), held.id.encode())))

    def _session(self, request: Request) -> Held | None:
        """The session this request names; None when it is to be refused."""
        version, id = request.headers.get(VERSION), request.headers.get(SESSION)
        if id is None or (version is not None and not is_legacy(version)):
            return None
        held = self._sessions.find(request, id)
        if held is not None:
            held.session.who = request.who
        return held

    async def _refuse_session(self, request: Request, send: Send) -> None:
        version = request.headers.get(VERSION)
        if version is not None and not is_legacy(version):
            text = f"{VERSION} names a revision that sessions do not speak; use one of {', '.join(LEGACY)}"
            await self._refuse(send, request, 400, invalid(text), "unsupported_version")
        elif SESSION not in request.headers:
            await self._refuse(send, request, 400, invalid(f"{SESSION} is missing; send initialize to obtain one"))
        else:
            await self._refuse(send, request, 404, invalid("no such session; send initialize anew"), "gone")

    async def _message(self, held: Held, request: Request, send: Send) -> None:
        message, call_id = request.message, new_call_id()
        shape = jsonrpc.shape(message)
        if shape == "invalid":
            await self._refuse(send, request, 400, invalid("the message is no JSON-RPC 2.0 message"))
        else:
            if shape == "notification":
                _notified(held, message)
            await respond(send, 202, b"", _head(call_id))

    async def _request(self, held: Held, request: Request, send: Send) -> None:
        message, limits, call_id = request.message, self._ports.limits, new_call_id()
        if (fault := held.in_flight.fault(message["id"])) is not None:
            await self._refuse(send, request, 200, invalid(fault))
            return
        params, level = message.get("params", EMPTY), held.session.level
        queue = queue_back(params, limits.back_queue, level) if level is not None or "_meta" in params else None
        answer = PostAnswer(send, request.whole, _head(call_id), limits.keepalive_s, queue)
        flight = held.in_flight.begin(message["id"])
        back = None if queue is None else answer
        await answer.give(self._work(held, flight, message, call_id, len(request.body), back))

    async def _work(
        self, held: Held, flight: Flight, message: Message, call_id: str, size_bytes: int, back: Back | None
    ) -> Message | None:
        """The answer to one request of this session; None when the client cancels it."""
        answer: Message | None = None
        try:
            with flight:
                answer = await held.session.answer(message, call_id=call_id, size_bytes=size_bytes, back=back)
        finally:
            held.in_flight.end(message["id"])
            self._sessions.touch(held)
        return None if flight.cancel_called else answer

    async def _batch(self, held: Held, request: Request, send: Send) -> None:
        """Revision 2025-03-26 alone: the requests of a batch run at once, and one array answers them."""
        messages: list[Any] = request.message
        if not held.session.takes_batches:
            text = "batches are part of revision 2025-03-26 alone; send one message at a time"
            await self._refuse(send, request, 400, invalid(text))
            return
        if not 0 < len(messages) <= BATCH:
            await self._refuse(send, request, 400, invalid(f"a batch has 1 to {BATCH} messages"))
            return
        answers: list[Message | None] = [None] * len(messages)
        ids = [new_call_id() for _ in messages]
        share = len(request.body) // len(messages)

        async def run(index: int) -> None:
            answers[index] = await self._one_of_batch(held, messages[index], ids[index], share)

        async with anyio.create_task_group() as tasks:
            for index in range(len(messages)):
                tasks.start_soon(run, index)
        given = [answer for answer in answers if answer is not None]
        body = jsonrpc.dumps(given) if given else b""
        await respond(send, 200 if given else 202, body, _head(",".join(ids)))

    async def _one_of_batch(self, held: Held, message: Any, call_id: str, size_bytes: int) -> Message | None:
        shape = jsonrpc.shape(message)
        if shape == "invalid":
            refusal = invalid("the message is no JSON-RPC 2.0 message")
            return refuse(self._ports, refusal, request_id=readable_id(message), call_id=call_id)
        if shape == "notification":
            _notified(held, message)
        if shape != "request":
            return None
        if (fault := held.in_flight.fault(message["id"])) is not None:
            return refuse(self._ports, invalid(fault), request_id=message["id"], call_id=call_id)
        flight = held.in_flight.begin(message["id"])
        return await self._work(held, flight, message, call_id, size_bytes, None)

    async def _stream(self, held: Held, request: Request, send: Send) -> None:
        """Until the session ends, its credential does, or the client does not read."""
        stands = standing(self._ports.authenticator, request)
        stream = EventStream(send)
        try:
            await stream.open(_head(new_call_id()))
            while stands():
                news = None
                with anyio.move_on_after(self._ports.limits.keepalive_s) as silence:
                    news = await held.session.news.next()
                if silence.cancelled_caught:
                    await _within(stream.comment())
                elif news is None:
                    break
                elif await held.session.may_tell(news):
                    await _within(stream.event(jsonrpc.dumps(news)))
            await _within(stream.close())
        except (OSError, TimeoutError):
            log.debug("the stream of a session ended with its client")

    async def _refuse(
        self, send: Send, request: Request, status: int, refusal: Refusal, code: str | None = None
    ) -> None:
        call_id = new_call_id()
        body = refuse(self._ports, refusal, request_id=readable_id(request.message), call_id=call_id, code=code)
        await respond(send, status, jsonrpc.dumps(body), _head(call_id))


async def _within(writing: Awaitable[None]) -> None:
    with anyio.fail_after(WRITE_S):
        await writing


def _notified(held: Held, message: Message) -> None:
    match message["method"]:
        case "notifications/initialized":
            held.session.begin()
        case "notifications/cancelled":
            held.in_flight.cancel(message.get("params", EMPTY).get("requestId"))


def _head(call_ids: str) -> Headers:
    return ((CALL_ID, call_ids.encode()),)
