"""The modern era over HTTP: one POST, one request, no session.

Reads the envelope, checks the headers against it, and hands the call to the pipeline; answers in JSON, or as a stream
when there is something to tell first. Decides nothing about items.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from hub.core.alarms import Alarms
from hub.core.call import EMPTY, Client, Json
from hub.core.ids import new_call_id
from hub.edge import rejections
from hub.edge.back import queue_back
from hub.edge.exchange import ClientGone, Exchange
from hub.edge.hints import discovery_ttl_ms, list_ttl_ms
from hub.edge.listen import METHOD as LISTEN
from hub.edge.listen import read_filter
from hub.edge.listen_stream import ListenStream
from hub.edge.ports import EdgePorts
from hub.edge.rejections import REJECTIONS
from hub.edge.request import CALL_ID, Channel, Receive, Request, Send, respond
from hub.wire import jsonrpc
from hub.wire.decode import (
    HEADER_MISMATCH,
    VERSION_KEY,
    ParamHeaders,
    Refusal,
    decode,
    modern_client,
    unsupported_version,
)
from hub.wire.encode import LISTS, answer, own_result, refused
from hub.wire.headers import PARAM_PREFIX, VERSION, routing_mismatch
from hub.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST
from hub.wire.pages import Pages
from hub.wire.revisions import SUPPORTED, is_modern

_INVALID: Final = Refusal(INVALID_REQUEST, "Invalid request: the body must be one JSON-RPC request or notification")


class ModernEdge:
    def __init__(self, ports: EdgePorts) -> None:
        self._ports = ports
        self._pages = Pages(ports.cursor_key)
        self._listens: set[ListenStream] = set()
        self._connected = partial(ports.connected, "http")
        self._draining = False
        self._alarms = Alarms()

    async def post(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer one POST that is of the modern era by its header or its body."""
        call_id = new_call_id()
        message = request.message
        shape = jsonrpc.shape(message)
        if shape == "notification":
            await self._acknowledge(request, call_id, send)
            return
        if shape != "request":
            await self._refuse(send, _INVALID, None, call_id)
            return
        params: Json = message.get("params", EMPTY)
        said: tuple[Any, Client] | None = None if request.head is None else request.head.said
        if said is not None and said[0] != params.get("_meta"):
            said = None
        queue = None if said is not None else queue_back(params, self._ports.limits.back_queue)
        streams = "text/event-stream" in request.headers.get("accept", "")
        exchange = Exchange(
            Channel(receive, send, request.whole),
            ((CALL_ID, call_id.encode()),),
            queue,
            streams=streams,
            keepalive_s=self._ports.limits.keepalive_s,
            connected=self._connected,
            alarms=self._alarms,
        )
        client = _client(params, exchange, request, queue is None) if said is None else said[1].heard_by(exchange)
        checked = _checked(message, params, client, request)
        if isinstance(checked, Refusal):
            await self._refuse(send, checked, message["id"], call_id)
        elif message["method"] == "server/discover":
            await self._discover(request, checked, call_id, send)
        elif message["method"] == LISTEN:
            await self._listen(request, checked, call_id, streams, receive, send)
        else:
            await self._call(request, checked, call_id, exchange, send)

    def drain(self) -> None:
        """End every open stream of changes with its closing result; new ones end at once."""
        self._draining = True
        for stream in self._listens:
            stream.end()

    async def _call(self, request: Request, client: Client, call_id: str, exchange: Exchange, send: Send) -> None:
        message = request.message
        call = decode(
            message,
            call_id=call_id,
            who=request.who,
            endpoint=request.endpoint.name,
            client=client,
            size_bytes=len(request.body),
            deadline=time.monotonic() + self._ports.limits.call_s,
        )
        if isinstance(call, Refusal):
            await self._refuse(send, call, message["id"], call_id)
            return
        listed = call.method in LISTS
        ttl_ms = list_ttl_ms(self._ports.catalog, call) if listed else 0
        try:
            outcome = await exchange.outcome(self._ports.handle(call))
        except ClientGone:
            return
        encoded = answer(
            call,
            outcome,
            request_id=message["id"],
            server_info=self._ports.server_info,
            pages=self._pages,
            page_size=request.endpoint.page_size,
            ttl_ms=min(ttl_ms, list_ttl_ms(self._ports.catalog, call)) if listed else 0,
        )
        await exchange.answer(encoded.status, jsonrpc.dumps(encoded.message))

    async def _acknowledge(self, request: Request, call_id: str, send: Send) -> None:
        """Nothing a modern client may notify of concerns a server over HTTP: accepted, and dropped."""
        version = request.headers.get(VERSION, "")
        if is_modern(version):
            await respond(send, 202, b"", ((CALL_ID, call_id.encode()),))
        else:
            await self._refuse(send, unsupported_version(version), None, call_id)

    async def _discover(self, request: Request, client: Client, call_id: str, send: Send) -> None:
        endpoint = request.endpoint.name
        found: dict[str, Any] = {
            "supportedVersions": list(SUPPORTED),
            "capabilities": self._ports.catalog.capabilities(endpoint, request.who.account),
        }
        instructions = self._ports.instructions(endpoint, request.who)
        if instructions:
            found["instructions"] = instructions
        ttl_ms = discovery_ttl_ms(self._ports.catalog, endpoint, request.who.account)
        result = own_result(client, "server/discover", found, self._ports.server_info, ttl_ms)
        body = jsonrpc.dumps(jsonrpc.result(request.message["id"], result))
        await respond(send, 200, body, ((CALL_ID, call_id.encode()),))

    async def _listen(
        self, request: Request, client: Client, call_id: str, streams: bool, receive: Receive, send: Send
    ) -> None:
        if not streams:
            row = REJECTIONS["not_acceptable"]
            self._ports.refused(row.code)
            body, headers = rejections.render(row, call_id, rpc=True)
            await respond(send, row.status, body, headers)
            return
        asked = read_filter(request.message["params"])
        if isinstance(asked, Refusal):
            await self._refuse(send, asked, request.message["id"], call_id)
            return
        stream = ListenStream(self._ports, request, client, call_id)
        self._listens.add(stream)
        if self._draining:
            stream.end()
        try:
            await stream.run(asked, receive, send)
        finally:
            self._listens.discard(stream)

    async def _refuse(self, send: Send, refusal: Refusal, request_id: str | int | None, call_id: str) -> None:
        encoded = refused(refusal, request_id=request_id, call_id=call_id)
        self._ports.refused(encoded.message["error"]["data"]["_meta"]["io.mcp-hub/code"])
        await respond(send, encoded.status, jsonrpc.dumps(encoded.message), ((CALL_ID, call_id.encode()),))


