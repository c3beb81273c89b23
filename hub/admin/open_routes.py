"""What answers beside the API: /health and /ready for anybody, /metrics for anybody on loopback."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin.operation import READERS, Refused
from hub.admin.ports import AdminPorts
from hub.admin.problem import problem, told
from hub.admin.route import principal
from hub.core.ids import new_call_id


def open_routes(ports: AdminPorts) -> list[Route]:
    async def health(request: Request) -> Response:
        """The process lives; says nothing of downstreams, because anybody may ask."""
        return _told({"status": "ok", "version": ports.version})

    async def ready(request: Request) -> Response:
        serves = ports.ready()
        return _told({"ready": serves}, 200 if serves else 503)

    async def metrics(request: Request) -> Response:
        refused = None if ports.metrics_open else _unfit(request)
        if refused is not None:
            return problem(refused, new_call_id())
        body, kind = ports.metrics()
        return Response(body, headers={"content-type": kind})

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)]


def _unfit(request: Request) -> Refused | None:
    """The metrics name every tool, so a caller who may not see them all is refused."""
    who = principal(request)
    if who is None:
        return Refused(401, "unauthenticated", "send a bearer token")
    grants = who.grants
    sees_all = grants.servers is not None and "*" in grants.servers and grants.tools is None
    if not (who.scopes & READERS or sees_all):
        return Refused(403, "forbidden", "this credential does not see all servers")
    return None


def _told(value: Any, status: int = 200) -> Response:
    return told(value, new_call_id(), status)
