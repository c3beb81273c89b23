"""The admin API and the open routes beside it, made from the operations of every resource.

Who calls was verified by the edge, which puts the principal in `scope["state"]["principal"]`; without one nothing but
the open routes answers. What an operation does is its resource's affair, how it is asked is `route.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from hub.admin import audit, keys, servers, status
from hub.admin.open_routes import open_routes
from hub.admin.openapi import document
from hub.admin.operation import READERS, Answer, Asked, Operation, Refused
from hub.admin.ports import AdminPorts
from hub.admin.problem import problem
from hub.admin.route import route_of
from hub.core.ids import new_call_id

_RESOURCES: Final = (status, servers, keys, audit)
_WORDS: Final = {
    404: ("not_found", "there is nothing at this path; GET /api/v1/openapi.json lists what there is"),
    405: ("wrong_method", "this path does not take this method; the header Allow names those it takes"),
}


def admin_app(ports: AdminPorts) -> Starlette:
    """/health, /ready, /metrics and /api/v1; everything else is 404."""
    found = sorted(operations(ports), key=lambda operation: _by_words(operation.path))
    routes = [*open_routes(ports), *(route_of(operation) for operation in found)]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})
    app.router.redirect_slashes = False  # to an address made of the caller's own Host
    return app


def operations(ports: AdminPorts) -> tuple[Operation, ...]:
    """Every operation there is: of the resources here, of those with ports of their own, and the document of all.

    Raises ValueError when two share a name, or a method and path.
    """
    found = [operation for resource in _RESOURCES for operation in resource.operations(ports)]
    found += ports.more
    found.append(_openapi(found, ports.version))
    return tuple(found)


def _openapi(others: Sequence[Operation], version: str) -> Operation:
    async def read(asked: Asked) -> Answer:
        return Answer(made)

    summary = "this document: every operation of the admin API"
    own = Operation("GET", "/openapi.json", "openapi.read", summary, read, READERS, answer={"type": "object"})
    made = document((*others, own), version)
    return own


def _by_words(path: str) -> tuple[tuple[bool, str], ...]:
    """Sorts `/servers/try` before `/servers/{id}`, so that a word is never taken for an id."""
    return tuple((part.startswith("{"), part) for part in path.split("/"))


async def _http_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code, words = _WORDS.get(exc.status_code, ("refused", exc.detail))
    response = problem(Refused(exc.status_code, code, words), new_call_id())
    if exc.status_code == 405:
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """Of every operation at this path; a word in it stands before an id, as in the document."""
    routes: Sequence[BaseRoute] = request.app.routes
    there = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return {method for route in there if route.path == there[0].path for method in route.methods or ()}
