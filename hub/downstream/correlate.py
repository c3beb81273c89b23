"""JSON-RPC over one stream of messages: which answer belongs to which request, and what becomes of everything else.

It owns ids, progress tokens and timers. It opens nothing, closes nothing and decodes nothing: a transport gives it
decoded messages and a way to send bytes. No answer ever reaches another caller's request, whatever the server sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from math import inf
from time import monotonic
from typing import Any, Final

from hub.core.alarms import Alarms
from hub.core.call import Era, Json
from hub.core.errors import DownstreamError, Garbled, Late, Oversize, Refused, Unreachable
from hub.downstream.envelope import LEVELS, rank, stamped
from hub.downstream.link import Exchange, LinkEvents, Peer
from hub.wire import jsonrpc
from hub.wire.asking import MAY_ASK
from hub.wire.revisions import LATEST_MODERN

MAX_IN_FLIGHT: Final = 1024
MAX_SIDE_SENDS: Final = 256  # answers to the server's own requests and cancellations that wait to be written
SIDE_SEND_S: Final = 5.0
REMEMBERED: Final = 1024  # abandoned requests whose late answers are told apart from duplicates
LOUD_S: Final = 600.0  # for so long an abandoned request without an answer may be what a server logs about
_ABSENT: Final = -32601


Send = Callable[[bytes], Awaitable[None] | None]


class _Pending:
    """One request that somebody waits for, and the alarm of its silence."""

    __slots__ = ("answer", "end", "exchange", "id", "method", "owner", "progress", "sending")

    def __init__(self, owner: Correlator, id: int, method: str, exchange: Exchange) -> None:
        self.owner, self.id, self.method, self.exchange = owner, id, method, exchange
        self.answer: asyncio.Future[Json | DownstreamError] = owner.alarms.loop.create_future()
        self.end = _silent_at(exchange)
        self.sending: asyncio.Timeout | None = None  # while the transport has no room for it
        self.progress = -inf

    @property
    def is_answered(self) -> bool:
        return self.answer.done() and not self.answer.cancelled()

    def ring(self) -> None:
        self.owner.give_up(self)

    def heard(self) -> None:
        """A sign of life: the silence begins anew."""
        self.end = _silent_at(self.exchange)
        if self.sending is not None and not self.sending.expired():
            self.sending.reschedule(_when(self.end))


class Correlator:
    """One connection's requests and their answers.

    `send` hands one encoded message (no line end) to the transport. It returns None when that is done, else what to
    await until the message is accepted; either raises `DownstreamError`: `Unreachable` only when nothing was sent.
    """

    def __init__(self, server: str, send: Send, events: LinkEvents, *, era: Era) -> None:
        self._server, self._send, self._events = server, send, events
        self.alarms = Alarms()  # a timer of its own for each request was 3 us of each
        self._revision: str | None = LATEST_MODERN if era == "modern" else None
        self._pending: dict[int, _Pending] = {}
        self._listeners: dict[int, _Pending] = {}  # those that asked for log messages
        self._abandoned: dict[int, None] = {}
        self._loud_until: dict[int, float] = {}  # of abandoned requests that may still make the server log
        self._side: set[asyncio.Task[None]] = set()
        self._last_id = 0
        self._closed: str | None = None
        self._level: int | None = None  # of the legacy session; None: the server has no `logging`

    def adopt(self, peer: Peer) -> None:
        """From now on speak as negotiated."""
        self._revision = peer.revision if peer.era == "modern" else None
        self._level = len(LEVELS) if peer.era == "legacy" and "logging" in peer.capabilities else None

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The ids of requests that somebody waits for, oldest first; open-ended ones are left out."""
        return tuple(id for id, pending in self._pending.items() if pending.exchange.hard_deadline != inf)

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        """Send one request and return its result, under the silence and hard deadlines of `exchange`.

        Raises `DownstreamError`; when it or a cancellation ends the wait, the server is told without waiting for it.
        """
        if self._closed is not None:
            raise Unreachable(self._server, self._closed)
        if len(self._pending) >= MAX_IN_FLIGHT:
            raise Unreachable(self._server, f"{MAX_IN_FLIGHT} requests are in flight already; try again later")
        if self._level is not None and exchange.log_level is not None and rank(exchange.log_level) < self._level:
            await self._lower_level(exchange.log_level)
        id = self._next_id()
        data = self._encoded(jsonrpc.request(id, method, stamped(params, exchange, id, self._revision)))
        pending = self._pending[id] = _Pending(self, id, method, exchange)
        if exchange.log_level is not None and exchange.notice is not None:
            self._listeners[id] = pending
        try:
            sending = self._send(data)
            if sending is not None:
                async with asyncio.timeout_at(_when(pending.end)) as pending.sending:
                    await sending
                pending.sending = None
            self.alarms.set(pending)
            answer = await pending.answer
        except TimeoutError:
            if not pending.answer.done():
                self.give_up(pending)
            answer = pending.answer.result()
        except asyncio.CancelledError:
            if not pending.is_answered:
                self._abandon(id, method)
            raise
        finally:
            self.alarms.unset(pending)
            self._pending.pop(id, None)
            self._listeners.pop(id, None)
        if isinstance(answer, DownstreamError):
            raise answer
        return read_result(self._server, answer, method, modern=self._revision is not None)

    def give_up(self, pending: _Pending) -> None:
        """It was silent for too long: its caller is told, and the server."""
        if not pending.answer.done():
            self._abandon(pending.id, pending.method)
            text = f"no answer to {pending.method} in time; it was told to stop"
            pending.answer.set_result(Late(self._server, text))

    async def notify(self, method: str, params: Json) -> None:
        """Send one notification; failures are swallowed."""
        await self._deliver(jsonrpc.notification(method, params))

    def feed(self, message: Any, size_bytes: int = 0) -> bool:
        """Take one decoded incoming message of that size; False when it is no JSON-RPC. Never waits, never raises."""
        match jsonrpc.shape(message):
            case "response":
                self._on_response(message, size_bytes)
            case "notification":
                self._on_notification(message["method"], message.get("params") or {})
            case "request":
                self._on_request(message)
            case _:
                if isinstance(message, list) and message and self._revision is None:  # 2025-03-26 allows batches
                    return any([self.feed(one, size_bytes) for one in message if not isinstance(one, list)])
                self._events.noise("garbage")
                return False
        return True

    def fail(self, error: DownstreamError) -> None:
        """End every request in flight with this error, and refuse new ones. Idempotent."""
        if self._closed is None:
            self._closed = error.text
        for id in tuple(self._pending):
            self.fail_one(id, error)
        for task in self._side:
            task.cancel()

    def fail_one(self, id: int, error: DownstreamError) -> bool:
        """End the request of that id, if it is in flight, with this error."""
        pending = self._pending.pop(id, None)
        if pending is None:
            return False
        if not pending.answer.done():
            pending.answer.set_result(type(error)(error.server, error.text))  # its own: callers raise it in parallel
        return True

    def _on_response(self, message: dict[str, Any], size_bytes: int) -> None:
        given = message.get("id")
        if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 16:
            given = int(given)  # servers exist that send numbers back as texts
        id = given if isinstance(given, int) else 0
        pending = self._pending.pop(id, None)
        if pending is None:
            self._events.noise(self._kind_of_stray(id))
            return
        pending.exchange.size_bytes = size_bytes
        if pending.answer.done():
            return
        if size_bytes > pending.exchange.max_bytes:
            cap = pending.exchange.max_bytes
            pending.answer.set_result(Oversize(self._server, f"the answer has {size_bytes} bytes; the cap is {cap}"))
        else:
            pending.answer.set_result(message)

    def _kind_of_stray(self, id: int) -> str:
        self._loud_until.pop(id, None)
        if id in self._abandoned:
            del self._abandoned[id]
            return "late"
        return "duplicate" if 0 < id <= self._last_id else "foreign"

    def _on_notification(self, method: str, params: Json) -> None:
        if method == "notifications/progress":
            self._on_progress(params)
            return
        if method == "notifications/message":
            listener = self._only_listener()
            if listener is not None and listener.exchange.notice is not None:
                if rank(params.get("level")) >= rank(listener.exchange.log_level):
                    listener.exchange.notice(method, params)
                if self._revision is not None:
                    return
        self._events.notified(method, params)

    def _on_progress(self, params: Json) -> None:
        token, progress = params.get("progressToken"), params.get("progress")
        if isinstance(token, bool) or not isinstance(token, int):
            self._events.noise("foreign")
            return
        pending = self._pending.get(token)
        if pending is None or pending.exchange.notice is None:
            self._events.noise("late" if 0 < token <= self._last_id else "foreign")
            return
        if isinstance(progress, bool) or not isinstance(progress, int | float):
            self._events.noise("garbage")
            return
        pending.heard()
        if progress > pending.progress:  # progress that does not grow is a sign of life, and no news
            pending.progress = progress
            pending.exchange.notice(
                "notifications/progress", {key: value for key, value in params.items() if key != "progressToken"}
            )

    def _only_listener(self) -> _Pending | None:
        """The one request that asked for log messages: streams do not say to which request a message belongs.

        Legacy servers log for requests that asked for nothing too, so there it must be the only one in flight: what
        another caller's request made a server say is not for this one. One that was abandoned counts until its answer.
        """
        if self._loud_until and max(self._loud_until.values()) > monotonic():
            return None
        if len(self._listeners) != 1 or (self._revision is None and len(self.in_flight) > 1):
            return None
        return next(iter(self._listeners.values()))

    def _on_request(self, message: dict[str, Any]) -> None:
        id, method = message["id"], message["method"]
        if self._revision is not None:  # 2026-07-28: servers send no requests
            self._events.noise("garbage")
        elif method == "ping":
            self._aside(self._deliver(jsonrpc.result(id, {})))
        else:
            words = "Method not found: the hub declared no such capability"
            self._aside(self._deliver(jsonrpc.error(id, _ABSENT, words)))

    def _abandon(self, id: int, method: str) -> None:
        if self._revision is None or id in self._listeners:
            self._loud_until[id] = monotonic() + LOUD_S
        self._abandoned[id] = None
        if len(self._abandoned) > REMEMBERED:
            self._loud_until.pop(oldest := next(iter(self._abandoned)), None)
            del self._abandoned[oldest]
        if method != "initialize" and self._closed is None:  # the handshake must not be cancelled
            params = {"requestId": id, "reason": "nobody waits for the answer any more"}
            self._aside(self._deliver(jsonrpc.notification("notifications/cancelled", params)))

    async def _lower_level(self, level: str) -> None:
        """Legacy levels hold for the whole session: set once per lower one, and filtered per request above."""
        self._level = rank(level)
        id = self._next_id()
        quiet = Exchange(timeout_s=inf, hard_deadline=inf, max_bytes=1 << 16)
        self._pending[id] = _Pending(self, id, "logging/setLevel", quiet)
        await self._deliver(jsonrpc.request(id, "logging/setLevel", {"level": level}))

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._side) >= MAX_SIDE_SENDS:
            work.close()
            self._events.noise("garbage")
            return
        task = asyncio.get_running_loop().create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _deliver(self, message: Json) -> None:
        try:
            async with asyncio.timeout(SIDE_SEND_S):
                sending = self._send(jsonrpc.dumps(message))
                if sending is not None:
                    await sending
        except (DownstreamError, TimeoutError, jsonrpc.Malformed):
            return

    def _encoded(self, message: Json) -> bytes:
        try:
            return jsonrpc.dumps(message)
        except jsonrpc.Malformed as exc:
            raise Unreachable(self._server, f"the request is no JSON: {exc}") from exc

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _silent_at(exchange: Exchange) -> float:
    """When a request that was heard of now has been silent for too long, in monotonic seconds."""
    return min(monotonic() + exchange.timeout_s, exchange.hard_deadline)


def _when(end: float) -> float | None:
    return None if end == inf else end  # both of asyncio's loops count in monotonic seconds


def read_result(server: str, message: Mapping[str, Any], method: str, *, modern: bool) -> Json:
    """The `result` of a response, whole. Raises `Refused` for its error and `Garbled` for what is neither."""
    error = message.get("error")
    if error is not None:
        if isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str):
            raise Refused(server, error)
        raise Garbled(server, "its error has no integer code or no message")
    result = message.get("result")
    if not isinstance(result, dict):
        raise Garbled(server, "its result is no object")
    kind = result.get("resultType", "complete") if modern else "complete"
    if kind == "complete":
        return result
    if kind == "input_required":
        if method in MAY_ASK:
            return result
        raise Garbled(server, "it answered with a question, which nothing but a call, a prompt and a read may get")
    raise Garbled(server, "its result is of a type that the hub did not ask for")
