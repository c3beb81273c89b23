"""The HTTP door: routes, Host and Origin, bearer tokens, bodies, and the era of each request.

Everything that is answered here is answered before the pipeline; what passes is a verified caller's request, handed to
the edge of its protocol. Must not know a method of MCP, nor the admin API's routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from hub.core.call import Principal
from hub.core.ids import new_call_id
from hub.core.ports import Endpoint, Surface
from hub.edge import origins, rejections
from hub.edge.admission import ENTRY, Admission, Published, meant_for
from hub.edge.body import read_body
from hub.edge.cycle import HEAD, WHOLE_BODY, Cycle
from hub.edge.era import era_of, has_modern_header
from hub.edge.forwarded import seen_by
from hub.edge.heads import Head
from hub.edge.logins import FailedLogins
from hub.edge.mcp_modern import ModernEdge
from hub.edge.oauth import is_ours
from hub.edge.ports import EdgePorts
from hub.edge.rejections import REJECTIONS
from hub.edge.request import CALL_ID, Headers, Message, Receive, Request, Scope, Send, Whole, respond
from hub.wire import jsonrpc
from hub.wire.decode import Refusal
from hub.wire.encode import refused

log = logging.getLogger(__name__)

_OPEN: Final = frozenset({"/health", "/ready"})
_METRICS: Final = "/metrics"
_ONCE: Final = frozenset({"authorization", "host", "origin", "content-type", "content-length"})
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "mcp": ("GET", "POST", "DELETE"),
    "sse": ("GET",),
    "messages": ("POST",),
}
_KNOWN: Final = {  # the server gives names in lower case
    name.encode(): name
    for name in (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "user-agent",
    )
}
_HOSTS: Final = 64
_CLOSE_S: Final = 5.0


class AsgiApp(Protocol):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class SessionsEdge(Protocol):
    """Legacy Streamable HTTP."""

    async def post(self, request: Request, receive: Receive, send: Send) -> None: ...
    async def get(self, request: Request, receive: Receive, send: Send) -> None: ...
    async def delete(self, request: Request, receive: Receive, send: Send) -> None: ...
    async def aclose(self) -> None: ...


class EventsEdge(Protocol):
    """Legacy HTTP+SSE."""

    async def open(self, request: Request, receive: Receive, send: Send) -> None: ...
    async def post(self, request: Request, receive: Receive, send: Send) -> None: ...
    async def aclose(self) -> None: ...


class _Inbound(NamedTuple):
    """One request on its way through the checks."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Mapping[str, str]
    kind: str | None  # "mcp", "sse", "messages"; None: not an MCP route
    name: str  # of the endpoint


class _Judged(NamedTuple):
    """What holds for every POST with this head, while the hosts that are allowed stay the same."""

    headers: Mapping[str, str]
    name: str  # of the endpoint
    token: str
    hosts: object

    def __repr__(self) -> str:  # no log is to show the token, which stands in the headers too
        return f"_Judged(name={self.name!r})"


