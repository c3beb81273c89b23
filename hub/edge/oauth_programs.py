"""The endpoints that programs use: metadata, keys, tokens, registration. Thin: what is answered is decided behind them.

Pages of any origin may read the answers (CORS `*`), because none of these endpoints looks at a cookie.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.core.call import Json
from hub.edge.oauth_forms import address_of, body_of, form_of, media_of
from hub.edge.oauth_ports import Addresses, Pairs, Server
from hub.identity.oauth.asked import Reply
from hub.wire import jsonrpc

PROTECTED: Final = "/.well-known/oauth-protected-resource"
SERVERS: Final = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")

PATHS: Final = (
    "/oauth/jwks",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/register",
    "/oauth/introspect",
    "/oauth/device_authorization",
)

_OPEN: Final = {"access-control-allow-origin": "*", "access-control-expose-headers": "WWW-Authenticate, Retry-After"}
_PREFLIGHT: Final = {
    **_OPEN,
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, mcp-protocol-version",
    "access-control-max-age": "600",
}
_KEPT: Final = {**_OPEN, "cache-control": "public, max-age=300"}
_NEVER: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_FAULTS: Final = {  # RFC 6749 section 5.2 has one word for all of them
    "unsupported_media": (415, "the body must be application/x-www-form-urlencoded"),
    "malformed": (400, "the body is no form, or has too many fields"),
    "too_large": (413, "the body is larger than 64 KiB"),
    "slow_body": (408, "the body did not arrive in time"),
    "gone": (400, "the body did not arrive"),
}

Handler = Callable[[Request], Awaitable[Response]]
FormHandler = Callable[[Pairs, str | None, Request], Awaitable[Reply]]


def routes(server: Server, resources: Addresses) -> list[Route]:
    async def metadata(request: Request) -> Response:
        return _json(server.metadata(), _KEPT)

    async def metadata_at(request: Request) -> Response:
        """Some clients put the resource's path behind, as for an issuer with a path; ours has none."""
        return absent() if _resource_at(request, resources) is None else _json(server.metadata(), _KEPT)

    async def jwks(request: Request) -> Response:
        return _json(server.jwks(), _KEPT)

    async def register(request: Request) -> Response:
        if media_of(request) != "application/json":
            return _fault(415, "invalid_client_metadata", "the body must be application/json")
        body = await body_of(request)
        if isinstance(body, str):
            status, words = _FAULTS[body]
            return _fault(status, "invalid_client_metadata", words)
        return _reply(await server.register(body, address_of(request)))

    async def device(form: Pairs, basic: str | None, request: Request) -> Reply:
        return await server.device_authorization(form, basic, address_of(request))

    return [
        *protected_routes(resources),
        *(route for path in SERVERS for route in _both(path, "GET", metadata)),
        *(route for path in SERVERS for route in _both(path + "/{path:path}", "GET", metadata_at)),
        *_both("/oauth/jwks", "GET", jwks),
        *_both("/oauth/token", "POST", _form(lambda form, basic, _: server.token(form, basic))),
        *_both("/oauth/revoke", "POST", _form(lambda form, basic, _: server.revoke(form, basic))),
        *_both("/oauth/device_authorization", "POST", _form(device)),
        *_both("/oauth/register", "POST", register),
        # for servers, no page's affair
        Route("/oauth/introspect", _form(lambda form, basic, _: server.introspect(form, basic), {}), methods=["POST"]),
    ]


def protected_routes(resources: Addresses) -> list[Route]:
    return [
        *_both(PROTECTED, "GET", _protected(resources)),
        *_both(PROTECTED + "/{path:path}", "GET", _protected(resources)),
    ]


def known(document: Json | None) -> Response:
    """A document of the hub's that everybody may read, where there is one."""
    return absent() if document is None else _json(document, _KEPT)


def absent() -> Response:
    problem = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "There is no such endpoint here."}
    return _json(problem, {**_OPEN, **_NEVER}, 404, "application/problem+json")


def wrong_method(headers: Mapping[str, str]) -> Response:
    return _fault(
        405, "invalid_request", "this address takes other methods: see the header Allow", {**_OPEN, **headers}
    )


def broken() -> Response:
    return _fault(500, "server_error", "the hub failed: try again, and tell its administrator if it stays so")


def _protected(resources: Addresses) -> Handler:
    """RFC 9728: of the endpoint whose path stands behind, of the main one without."""

    async def document(request: Request) -> Response:
        found = _resource_at(request, resources)
        return absent() if found is None else _json(found, _KEPT)

    return document


def _resource_at(request: Request, resources: Addresses) -> Json | None:
    address = f"{resources.issuer}/{request.path_params.get('path') or 'mcp'}"
    if resources.is_admin(address):
        return resources.admin_document()
    name = resources.endpoint_of(address)
    return None if name is None else resources.document(name, request.headers.get("host"))


def _both(path: str, method: str, handler: Handler) -> tuple[Route, Route]:
    """The endpoint, and what a browser asks before it lets a page of another origin use it."""
    return Route(path, handler, methods=[method]), Route(path, _preflight, methods=["OPTIONS"])


async def _preflight(request: Request) -> Response:
    return Response(b"", 204, _PREFLIGHT)


def _form(answer: FormHandler, headers: Mapping[str, str] = _OPEN) -> Handler:
    async def handle(request: Request) -> Response:
        form = await form_of(request)
        if isinstance(form, str):
            status, words = _FAULTS[form]
            return _fault(status, "invalid_request", words, headers)
        return _reply(await answer(form, request.headers.get("authorization"), request), headers)

    return handle


def _reply(reply: Reply, headers: Mapping[str, str] = _OPEN) -> Response:
    own = {name.lower(): text for name, text in reply.headers.items() if name.lower() != "content-type"}
    return _json(reply.body, {**headers, **_NEVER, **own}, reply.status)


def _fault(status: int, code: str, words: str, headers: Mapping[str, str] = _OPEN) -> Response:
    return _json({"error": code, "error_description": words}, {**headers, **_NEVER}, status)


def _json(body: Any, headers: Mapping[str, str], status: int = 200, media: str = "application/json") -> Response:
    return Response(
        b"" if body is None else jsonrpc.dumps(body), status, dict(headers), media if body is not None else None
    )
