"""The legacy HTTP+SSE transport: one GET stream out, one POST per message in, one conversation for both.

Owns the binding of a session to its caller and its end with its stream; what the messages mean is `conversation.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from time import monotonic
from urllib.parse import parse_qs

import anyio
from anyio.abc import TaskGroup

from hub.core.ids import new_call_id
from hub.edge.accept import EVENTS, accepts
from hub.edge.conversation import Conversation
from hub.edge.leaving import cancel_when_gone
from hub.edge.outbox import STALL_S, Outbox
from hub.edge.ports import EdgePorts
from hub.edge.refused import invalid, readable_id, refuse
from hub.edge.request import CALL_ID, EventStream, Receive, Request, Send, respond
from hub.edge.sessions import SESSION_BYTES, owner_of
from hub.edge.standing import standing
from hub.wire import jsonrpc


@dataclass(slots=True, eq=False)
class _Session:
    owner: tuple[str, str, str]  # tenant, credential, endpoint: whoever opened it, and nobody else
    conversation: Conversation
    outbox: Outbox
    tasks: TaskGroup
    opened: float  # monotonic seconds


class SseEdge:
    def __init__(self, ports: EdgePorts) -> None:
        self._ports = ports
        self._sessions: dict[str, _Session] = {}

    async def open(self, request: Request, receive: Receive, send: Send) -> None:
        """GET: the stream of one session. The session ends with it, and its calls are cancelled."""
        if EVENTS not in accepts(request.headers):
            await self._refuse(send, request, 406, "accept text/event-stream: the answer is a stream", "not_acceptable")
            return
        if len(self._sessions) >= self._ports.limits.sessions:
            await self._refuse(send, request, 503, "this hub has as many sessions as it may have; try later", "full")
            return
        self._ports.connected("sse", 1)
        session_id = token_urlsafe(SESSION_BYTES)
        outbox = Outbox(self._ports.limits.back_queue)
        stands = standing(self._ports.authenticator, request)
        try:
            async with anyio.create_task_group() as tasks:
                conversation = Conversation(
                    self._ports, request.who, request.endpoint, "sse", outbox=outbox, tasks=tasks, stands=stands
                )
                session = _Session(owner_of(request), conversation, outbox, tasks, monotonic())
                self._sessions[session_id] = session
                tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                try:
                    await self._stream(session, session_id, request, send, stands)
                finally:
                    del self._sessions[session_id]
                    conversation.close()
                    tasks.cancel_scope.cancel()
        finally:
            self._ports.connected("sse", -1)

    async def post(self, request: Request, receive: Receive, send: Send) -> None:
        """POST: one message for a session. 202; what it is answered with comes on the stream."""
        session_id = parse_qs(request.query).get("session_id", [""])[0]
        if not session_id:
            text = "session_id is missing: open the event stream and post to the address that it names"
            await self._refuse(send, request, 400, text, "invalid_request")
            return
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner_of(request):
            await self._refuse(send, request, 404, "no such session: open the event stream anew", "gone")
            return
        ids = await session.conversation.receive(request.message, len(request.body))
        await respond(send, 202, b"Accepted", ((b"content-type", b"text/plain"), (CALL_ID, ",".join(ids).encode())))

    async def aclose(self) -> None:
        """Let calls in flight be answered for a moment, then end every stream."""
        async with anyio.create_task_group() as closing:
            for session in list(self._sessions.values()):
                closing.start_soon(_finish, session, self._ports.limits.drain_s)

    async def _stream(
        self, session: _Session, session_id: str, request: Request, send: Send, stands: Callable[[], bool]
    ) -> None:
        stream = EventStream(send)
        prefix = f"/{request.endpoint.name}" if request.endpoint.name else ""
        try:
            await stream.open(((CALL_ID, new_call_id().encode()),))
            await stream.event(f"{prefix}/messages?session_id={session_id}".encode(), "endpoint")
            await self._pump(session, stream, stands)
            with anyio.fail_after(STALL_S):
                await stream.close()
        except (OSError, TimeoutError):
            pass  # the client is gone or does not read: the end of the stream is the end of the session

    async def _pump(self, session: _Session, stream: EventStream, stands: Callable[[], bool]) -> None:
        """Write what there is, and a comment in every silence, until the outbox is closed."""
        limits = self._ports.limits
        while True:
            message: bytes | None = None
            with anyio.move_on_after(limits.keepalive_s) as silence:
                message = await session.outbox.take()
            if silence.cancelled_caught:
                unused = not session.conversation.begun and monotonic() - session.opened > limits.session_idle_s
                if unused or not stands():
                    return
                with anyio.fail_after(STALL_S):
                    await stream.comment()
            elif message is None:
                return
            else:
                with anyio.fail_after(STALL_S):
                    await stream.event(message)

    async def _refuse(self, send: Send, request: Request, status: int, text: str, code: str) -> None:
        call_id = new_call_id()
        body = refuse(self._ports, invalid(text), request_id=readable_id(request.message), call_id=call_id, code=code)
        await respond(send, status, jsonrpc.dumps(body), ((CALL_ID, call_id.encode()),))


async def _finish(session: _Session, drain_s: float) -> None:
    await session.conversation.settle(drain_s)
    session.outbox.finish()
