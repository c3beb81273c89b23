"""What an edge refuses before the pipeline: worded by `hub.wire`, counted here, once each."""

from __future__ import annotations

from typing import Any

from hub.edge.ports import EdgePorts
from hub.wire import denials, encode, jsonrpc
from hub.wire.decode import Refusal


def refuse(
    ports: EdgePorts, refusal: Refusal, *, request_id: jsonrpc.Id | None, call_id: str, code: str | None = None
) -> dict[str, Any]:
    """The JSON-RPC error for one refused message. `code` is the hub's own, where the JSON-RPC code says too little."""
    own = code if code is not None else denials.refused_code(refusal.code)
    ports.refused(own)
    return dict(encode.refused(refusal, request_id=request_id, call_id=call_id, code=own).message)


def invalid(text: str) -> Refusal:
    return Refusal(jsonrpc.INVALID_REQUEST, text)


def readable_id(message: Any) -> jsonrpc.Id | None:
    """The id of a message that is no valid request, so that its sender can tell which one was refused."""
    id = message.get("id") if isinstance(message, dict) else None
    return id if isinstance(id, str | int) and not isinstance(id, bool) else None
