"""One modern request while its call runs: who waits for whom, and whether the answer is JSON or a stream.

Owns the way back and the watch for a client that leaves; knows nothing of methods. A call that is answered at once
costs one alarm: the watch and the stream begin only when there is something to wait for or to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hub.core.alarms import Alarms
from hub.core.call import Json, Outcome
from hub.edge.back import QueueBack
from hub.edge.request import Channel, EventStream, Headers, respond
from hub.wire import jsonrpc

WATCH_AFTER_S: Final = 0.05  # a call answered sooner is answered before its client's leaving would be noticed


class ClientGone(Exception):
    """The client left; its call was cancelled and is answered by nobody."""


class Exchange:
    """Also the `Back` of its call: the first thing told opens the stream."""

    def __init__(
        self,
        channel: Channel,
        headers: Headers,
        queue: QueueBack | None,
        *,
        streams: bool,
        keepalive_s: float,
        connected: Callable[[int], None],
        alarms: Alarms,
    ) -> None:
        """`streams`: the client takes `text/event-stream`. `headers` are of the answer, in either form.

        `queue` is None for a client that wants to be told nothing. `connected` is told +1 and -1 around a call that
        lasts long enough to be watched.
        """
        self._receive, self._send, self._whole = channel
        self._headers, self._queue = headers, queue
        self._streams, self._keepalive_s, self._connected, self._alarms = streams, keepalive_s, connected, alarms
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self.end = 0.0  # of the time in which a call is not watched
        self._watcher: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._stream: EventStream | None = None

    def notify(self, method: str, params: Json) -> None:
        if self._streams and self._queue is not None:
            self._queue.notify(method, params)
            self._write()

    async def outcome(self, work: Awaitable[Outcome]) -> Outcome:
        """What the work returns. Raises `ClientGone` when the client left first; the work is cancelled then."""
        loop = self._alarms.loop
        task = self._task = asyncio.current_task(loop)
        assert task is not None  # every coroutine of the hub runs in one
        self.end = loop.time() + WATCH_AFTER_S
        self._alarms.set(self)
        try:
            return await work
        except asyncio.CancelledError:
            self._abandon()
            if self._gone and task.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            self._alarms.unset(self)
            self._task = None
            if self._silence is not None:
                self._silence.cancel()
                self._silence = None
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None  # its frame holds this exchange: else the collector has work with every long call
                self._connected(-1)

    async def answer(self, status: int, body: bytes) -> None:
        """The one answer: JSON, or the last event of a stream that has begun."""
        if self._queue is not None:
            self._queue.close()
        if self._writer is not None:
            await self._writer
        if self._stream is None:
            if self._whole is None or not self._whole(status, body, self._headers):
                await respond(self._send, status, body, self._headers)
        else:
            await self._stream.event(body)
            await self._stream.close()

    def ring(self) -> None:
        """The call takes longer: watch its client."""
        assert self._task is not None  # an alarm that is put back does not ring
        self._watcher = asyncio.create_task(self._wait_for_leaving(self._task))
        self._connected(1)
        if self._streams:  # proxies end what is silent for long, and an ended stream would cancel the call
            self._silence = asyncio.get_running_loop().call_later(self._keepalive_s, self._write, True)

    async def _wait_for_leaving(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        task.cancel()

    def _write(self, at_once: bool = False) -> None:
        if self._writer is None:
            if self._queue is None:
                self._queue = QueueBack(0)
            self._writer = asyncio.create_task(self._tell(self._queue, at_once))

    async def _tell(self, queue: QueueBack, at_once: bool) -> None:
        if at_once:
            await self._opened()
        while True:
            try:
                async with asyncio.timeout(self._keepalive_s):
                    told = await queue.next()
            except TimeoutError:
                await (await self._opened()).comment()
                continue
            if told is None:
                return
            await (await self._opened()).event(jsonrpc.dumps(jsonrpc.notification(*told)))

    async def _opened(self) -> EventStream:
        if self._stream is None:
            self._stream = EventStream(self._send)
            await self._stream.open(self._headers)
        return self._stream

    def _abandon(self) -> None:
        if self._queue is not None:
            self._queue.close()
        if self._writer is not None:
            self._writer.cancel()
