"""The answer to one legacy POST that holds a request: JSON, or an event stream once there is something to tell first.

Owns the form of the answer. A client that leaves does not end its call: in the legacy eras only a cancellation does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from hub.edge.back import QueueBack
from hub.edge.request import EventStream, Headers, Send, respond
from hub.wire import jsonrpc

WRITE_S: Final = 30.0  # a client that makes no room for so long does not read

Message = dict[str, Any]


class PostAnswer:
    def __init__(self, send: Send, headers: Headers, keepalive_s: float) -> None:
        """`headers` are of the answer, in either form."""
        self._send, self._headers, self._keepalive_s = send, headers, keepalive_s
        self._stream: EventStream | None = None
        self._gone = False

    async def give(self, work: Callable[[], Awaitable[Message | None]], back: QueueBack | None) -> None:
        """Answer with what `work` returns; what `back` is told meanwhile goes first. None: there is no answer."""
        if back is None:
            await self._last(await work())
            return
        async with anyio.create_task_group() as telling:
            telling.start_soon(self._tell, back)
            try:
                message = await work()
            finally:
                back.close()
        await self._last(message)

    async def _tell(self, back: QueueBack) -> None:
        while True:
            told = None
            with anyio.move_on_after(self._keepalive_s) as silence:
                told = await back.next()
            if silence.cancelled_caught:
                if self._stream is not None:
                    await self._write(self._stream.comment)
            elif told is None:
                return
            else:
                stream = await self._opened()
                await self._write(stream.event, jsonrpc.dumps(jsonrpc.notification(*told)))

    async def _last(self, message: Message | None) -> None:
        if message is not None and self._stream is None:
            await self._write(respond, self._send, 200, jsonrpc.dumps(message), self._headers)
            return
        stream = await self._opened()  # a stream without an answer is how the transport says that there is none
        if message is not None:
            await self._write(stream.event, jsonrpc.dumps(message))
        await self._write(stream.close)

    async def _opened(self) -> EventStream:
        if self._stream is None:
            self._stream = EventStream(self._send)
            await self._write(self._stream.open, self._headers)
        return self._stream

    async def _write(self, write: Callable[..., Awaitable[None]], *what: Any) -> None:
        """Write, unless the client is known to be gone; its leaving is no failure."""
        if self._gone:
            return
        try:
            with anyio.fail_after(WRITE_S):
                await write(*what)
        except (OSError, TimeoutError):
            self._gone = True