class HubApp:
    def __init__(
        self,
        ports: EdgePorts,
        modern: ModernEdge,
        legacy: SessionsEdge,
        sse: EventsEdge,
        rest: Any,
        *,
        metrics_open: bool,
        login: AsgiApp | None = None,
        published: Published | None = None,
    ) -> None:
        """`rest` is the ASGI app of everything that is not MCP; its callers stand in `state["principal"]`.

        `login` is the app where people and programs get tokens. It guards its own forms, and knows no caller.
        `published`: where clients read how to get some; None: there are none for this hub.
        """
        self._ports, self._modern, self._legacy, self._sse, self._rest = ports, modern, legacy, sse, rest
        self._open = _OPEN | {_METRICS} if metrics_open else _OPEN
        self._logins = FailedLogins(ports.journal)
        self._login = login
        self._admission = Admission(ports, self._logins, published)
        self._hosts: set[str | None] = set()  # values of Host that were found allowed
        paths = [f"/{name}/{kind}" if name else f"/{kind}" for name in ports.endpoints for kind in _METHODS]
        self._routes = {path: _route(path) for path in paths}
        self._posts = 0
        self._idle = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except Exception:
            await self._broken(scope, send)

    async def _broken(self, scope: Scope, send: Send) -> None:
        log.exception("a request was not answered")
        rpc = _route(scope["path"])[0] is not None
        body, headers = rejections.render(REJECTIONS["internal"], new_call_id(), rpc=rpc)
        with contextlib.suppress(RuntimeError):  # the answer had begun: the server ends the connection
            await respond(send, 500, body, headers)

    async def again(self, head: Head, body: bytes, cycle: Cycle) -> None:
        """A POST to an MCP route with a head that was judged before. Who calls, and where, is asked each time."""
        judged: _Judged = head.judged
        ports = self._ports
        try:
            who = ports.authenticator.verify(judged.token, "mcp")
        except Exception:
            await self._broken(head.scope, cycle.send)
            return
        endpoint = ports.endpoints.get(judged.name)
        if (
            who is None
            or endpoint is None
            or ENTRY not in who.scopes
            or not meant_for(who, "mcp", judged.name)
            or judged.hosts is not ports.allowed_hosts
            or len(body) > ports.limits.body_bytes
        ):  # refused in full there
            anew = {**head.scope, "state": {}, "extensions": {WHOLE_BODY: {"body": body}}}
            await self(anew, cycle.receive, cycle.send)
            return
        inbound = _Inbound(head.scope, cycle.receive, cycle.send, judged.headers, "mcp", judged.name)
        self._posts += 1
        try:
            await self._message(inbound, who, endpoint, body, cycle.answer, head)
        except Exception:
            await self._broken(head.scope, cycle.send)
        finally:
            self._posts -= 1
            if not self._posts:
                self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """End the open streams, let what is in flight finish within `timeout_s`, then end all sessions."""
        self._modern.drain()
        await asyncio.gather(_closed(self._sse.aclose, timeout_s + _CLOSE_S), self._drain_posts(timeout_s))
        await _closed(self._logins.aclose, _CLOSE_S)

    async def _drain_posts(self, timeout_s: float) -> None:
        if self._posts:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
        await _closed(self._legacy.aclose, _CLOSE_S)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in _OPEN:
            await self._rest(scope, receive, send)
            return
        kind, name = self._routes.get(path) or _route(path)
        headers, doubled = _fold(scope["headers"])
        inbound = _Inbound(scope, receive, send, headers, kind, name)
        if doubled:
            await self._refuse(inbound, "doubled_header")
            return
        if not self._is_host_allowed(headers.get("host")):
            await self._refuse(inbound, "forbidden_host")
            return
        if self._login is not None and kind is None and is_ours(path):
            scope = seen_by(scope, headers, self._ports.limits.trusted_proxies)
            await self._login(scope, receive, send)  # pages send `Origin: null`, programs come from any: it judges both
            return
        origin = headers.get("origin")
        if origin is not None:
            if not origins.is_origin_allowed(origin, self._ports.allowed_origins):
                await self._refuse(inbound, "forbidden_origin")
                return
            if scope["method"] == "OPTIONS":
                wanted = headers.get("access-control-request-headers")
                await respond(send, 204, b"", origins.preflight_headers(origin, wanted))
                return
            inbound = _Inbound(scope, receive, _with(send, origins.cors_headers(origin)), headers, kind, name)
        if path in self._open:
            await self._rest(scope, receive, inbound.send)
        else:
            await self._admitted(inbound)

    def _is_host_allowed(self, host: str | None) -> bool:
        if host in self._hosts:
            return True
        allowed = origins.is_host_allowed(host, self._ports.allowed_hosts)
        if allowed and len(self._hosts) < _HOSTS:
            self._hosts.add(host)
        return allowed

    async def _admitted(self, inbound: _Inbound) -> None:
        """Who calls, and whether they may call here at all."""
        headers, name = inbound.headers, inbound.name
        surface: Surface = "admin" if inbound.kind is None else "mcp"
        who = await self._admission.caller(headers, surface, name)
        if who is None:
            await self._refuse(inbound, *self._admission.refusal(headers, inbound.scope, surface, name))
        elif surface == "admin":
            inbound.scope.setdefault("state", {})["principal"] = who
            await self._rest(inbound.scope, inbound.receive, inbound.send)
        elif ENTRY not in who.scopes:
            await self._refuse(inbound, "insufficient_scope", self._admission.without_scope(headers, name))
        elif (endpoint := self._ports.endpoints.get(name)) is None:
            await self._refuse(inbound, "not_found")
        else:
            await self._mcp(inbound, who, endpoint)

    async def _mcp(self, inbound: _Inbound, who: Principal, endpoint: Endpoint) -> None:
        method, kind = inbound.scope["method"], inbound.kind
        allowed = ("POST",) if kind == "mcp" and has_modern_header(inbound.headers) else _METHODS[kind or ""]
        if method not in allowed:
            await self._refuse(inbound, "method_not_allowed", ((b"allow", ", ".join(allowed).encode()),))
        elif method == "POST":
            self._posts += 1
            try:
                await self._post(inbound, who, endpoint)
            finally:
                self._posts -= 1
                if not self._posts:
                    self._idle.set()
        else:
            request = _request(inbound, who, endpoint, b"", None)
            answer = self._sse.open if kind == "sse" else self._legacy.get if method == "GET" else self._legacy.delete
            await answer(request, inbound.receive, inbound.send)

    async def _post(self, inbound: _Inbound, who: Principal, endpoint: Endpoint) -> None:
        headers, limits = inbound.headers, self._ports.limits
        media = headers.get("content-type")
        if media is not None and media.partition(";")[0].strip().lower() != "application/json":
            await self._refuse(inbound, "unsupported_media")
            return
        body = await read_body(
            inbound.scope, inbound.receive, headers.get("content-length"), limits.body_bytes, limits.body_s
        )
        if isinstance(body, str):
            if body != "gone":
                await self._refuse(inbound, body)
            return
        self._judge(inbound)
        await self._message(inbound, who, endpoint, body)

    def _judge(self, inbound: _Inbound) -> None:
        """Leave word of what was found of this head, for the requests that repeat it."""
        head = inbound.scope.get("extensions", {}).get(HEAD)
        headers = inbound.headers
        if head is not None and inbound.kind == "mcp" and "origin" not in headers:
            token = headers["authorization"].partition(" ")[2].strip()
            head.judged = _Judged(headers, inbound.name, token, self._ports.allowed_hosts)

    async def _message(
        self,
        inbound: _Inbound,
        who: Principal,
        endpoint: Endpoint,
        body: bytes,
        whole: Whole | None = None,
        head: Head | None = None,
    ) -> None:
        """The body of an admitted POST, to the edge of its era."""
        try:
            message = jsonrpc.loads(body)
        except jsonrpc.Malformed as exc:
            await self._refuse(inbound, "parse_error", more=str(exc))
            return
        request = _request(inbound, who, endpoint, body, message, whole, head)
        era = "legacy" if inbound.kind == "messages" else era_of(inbound.headers, message)
        if era == "modern":
            await self._modern.post(request, inbound.receive, inbound.send)
        elif era == "legacy":
            edge = self._sse if inbound.kind == "messages" else self._legacy
            await edge.post(request, inbound.receive, inbound.send)
        else:
            await self._refuse_message(inbound, era, message)

    async def _refuse(self, inbound: _Inbound, code: str, headers: Headers = (), more: str = "") -> None:
        row = REJECTIONS[code]
        self._ports.refused(code)
        body, own = rejections.render(row, new_call_id(), rpc=inbound.kind is not None, more=more)
        await respond(inbound.send, row.status, body, (*own, *headers))

    async def _refuse_message(self, inbound: _Inbound, refusal: Refusal, message: Any) -> None:
        call_id = new_call_id()
        request_id = message.get("id") if isinstance(message, dict) else None
        encoded = refused(refusal, request_id=request_id if jsonrpc.is_id(request_id) else None, call_id=call_id)
        self._ports.refused(encoded.message["error"]["data"]["_meta"]["io.mcp-hub/code"])
        await respond(inbound.send, encoded.status, jsonrpc.dumps(encoded.message), ((CALL_ID, call_id.encode()),))


