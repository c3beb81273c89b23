"""What a request reads that is refused at the HTTP door, before it is known to be a call. Pure.

MCP routes answer in JSON-RPC, all others in problem+json; both with the call id. The text never says more than the
caller already knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from hub.edge.request import CALL_ID, Headers
from hub.wire import denials, jsonrpc


@dataclass(frozen=True, slots=True)
class Rejection:
    code: str
    status: int
    rpc: int
    words: str


_ROWS: Final = (
    Rejection("forbidden_host", 403, -31101, "This Host is not served: add it to allowed_hosts to use it."),
    Rejection("forbidden_origin", 403, -31102, "This Origin is not served: add it to allowed_origins to use it."),
    Rejection("unauthenticated", 401, -31103, "A valid bearer token is needed: `mcp-hub token` prints the local one."),
    Rejection("too_many_logins", 429, -31104, "Too many failed logins from this address: wait before the next."),
    Rejection("insufficient_scope", 403, -31105, "This credential has not the scope mcp: use one that may call tools."),
    Rejection("not_found", 404, -31106, "There is no such endpoint here."),
    Rejection("method_not_allowed", 405, -31107, "This HTTP method is not served here."),
    Rejection("not_acceptable", 406, -31108, "The answer is a stream: accept text/event-stream."),
    Rejection("slow_body", 408, -31109, "The body did not arrive in time."),
    Rejection("too_large", 413, -31110, "The body is larger than this hub takes."),
    Rejection("unsupported_media", 415, -31111, "The body must be application/json."),
    Rejection("doubled_header", 400, denials.HEADER_MISMATCH, "A header that may come once came more often."),
    Rejection("parse_error", 400, jsonrpc.PARSE_ERROR, "Parse error"),
    Rejection("internal", 500, jsonrpc.INTERNAL_ERROR, "The hub failed: report the call id to its operator."),
)

REJECTIONS: Final = {row.code: row for row in _ROWS}


def render(row: Rejection, call_id: str, *, rpc: bool, more: str = "") -> tuple[bytes, Headers]:
    """Body and headers of a rejection. `more` is the hub's own description of a fault, in words."""
    words = f"{row.words}: {more}" if more else row.words
    head = ((CALL_ID, call_id.encode()),)
    if rpc:
        data = {"_meta": denials.own_meta(call_id, row.code)}
        return jsonrpc.dumps(jsonrpc.error(None, row.rpc, words, data)), head
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(row.status).phrase,
        "status": row.status,
        "detail": words,
        "code": row.code,
        "call": call_id,
    }
    return jsonrpc.dumps(problem), ((b"content-type", b"application/problem+json"), *head)
