"""An outcome into the JSON-RPC answer of this client's era and revision. Pure: no await, no socket.

The only place that knows both what the pipeline may answer and what each era wants around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from hub.core.call import EMPTY, Asked, Call, Client, Denied, Done, Item, Json, Kind, Listed, Outcome
from hub.core.values import value
from hub.wire import bridge, denials, jsonrpc
from hub.wire.caching import ttl_ms as told_ttl_ms
from hub.wire.decode import SERVER_INFO_KEY, Refusal
from hub.wire.pages import Pages
from hub.wire.written import Pen

CALL_HEADER: Final = "hub-call-id"

LISTS: Final[Mapping[str, tuple[Kind, str]]] = {
    "tools/list": ("tool", "tools"),
    "prompts/list": ("prompt", "prompts"),
    "resources/list": ("resource", "resources"),
    "resources/templates/list": ("template", "resourceTemplates"),
}
_PEN: Final = Pen()  # one for all edges: a conversation asks for its list about once
_CACHEABLE: Final = frozenset({"resources/read", "server/discover"})


@value(eq=False)
class Encoded:
    """One JSON-RPC answer, with what HTTP adds to it. `status` is 200 in the legacy era."""

    message: Json
    status: int
    headers: Mapping[str, str]


def answer(
    call: Call,
    outcome: Outcome,
    *,
    request_id: str | int,
    server_info: Json,
    pages: Pages,
    page_size: int = 1000,
    ttl_ms: int = 0,
) -> Encoded:
    """The answer to a call that went through the pipeline. `server_info` is the hub's own.

    `ttl_ms`: how long a modern client may keep a list; what was read keeps the time its server gave.
    """
    client = call.client
    match outcome:
        case Done(result):
            given = bridge.result(client, call.method, result)
            kept_ms = told_ttl_ms(result) if call.method in _CACHEABLE else 0
            wrapped = _complete(client, call.method, given, server_info, kept_ms)
            return Encoded(jsonrpc.result(request_id, wrapped), 200, {CALL_HEADER: call.id})
        case Denied():
            return denial(call, outcome, request_id, server_info)
        case Listed(items):
            cut = pages.cut(call, items, page_size)
            if isinstance(cut, Refusal):
                return refused(cut, request_id=request_id, call_id=call.id, code="gone", era=client.era)
            wrapped = _complete(client, call.method, _page(call, *cut), server_info, ttl_ms)
            return Encoded(jsonrpc.result(request_id, wrapped), 200, {CALL_HEADER: call.id})
        case Asked(requests, state):
            if client.era == "legacy":
                return denial(call, Denied("input_required", "asked"), request_id, server_info)
            asked = _question(requests, state, server_info)
            return Encoded(jsonrpc.result(request_id, asked), 200, {CALL_HEADER: call.id})
        case other:
            assert_never(other)


def _question(requests: Json, state: str | None, server_info: Json) -> Json:
    asked: dict[str, Any] = {"resultType": "input_required"}
    if requests:
        asked["inputRequests"] = requests
    if state is not None:
        asked["requestState"] = state
    asked["_meta"] = {SERVER_INFO_KEY: server_info}
    return asked


def _page(call: Call, items: tuple[Item, ...], next_cursor: str | None) -> Json:
    kind, key = LISTS[call.method]
    page: dict[str, Any] = {key: _PEN.write(call, kind, items)}
    if next_cursor is not None:
        page["nextCursor"] = next_cursor
    return page


def own_result(client: Client, method: str, result: Json, server_info: Json, ttl_ms: int = 0) -> Json:
    """A result of the hub's own making, in the envelope of this client's era; `ttl_ms` where that has caching hints."""
    return _complete(client, method, result, server_info, ttl_ms)


def refused(
    refusal: Refusal,
    *,
    request_id: str | int | None,
    call_id: str,
    code: str | None = None,
    era: str = "modern",
) -> Encoded:
    """The answer to what was refused before the pipeline, with the hub's own `_meta`."""
    meta = denials.own_meta(call_id, code or denials.refused_code(refusal.code))
    data = {**(refusal.data or EMPTY), "_meta": meta}
    status = refusal.status if era == "modern" else 200
    return Encoded(jsonrpc.error(request_id, refusal.code, refusal.message, data), status, {CALL_HEADER: call_id})


def denial(call: Call, denied: Denied, request_id: str | int, server_info: Json) -> Encoded:
    """The answer to a call that was refused."""
    result, error, status = denials.answer(call, denied)
    headers = {CALL_HEADER: call.id}
    if result is not None:
        wrapped = _complete(call.client, call.method, result, server_info)
        return Encoded(jsonrpc.result(request_id, wrapped), 200, headers)
    message = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return Encoded(message, status if call.client.era == "modern" else 200, headers)


def _complete(client: Client, method: str, made: Json, server_info: Json, ttl_ms: int = 0) -> Json:
    """What the modern era wants around every complete result; legacy results stay as they are."""
    if client.era == "legacy":
        return made
    wrapped: dict[str, Any] = {**made, "resultType": "complete"}
    if method in LISTS or method in _CACHEABLE:
        wrapped["ttlMs"] = ttl_ms
        wrapped["cacheScope"] = "private"  # what is listed and read here depends on who asks
    meta = made.get("_meta")
    own = {SERVER_INFO_KEY: server_info}
    wrapped["_meta"] = {**meta, **own} if isinstance(meta, Mapping) else own
    return wrapped