async def _closed(close: Callable[[], Awaitable[None]], timeout_s: float) -> None:
    """Whatever one part does at its end, the others get theirs."""
    try:
        async with asyncio.timeout(timeout_s):
            await close()
    except Exception:
        log.exception("closing at the end of the drain failed")


def _route(path: str) -> tuple[Literal["mcp", "sse", "messages"] | None, str]:
    """(kind, endpoint name) of `/mcp`, `/NAME/mcp` and their like; (None, "") of everything else."""
    name, slash, tail = path[1:].rpartition("/")
    if (slash and not name) or "/" in name or path[:1] != "/":
        return None, ""
    if tail == "mcp":
        return "mcp", name
    if tail == "sse":
        return "sse", name
    return ("messages", name) if tail == "messages" else (None, "")


def _fold(lines: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], bool]:
    """Headers by lower-case name, blanks removed, and whether one that may come once came more often.

    Who reads the first of two and who reads the last would judge different requests.
    """
    headers: dict[str, str] = {}
    doubled = False
    for name, value in lines:
        key = _KNOWN.get(name) or name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        if key in headers:
            doubled = doubled or key in _ONCE or key.startswith("mcp-")
            text = f"{headers[key]}, {text}"
        headers[key] = text
    return headers, doubled


def _request(
    inbound: _Inbound,
    who: Principal,
    endpoint: Endpoint,
    body: bytes,
    message: Any,
    whole: Whole | None = None,
    head: Head | None = None,
) -> Request:
    scope = inbound.scope
    query = scope["query_string"].decode("latin-1")
    return Request(who, endpoint, scope["method"], inbound.headers, query, body, message, whole, head)


def _with(send: Send, more: Headers) -> Send:
    """The same `send`, with more headers on the answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending
