"""The admin API and the open routes beside it: HTTP in, words out. What is done is done by the desks.

Who calls was verified by the edge, which puts the principal in `scope["state"]["principal"]`; without one nothing but
the open routes answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hub.admin.keys import KeyDesk
from hub.admin.ports import AdminPorts
from hub.admin.servers import NoSuchServer, NothingWaits, ServerDesk
from hub.core.call import Json, Principal
from hub.identity.keys import UnknownKey
from hub.wire import jsonrpc

log = logging.getLogger(__name__)

BODY_BYTES: Final = 64 * 1024
BODY_S: Final = 10.0
ENTRIES: Final = 1000  # of one answer
_ADMIN: Final = frozenset(("admin",))
_READERS: Final = frozenset(("admin", "audit:read"))

Handler = Callable[[Request, Principal], Awaitable[Any]]


class Refused(Exception):
    """Answered as problem+json (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def admin_app(ports: AdminPorts) -> ASGIApp:
    """/health, /ready, /metrics and /api/v1; everything else is 404."""
    api = _Api(ports)
    v1 = "/api/v1"
    routes = [
        Route("/health", api.health),
        Route("/ready", api.ready),
        Route("/metrics", api.metrics),
        Route(f"{v1}/status", _guarded(api.status, _ADMIN)),
        Route(f"{v1}/servers", _guarded(api.servers, _ADMIN)),
        Route(f"{v1}/servers/{{id}}/test", _guarded(api.test, _ADMIN), methods=["POST"]),
        Route(f"{v1}/servers/{{id}}/diff", _guarded(api.diff, _ADMIN)),
        Route(f"{v1}/servers/{{id}}/approve", _guarded(api.approve, _ADMIN), methods=["POST"]),
        Route(f"{v1}/keys", _guarded(api.keys, _ADMIN), methods=["GET"]),
        Route(f"{v1}/keys", _guarded(api.create_key, _ADMIN), methods=["POST"]),
        Route(f"{v1}/keys/{{id}}", _guarded(api.revoke_key, _ADMIN), methods=["DELETE"]),
        Route(f"{v1}/audit", _guarded(api.audit, _READERS)),
        Route(f"{v1}/audit/{{call}}", _guarded(api.audit_call, _READERS)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})


class _Api:
    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._servers = ServerDesk(ports)
        self._keys = KeyDesk(ports.keys, ports.journal, tuple(spec.id for spec in ports.specs))

    async def health(self, request: Request) -> Response:
        """The process lives; says nothing of downstreams, because anybody may ask."""
        return _json({"status": "ok", "version": self._ports.version})

    async def ready(self, request: Request) -> Response:
        ready = self._ports.ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Names every tool, so a caller who may not see them all is refused where a token is asked for."""
        if not self._ports.metrics_open:
            who = _principal(request)
            if who is None:
                return _problem(Refused(401, "unauthenticated", "send a bearer token"))
            grants = who.grants
            sees_all = grants.servers is not None and "*" in grants.servers and grants.tools is None
            if not (who.scopes & _READERS or sees_all):
                return _problem(Refused(403, "forbidden", "this credential does not see all servers"))
        body, kind = self._ports.metrics()
        return Response(body, headers={"content-type": kind})

    async def status(self, request: Request, who: Principal) -> Any:
        states: dict[str, int] = {}
        for row in self._servers.rows():
            states[row["state"]] = states.get(row["state"], 0) + 1
        told = {"version": self._ports.version, "started_at": self._ports.started_at, "ready": self._ports.ready()}
        return {**told, "servers": states, **self._ports.status()}

    async def servers(self, request: Request, who: Principal) -> Any:
        return {"servers": self._servers.rows()}

    async def test(self, request: Request, who: Principal) -> Any:
        return await self._servers.test(request.path_params["id"])

    async def diff(self, request: Request, who: Principal) -> Any:
        return {"changes": self._servers.diff(request.path_params["id"])}

    async def approve(self, request: Request, who: Principal) -> Any:
        wish = await _body(request)
        items, seen = _names(wish, "items"), _names(wish, "seen")
        return {"approved": await self._servers.approve(who.name, request.path_params["id"], items, seen)}

    async def keys(self, request: Request, who: Principal) -> Any:
        return {"keys": self._keys.rows()}

    async def create_key(self, request: Request, who: Principal) -> Any:
        wish = await _body(request)
        try:
            return await self._keys.create(who.name, wish)
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc

    async def revoke_key(self, request: Request, who: Principal) -> Any:
        return await self._keys.revoke(who.name, request.path_params["id"])

    async def audit(self, request: Request, who: Principal) -> Any:
        limit = min(_number(request, "limit", 100), ENTRIES)
        if "after" in request.query_params:
            after = _number(request, "after", 0)
            return {"entries": list(await asyncio.to_thread(self._ports.log.after, after, limit))}
        return {"entries": list(await asyncio.to_thread(self._ports.log.tail, limit))}

    async def audit_call(self, request: Request, who: Principal) -> Any:
        entries = list(await asyncio.to_thread(self._ports.log.of_call, request.path_params["call"]))
        if not entries:
            raise Refused(404, "not_found", "no entry has this call id")
        return {"entries": entries}


def _guarded(handler: Handler, scopes: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind its scope, its refusals in words, its bugs without any."""

    async def answer(request: Request) -> Response:
        who = _principal(request)
        if who is None:
            return _problem(Refused(401, "unauthenticated", "send a bearer token"))
        if not who.scopes & scopes:
            needed = " or ".join(sorted(scopes))
            return _problem(Refused(403, "forbidden", f"this credential lacks the scope {needed}"))
        try:
            return _json(await handler(request, who))
        except Refused as refused:
            return _problem(refused)
        except NoSuchServer as exc:
            return _problem(Refused(404, "not_found", f"no server is called {exc.args[0]!r}; see mcp-hub servers list"))
        except NothingWaits as exc:
            return _problem(Refused(409, "nothing_waits", f"no such change of {exc.args[0]!r} waits for approval"))
        except UnknownKey as exc:
            return _problem(Refused(404, "not_found", str(exc)))
        except Exception:  # the caller reads no traceback; the hub's own log does
            log.exception("%s %s failed", request.method, request.url.path)
            return _problem(Refused(500, "internal", "the hub could not do this; its own log says why"))

    return answer


def _principal(request: Request) -> Principal | None:
    state = request.scope.get("state")
    found = state.get("principal") if isinstance(state, dict) else None
    return found if isinstance(found, Principal) else None


async def _body(request: Request) -> dict[str, Any]:
    """A JSON object within its bounds; an empty body is an empty object."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > BODY_BYTES:
                    raise Refused(413, "too_large", f"at most {BODY_BYTES} bytes")
    except TimeoutError as exc:
        raise Refused(408, "late", f"the body did not arrive within {BODY_S:g} s") from exc
    except ClientDisconnect as exc:
        raise Refused(400, "gone", "the body ended early") from exc
    try:
        found = jsonrpc.loads(data) if data else {}
    except jsonrpc.Malformed as exc:
        raise Refused(400, "malformed", str(exc)) from exc
    if not isinstance(found, dict):
        raise Refused(400, "malformed", "the body must be a JSON object")
    return found


def _names(wish: Json, member: str) -> list[str] | None:
    given = wish.get(member)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise Refused(422, "invalid", f"{member} must be a list of texts, or be left out")
    return given


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refused(400, "invalid", f"{name} must be a whole number")
    return int(text)


def _json(value: Any, status: int = 200) -> Response:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(jsonrpc.dumps(value), status, headers)


def _problem(refused: Refused) -> Response:
    body = {"type": "about:blank", "status": refused.status, "code": refused.code, "detail": refused.detail}
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    if refused.status == 401:
        headers["www-authenticate"] = 'Bearer realm="mcp-hub"'
    return Response(jsonrpc.dumps(body), refused.status, headers)


async def _http_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = {404: "not_found", 405: "wrong_method"}.get(exc.status_code, "refused")
    response = _problem(Refused(exc.status_code, code, exc.detail))
    for name, value in (exc.headers or {}).items():
        response.headers[name] = value
    return response
