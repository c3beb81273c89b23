"""Modern requests over a duplex channel: stateless each, but that a channel ends and takes its listens along.

Headers play no part here. Knows neither what carries the messages nor how they are put in order.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from hub.core.call import EMPTY, Call, Client, Json, Mute, Principal
from hub.core.ports import Endpoint
from hub.edge.back import pass_back
from hub.edge.hints import discovery_ttl_ms, list_ttl_ms
from hub.edge.listen import METHOD as LISTEN
from hub.edge.listen import read_filter
from hub.edge.listening import Listening, NotHeard
from hub.edge.ports import EdgePorts
from hub.edge.refused import refuse
from hub.wire import encode, jsonrpc
from hub.wire.decode import Refusal, Transport, decode, modern_client, trace
from hub.wire.pages import Pages
from hub.wire.revisions import SUPPORTED

Message = dict[str, Any]
Offer = Callable[[Message], bool]


class ModernChannel:
    def __init__(
        self, ports: EdgePorts, who: Principal, endpoint: Endpoint, transport: Transport, pages: Pages, offer: Offer
    ) -> None:
        """`offer` queues a message for the client without waiting, or says False."""
        self._ports, self._who, self._endpoint = ports, who, endpoint
        self._transport: Transport = transport
        self._pages, self._offer = pages, offer
        self._listens: set[Listening] = set()

    def end(self) -> None:
        """Give every open listen its closing result."""
        for listening in self._listens:
            listening.end()

    async def answer(self, message: Json, *, call_id: str, size_bytes: int) -> tuple[Message, ...]:
        """The response to one well-formed request, and what may have to follow it."""
        params: Json = message.get("params", EMPTY)
        request_id: jsonrpc.Id = message["id"]
        back = pass_back(params, self._offer)
        client = modern_client(params, Mute() if back is None else back, self._transport)
        if isinstance(client, Refusal):
            return (self._refuse(request_id, call_id, client),)
        try:
            return await self._dispatch(message, client, call_id, size_bytes)
        finally:
            if back is not None:
                back.close()

    async def _dispatch(self, message: Json, client: Client, call_id: str, size_bytes: int) -> tuple[Message, ...]:
        params: Json = message.get("params", EMPTY)
        request_id: jsonrpc.Id = message["id"]
        if message["method"] == "server/discover":
            ttl_ms = discovery_ttl_ms(self._ports.catalog, self._endpoint.name, self._who.account)
            return (self._own(request_id, client, "server/discover", self._discovery(), ttl_ms),)
        deadline = monotonic() + self._ports.limits.call_s
        name = self._endpoint.name
        if message["method"] == LISTEN:
            listen = Call(
                call_id, self._who, name, message["method"], params, client, deadline, size_bytes, trace(params)
            )
            return await self._listen(request_id, listen)
        call = decode(
            message,
            call_id=call_id,
            who=self._who,
            endpoint=name,
            client=client,
            size_bytes=size_bytes,
            deadline=deadline,
        )
        if isinstance(call, Refusal):
            return (self._refuse(request_id, call_id, call),)
        ttl_ms = list_ttl_ms(self._ports.catalog, call)
        outcome = await self._ports.handle(call)
        encoded = encode.answer(
            call,
            outcome,
            request_id=request_id,
            server_info=self._ports.server_info,
            pages=self._pages,
            page_size=self._endpoint.page_size,
            ttl_ms=min(ttl_ms, list_ttl_ms(self._ports.catalog, call)),
        )
        return (dict(encoded.message),)

    async def _listen(self, request_id: jsonrpc.Id, call: Call) -> tuple[Message, ...]:
        asked = read_filter(call.params)
        if isinstance(asked, Refusal):
            return (self._refuse(request_id, call.id, asked),)
        listening = Listening(self._ports, call, request_id)
        self._listens.add(listening)
        try:
            self._offer(await listening.honour(asked))
            while (frame := await listening.next()) is not None:
                self._offer(frame)
        except NotHeard as refused:
            encoded = encode.denial(call, refused.denied, request_id, self._ports.server_info)
            return (dict(encoded.message),)
        finally:
            self._listens.discard(listening)
            listening.close()
        closing = self._own(request_id, call.client, LISTEN, listening.closing())
        if self._transport != "stdio":
            return (closing,)
        # the result first: a client that reads the notification before it takes the stream for lost
        return closing, jsonrpc.notification("notifications/cancelled", {"requestId": request_id})

    def _discovery(self) -> Json:
        name = self._endpoint.name
        capabilities = self._ports.catalog.capabilities(name, self._who.account)
        result: Message = {"supportedVersions": [*SUPPORTED], "capabilities": capabilities}
        if (instructions := self._ports.instructions(name, self._who)) is not None:
            result["instructions"] = instructions
        return result

    def _own(self, request_id: jsonrpc.Id, client: Client, method: str, result: Json, ttl_ms: int = 0) -> Message:
        return jsonrpc.result(request_id, encode.own_result(client, method, result, self._ports.server_info, ttl_ms))

    def _refuse(self, request_id: jsonrpc.Id, call_id: str, refusal: Refusal) -> Message:
        return refuse(self._ports, refusal, request_id=request_id, call_id=call_id)
