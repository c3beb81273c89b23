"""One operation as a route: who may, what came, what is told; a refusal in words, a bug without any."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin.checks import Checks
from hub.admin.operation import Answer, Operation, Refused, stale
from hub.admin.problem import CALL_ID, problem, told
from hub.core.call import Principal
from hub.core.ids import new_call_id
from hub.core.ports import Conflict

log = logging.getLogger(__name__)

V1: Final = "/api/v1"
_TAGS: Final = re.compile(r'"([^"]*)"')


def route_of(operation: Operation) -> Route:
    return Route(f"{V1}{operation.path}", _endpoint(operation), methods=[operation.method], name=operation.name)


def _endpoint(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    checks = Checks(operation)

    async def answer(request: Request) -> Response:
        call = new_call_id()
        try:
            who = _allowed(request, operation.scopes)
            return _answered(request, operation, await operation.handler(await checks.asked(request, who)), call)
        except Refused as refused:
            return problem(refused, call)
        except Conflict:
            return problem(stale(), call)
        except Exception:  # the caller reads no traceback; the hub's own log does
            log.exception("%s failed", operation.name, extra={"call": call})
            return problem(Refused(500, "internal", "the hub could not do this; its own log says why"), call)

    return answer


def principal(request: Request) -> Principal | None:
    """The caller whom the edge verified."""
    state = request.scope.get("state")
    found = state.get("principal") if isinstance(state, dict) else None
    return found if isinstance(found, Principal) else None


def _allowed(request: Request, scopes: frozenset[str]) -> Principal:
    who = principal(request)
    if who is None:
        raise Refused(401, "unauthenticated", "send a bearer token")
    if not who.scopes & scopes:
        raise Refused(403, "forbidden", f"this credential lacks the scope {' or '.join(sorted(scopes))}")
    return who


def _answered(request: Request, operation: Operation, answer: Answer, call: str) -> Response:
    status = operation.status if answer.status == 200 else answer.status
    if status == 204:
        response = Response(status_code=204, headers={"cache-control": "no-store", CALL_ID: call})
    else:
        response = told(answer.body, call, status)
    etag = answer.etag
    if etag is None and operation.method == "GET" and status == 200:
        etag = sha256(response.body).hexdigest()[:32]
    if etag is None:
        return response
    if operation.method == "GET" and _is_known(request, etag):
        response = Response(status_code=304, headers={"cache-control": "no-store", CALL_ID: call})
    response.headers["etag"] = f'"{etag}"'
    return response


def _is_known(request: Request, etag: str) -> bool:
    """Whether the caller has this already (RFC 9110, 13.1.2: weak comparison)."""
    given = ", ".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or etag in _TAGS.findall(given)
