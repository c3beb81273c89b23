"""The answer to one legacy POST that holds a request: JSON, or an event stream once there is something to tell first.

Owns the form of the answer. A client that leaves does not end its call: in the legacy eras only a cancellation does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from hub.core.call import Json
from hub.edge.back import QueueBack
from hub.edge.request import EventStream, Headers, Send, Whole, respond
from hub.wire import jsonrpc

WRITE_S: Final = 30.0  # a client that makes no room for so long does not read

Message = dict[str, Any]


class PostAnswer:
    """Also the `Back` of its call: the first thing told opens the stream."""

    def __init__(
        self, send: Send, whole: Whole | None, headers: Headers, keepalive_s: float, queue: QueueBack | None
    ) -> None:
        """`headers` are of the answer, in either form. `queue` is None for a client that wants to be told nothing."""
        self._queue = queue
        self._teller: asyncio.Task[None] | None = None
        self._send, self._whole, self._headers, self._keepalive_s = send, whole, headers, keepalive_s
        self._stream: EventStream | None = None
        self._gone = False

    def notify(self, method: str, params: Json) -> None:
        if self._queue is not None:
            self._queue.notify(method, params)
            if self._teller is None:
                self._teller = asyncio.get_running_loop().create_task(self._tell(self._queue))

    async def give(self, work: Awaitable[Message | None]) -> None:
        """Answer with what `work` returns; what it told meanwhile goes first. None: there is no answer."""
        try:
            message = await work
        except BaseException:
            if self._teller is not None:
                self._teller.cancel()
            raise
        if self._queue is not None:
            self._queue.close()
        if self._teller is not None:
            await self._teller
        if message is not None and self._stream is None:
            body = jsonrpc.dumps(message)
            if self._whole is None or not self._whole(200, body, self._headers):
                await self._write(respond, self._send, 200, body, self._headers)
        else:
            await self._end(message)

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

    async def _end(self, message: Message | None) -> None:
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
