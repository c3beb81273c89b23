"""One duplex JSON-RPC conversation of either era, whatever carries its messages.

Owns which era it is in, what is in flight, and the order of what goes out. Decides nothing about items.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

from anyio.abc import TaskGroup

from hub.core.call import EMPTY, Json, Principal
from hub.core.ids import new_call_id
from hub.core.ports import Endpoint
from hub.edge.back import pass_back
from hub.edge.inflight import Flight, InFlight
from hub.edge.legacy_session import LegacySession, initialize_fault
from hub.edge.modern_channel import ModernChannel
from hub.edge.outbox import Outbox
from hub.edge.ports import EdgePorts
from hub.edge.refused import invalid, readable_id, refuse
from hub.wire import jsonrpc
from hub.wire.decode import VERSION_KEY, Refusal, unsupported_version
from hub.wire.pages import Pages

BATCH: Final = 50

log = logging.getLogger(__name__)

Message = dict[str, Any]


class Reply(Protocol):
    """Called exactly once for each message that was taken, with as many answers as it gets."""

    async def __call__(self, *answers: Message) -> None: ...


_DISCOVER: Final = "server/discover"
_INITIALIZE_FIRST: Final = "send initialize first, or requests with the envelope of a modern revision in params._meta"


class Conversation:
    """Everything goes out through `outbox`; every request runs as a task of `tasks`."""

    def __init__(
        self,
        ports: EdgePorts,
        who: Principal,
        endpoint: Endpoint,
        transport: Literal["sse", "stdio"],
        *,
        outbox: Outbox,
        tasks: TaskGroup,
        stands: Callable[[], bool],
    ) -> None:
        """`stands` says whether the caller's credential is still good; when it is not, the conversation is over."""
        self._ports, self._who, self._endpoint, self._outbox, self._tasks = ports, who, endpoint, outbox, tasks
        self._transport: Literal["sse", "stdio"] = transport
        self._stands = stands
        self._pages = Pages(ports.cursor_key)
        self._in_flight = InFlight()
        self._legacy: LegacySession | None = None
        self._modern = ModernChannel(ports, who, endpoint, transport, self._pages, self._offer)
        self._is_modern = False  # decided by the first modern request that is no mere probe

    @property
    def begun(self) -> bool:
        return self._is_modern or self._legacy is not None

    async def receive(self, message: Any, size_bytes: int) -> tuple[str, ...]:
        """Take one decoded message and begin what it asks for. Returns the ids of the calls it stands for.

        Messages are taken in order: an `initialize` is answered before the next message is looked at.
        """
        if not self._stands():
            self.cut()
            return (new_call_id(),)
        if isinstance(message, list):
            return await self._batch(message, size_bytes)
        return (await self._take(message, size_bytes, self._put),)

    async def refuse_unread(self, refusal: Refusal, code: str | None = None) -> str:
        """Answer something that could not be read as a message. Returns the id it is refused under."""
        call_id = new_call_id()
        await self._put(self._refusal(None, call_id, refusal, code))
        return call_id

    async def settle(self, timeout_s: float) -> None:
        """End open listens with their results, and give calls in flight this long to be answered."""
        self._modern.end()
        await self._in_flight.settled(timeout_s)

    def cut(self) -> None:
        """End at once: nothing more goes out."""
        self._outbox.cut()

    def close(self) -> None:
        """Let go of everything outside. Calls in flight are cancelled with the task group."""
        self._modern.end()
        if self._legacy is not None:
            self._legacy.end()

    async def _take(self, message: Any, size_bytes: int, reply: Reply) -> str:
        call_id = new_call_id()
        shape = jsonrpc.shape(message)
        if shape == "request":
            await self._request(message, call_id, size_bytes, reply)
        elif shape == "invalid":
            refusal = invalid("the message is no JSON-RPC 2.0 message")
            await reply(self._refusal(readable_id(message), call_id, refusal))
        else:
            if shape == "notification":
                self._notified(message)
            await reply()  # a response answers a request that the hub never sent: dropped
        return call_id

    async def _request(self, message: Json, call_id: str, size_bytes: int, reply: Reply) -> None:
        request_id: jsonrpc.Id = message["id"]
        if message["method"] == "initialize":
            await reply(self._initialize(message, call_id))
            return
        refusal = self._out_of_era(message)
        if refusal is None and (fault := self._in_flight.fault(request_id)) is not None:
            refusal = invalid(fault)
        if refusal is not None:
            await reply(self._refusal(request_id, call_id, refusal))
            return
        if self._legacy is None and message["method"] != _DISCOVER and _is_enveloped(message):
            self._is_modern = True
        flight = self._in_flight.begin(request_id)
        self._tasks.start_soon(self._run, message, call_id, size_bytes, flight, reply)

    def _out_of_era(self, message: Json) -> Refusal | None:
        enveloped = _is_enveloped(message)
        if self._legacy is not None and enveloped:
            return invalid(f"this conversation speaks {self._legacy.client.revision}; open another one to change era")
        if self.begun or enveloped or message["method"] in ("ping", _DISCOVER):
            return None
        return invalid(_INITIALIZE_FIRST)

    def _initialize(self, message: Json, call_id: str) -> Message:
        request_id: jsonrpc.Id = message["id"]
        refusal: Refusal | None = None
        if self._is_modern:
            refusal = unsupported_version(_requested(message))
        elif self._legacy is not None:
            refusal = invalid("this conversation is initialized already")
        elif (fault := initialize_fault(message)) is not None:
            refusal = Refusal(jsonrpc.INVALID_PARAMS, fault)
        if refusal is not None:
            return self._refusal(request_id, call_id, refusal)
        params: Json = message["params"]
        session = LegacySession(self._ports, self._who, self._endpoint, self._transport, params, self._pages)
        self._legacy = session
        return jsonrpc.result(request_id, session.opening())

    async def _run(self, message: Json, call_id: str, size_bytes: int, flight: Flight, reply: Reply) -> None:
        answers: tuple[Message, ...] = ()
        try:
            with flight:
                answers = await self._answer(message, call_id, size_bytes)
        except Exception:
            log.exception("request of call %s was not answered", call_id)
            failed = Refusal(jsonrpc.INTERNAL_ERROR, "the hub failed to answer; report the call id to its operator")
            answers = (self._refusal(message["id"], call_id, failed, "internal"),)
        finally:
            self._in_flight.end(message["id"])
        await reply(*(() if flight.cancel_called else answers))

    async def _answer(self, message: Json, call_id: str, size_bytes: int) -> tuple[Message, ...]:
        session = self._legacy
        if session is None and message["method"] == "ping" and not _is_enveloped(message):
            return (jsonrpc.result(message["id"], {}),)
        if session is None:
            return await self._modern.answer(message, call_id=call_id, size_bytes=size_bytes)
        back = pass_back(message.get("params", EMPTY), self._offer, session.level)
        try:
            return (await session.answer(message, call_id=call_id, size_bytes=size_bytes, back=back),)
        finally:
            if back is not None:
                back.close()

    async def _batch(self, messages: list[Any], size_bytes: int) -> tuple[str, ...]:
        refusal: Refusal | None = None
        if self._legacy is None or not self._legacy.takes_batches:
            refusal = invalid("batches are part of revision 2025-03-26 alone; send one message at a time")
        elif not 0 < len(messages) <= BATCH:
            refusal = invalid(f"a batch has 1 to {BATCH} messages")
        if refusal is not None:
            return (await self.refuse_unread(refusal),)
        share = size_bytes // len(messages)
        joined = _Joined(len(messages), self._outbox)
        return tuple([await self._take(message, share, joined.reply) for message in messages])

    def _notified(self, message: Json) -> None:
        match message["method"]:
            case "notifications/cancelled":
                self._in_flight.cancel(message.get("params", EMPTY).get("requestId"))
            case "notifications/initialized" if self._legacy is not None:
                if self._legacy.begin():
                    self._tasks.start_soon(self._tell, self._legacy)

    async def _tell(self, session: LegacySession) -> None:
        """Pass on what changed, for as long as the session lasts."""
        while (news := await session.news.next()) is not None:
            if not self._stands():
                self.cut()
                return
            if await session.may_tell(news):
                self._offer(news)

    def _refusal(
        self, request_id: jsonrpc.Id | None, call_id: str, refusal: Refusal, code: str | None = None
    ) -> Message:
        return refuse(self._ports, refusal, request_id=request_id, call_id=call_id, code=code)

    async def _put(self, *answers: Message) -> None:
        for message in answers:
            await self._outbox.put(jsonrpc.dumps(message))

    def _offer(self, message: Message) -> bool:
        return self._outbox.offer(jsonrpc.dumps(message))


class _Joined:
    """Joins the answers to one batch into one array, once the last of its messages is done."""

    def __init__(self, messages: int, outbox: Outbox) -> None:
        self._open, self._outbox = messages, outbox
        self._answers: list[Message] = []

    async def reply(self, *answers: Message) -> None:
        """Called once for each message, with as many answers as it gets."""
        self._answers.extend(answers)
        self._open -= 1
        if not self._open and self._answers:
            await self._outbox.put(jsonrpc.dumps(self._answers))


def _is_enveloped(message: Json) -> bool:
    """Whether a request carries the mark of the modern era."""
    meta = message.get("params", EMPTY).get("_meta")
    return isinstance(meta, Mapping) and VERSION_KEY in meta


def _requested(message: Json) -> str:
    version = message.get("params", EMPTY).get("protocolVersion")
    return version if isinstance(version, str) else ""
