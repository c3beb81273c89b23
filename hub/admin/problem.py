"""How the admin API answers: JSON, and refusals as problem+json (RFC 9457). Every answer carries its call id."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from hub.admin.operation import Refused
from hub.core.call import Json
from hub.wire import jsonrpc

CALL_ID: Final = "hub-call-id"
_CHALLENGE: Final = 'Bearer realm="mcp-hub"'


def told(value: Any, call: str, status: int = 200) -> Response:
    headers = {"content-type": "application/json", "cache-control": "no-store", CALL_ID: call}
    return Response(jsonrpc.dumps(value), status, headers)


def problem(refused: Refused, call: str) -> Response:
    """The members of the refusal stand beside those every problem has, and never in their place."""
    own: Json = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "code": refused.code,
        "detail": refused.detail,
        "call": call,
    }
    headers = {"content-type": "application/problem+json", "cache-control": "no-store", CALL_ID: call}
    if refused.status == 401:
        headers["www-authenticate"] = _CHALLENGE
    return Response(jsonrpc.dumps({**refused.members, **own}), refused.status, headers)
