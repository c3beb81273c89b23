"""`subscriptions/listen` over HTTP: the stream that carries one listen's frames.

Owns the stream and its end: the client leaves, its credential is no longer valid, or the hub drains. What is told on it
is `listening.py`'s.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from hub.core.call import Call, Client, Denied
from hub.edge.listen import METHOD, Filter
from hub.edge.listening import Listening, NotHeard
from hub.edge.ports import EdgePorts
from hub.edge.request import CALL_ID, EventStream, Receive, Request, Send, respond
from hub.edge.standing import standing
from hub.wire import jsonrpc
from hub.wire.decode import trace
from hub.wire.encode import denial, own_result


class ListenStream:
    def __init__(self, ports: EdgePorts, request: Request, client: Client, call_id: str) -> None:
        self._ports, self._request = ports, request
        params = request.message["params"]
        self._call = Call(
            id=call_id,
            who=request.who,
            endpoint=request.endpoint.name,
            method=METHOD,
            params=params,
            client=client,
            deadline=time.monotonic() + ports.limits.call_s,
            size_bytes=len(request.body),
            trace=trace(params),
        )
        self._stands = standing(ports.authenticator, request)
        self._listening = Listening(ports, self._call, request.message["id"])

    async def run(self, asked: Filter, receive: Receive, send: Send) -> None:
        """Acknowledge, then tell until it ends."""
        leaving = asyncio.create_task(_leave(receive))
        self._ports.connected("http", 1)
        try:
            try:
                acknowledgement = await self._listening.honour(asked)
            except NotHeard as refused:
                await self._refuse(refused.denied, send)
                return
            stream = EventStream(send)
            await stream.open(((CALL_ID, self._call.id.encode()),))
            await stream.event(jsonrpc.dumps(acknowledgement))
            await self._tell(stream, leaving)
        finally:
            leaving.cancel()
            self._listening.close()
            self._ports.connected("http", -1)

    def end(self) -> None:
        """Close the stream with its closing result."""
        self._listening.end()

    async def _refuse(self, denied: Denied, send: Send) -> None:
        encoded = denial(self._call, denied, self._request.message["id"], self._ports.server_info)
        await respond(send, encoded.status, jsonrpc.dumps(encoded.message), ((CALL_ID, self._call.id.encode()),))

    async def _tell(self, stream: EventStream, leaving: asyncio.Task[None]) -> None:
        told = self._next()
        try:
            while not leaving.done():
                await asyncio.wait(
                    (told, leaving), timeout=self._ports.limits.keepalive_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not self._stands():
                    break
                if not told.done():
                    await stream.comment()
                    continue
                frame = told.result()
                if frame is None:
                    break
                await stream.event(jsonrpc.dumps(frame))
                told = self._next()
        finally:
            told.cancel()
        if not leaving.done():
            await self._close(stream)

    def _next(self) -> asyncio.Task[dict[str, Any] | None]:
        return asyncio.create_task(self._listening.next())

    async def _close(self, stream: EventStream) -> None:
        done = own_result(self._call.client, METHOD, self._listening.closing(), self._ports.server_info)
        await stream.event(jsonrpc.dumps(jsonrpc.result(self._request.message["id"], done)))
        await stream.close()


async def _leave(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