def _client(params: Json, exchange: Exchange, request: Request, is_told_nothing: bool) -> Client | Refusal:
    """Who calls; most clients say the same each time, and then it is read once for a head: 4 us."""
    client = modern_client(params, exchange, "http", _param_headers(request))
    if request.head is not None and is_told_nothing and isinstance(client, Client) and _is_words(params["_meta"]):
        request.head.said = params["_meta"], client
    return client


def _is_words(value: Any) -> bool:
    """No number and no boolean anywhere: those compare equal where JSON tells them apart (1, 1.0, true)."""
    if isinstance(value, Mapping):
        return all(_is_words(inner) for inner in value.values())
    return value is None or isinstance(value, str)


def _checked(message: Json, params: Json, client: Client | Refusal, request: Request) -> Client | Refusal:
    """Headers are compared before the version is judged: who contradicts himself is told so first."""
    if isinstance(client, Refusal) and client.code == INVALID_PARAMS:
        return client
    fault = routing_mismatch(message, params["_meta"][VERSION_KEY], request.headers)
    return client if fault is None else Refusal(HEADER_MISMATCH, f"Header mismatch: {fault}")


def _param_headers(request: Request) -> ParamHeaders:
    return tuple([(k, v) for k, v in request.headers.items() if k.startswith(PARAM_PREFIX)])
