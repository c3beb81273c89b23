"""JSON as the hub speaks it, and the four shapes of a JSON-RPC message. Pure; knows no method of MCP.

What is decoded here is what every stage judges and what is sent on: NaN, infinities, lone surrogates, bytes that are no
UTF-8 and nesting beyond `MAX_DEPTH` are refused, and integers of any size stay exact.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from hub.core.call import Json

MAX_DEPTH: Final = 128

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

Id = str | int
Shape = Literal["request", "notification", "response", "invalid"]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Malformed(ValueError):
    """These bytes are no JSON the hub takes. The text names the fault and quotes nothing of the input."""


def loads(data: bytes | bytearray | memoryview) -> Any:
    """The value of one JSON text. Raises `Malformed`."""
    try:
        value = _decode(data)
    except UnicodeDecodeError as exc:
        raise Malformed("the text is not UTF-8") from exc
    except RecursionError as exc:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels") from exc
    except msgspec.MsgspecError as exc:
        raise Malformed(_words(exc)) from exc
    if len(data) > 2 * MAX_DEPTH:  # every level takes two characters
        raw = bytes(data) if isinstance(data, memoryview) else data
        if _opens_more(raw, MAX_DEPTH) and _deeper_than(value, MAX_DEPTH):
            raise Malformed(f"nested deeper than {MAX_DEPTH} levels")
    return value


def dumps(value: Any) -> bytes:
    """One JSON text, without blanks. Raises `Malformed` for what JSON cannot say (lone surrogates, foreign objects)."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError) as exc:
        raise Malformed("the value cannot be written as JSON") from exc


def request(id: Id, method: str, params: Json | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        message["params"] = params
    return message


def notification(method: str, params: Json | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return message


def result(id: Id, result: Json) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}


def error(id: Id | None, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """`data` None leaves the member out. `id` None stands for a request whose id could not be read."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": body}


def shape(message: Any) -> Shape:
    """What one decoded message is. Only the envelope is judged: version, id, method, that params are an object."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return "invalid"
    if "method" in message:
        if not isinstance(message["method"], str) or "result" in message or "error" in message:
            return "invalid"
        if "params" in message and not isinstance(message["params"], dict):
            return "invalid"
        if "id" not in message:
            return "notification"
        return "request" if is_id(message["id"]) else "invalid"
    if ("result" in message) == ("error" in message):
        return "invalid"
    if "error" in message and message.get("id") is None:
        return "response"  # an error about a message whose id could not be read
    return "response" if is_id(message.get("id")) else "invalid"


def is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _words(exc: msgspec.MsgspecError) -> str:
    text = str(exc)
    if text.startswith("JSON is malformed: "):
        return text.removeprefix("JSON is malformed: ")
    return "the text ends too early" if "truncated" in text else "a number is out of range"


def _opens_more(raw: bytes | bytearray, limit: int) -> bool:
    """Whether more than `limit` objects and lists may open in it. 1 us of 100 KB of text, where `count` takes 65."""
    count = 0
    for mark in (b"{", b"["):
        at = raw.find(mark)
        while at >= 0:
            count += 1
            if count > limit:
                return True
            at = raw.find(mark, at + 1)
    return False


def _deeper_than(value: Any, limit: int) -> bool:
    """Level by level, so that no input can exhaust the stack."""
    level: list[Any] = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner.extend(v for v in node.values() if isinstance(v, dict | list))
            elif isinstance(node, list):
                inner.extend(v for v in node if isinstance(v, dict | list))
        if not inner:
            return False
        level = inner
    return True
