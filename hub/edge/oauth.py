"""The door of the authorization server: pages for people, endpoints for programs, and what says where both are.

None of it needs a bearer token, and none of it looks at one but the programs' own. Paths are matched on the scope's
path only: what `Host` says changes nothing but which of the configured addresses is named back.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import time
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.core.ports import Journal
from hub.edge import oauth_programs as programs
from hub.edge.browser import Browsers
from hub.edge.connect_ports import Connect
from hub.edge.oauth_account import AccountPages
from hub.edge.oauth_connect import ConnectPages, document_route, hall_of
from hub.edge.oauth_connections import ConnectionsPages
from hub.edge.oauth_consent import ConsentPages
from hub.edge.oauth_departures import Departures, Hall
from hub.edge.oauth_device import DevicePages
from hub.edge.oauth_login import LoginPages, WelcomePages
from hub.edge.oauth_pages import error, style
from hub.edge.oauth_parked import Waiting
from hub.edge.oauth_ports import Addresses, Desk, People, Server, SignOn
from hub.edge.oauth_sso import SsoPages

log = logging.getLogger(__name__)

_PREFIXES: Final = ("/oauth/", "/.well-known/oauth-", "/.well-known/openid-configuration")
_NOT_OURS: Final = frozenset({"/oauth/mcp", "/oauth/sse", "/oauth/messages"})  # of an endpoint called "oauth"

Handler = Callable[[Request], Awaitable[Response]]


def oauth_app(
    server: Server,
    users: People,
    resources: Addresses,
    journal: Journal,
    *,
    secure: bool,
    sso: SignOn | None = None,
    connect: Connect | None = None,
    clock: Callable[[], float] = time,
) -> Starlette:
    """Everything that `is_ours`. `secure`: people reach the hub by https. `sso`: they may log in there too.

    `connect`: the hub logs in to downstreams for them.
    """
    browsers = Browsers(secure=secure, clock=clock)
    users.watch(browsers.end_user)
    desk = Desk(server, users, resources, journal, browsers, Waiting(clock), clock, sso, connect)
    consent, login, welcome = ConsentPages(desk), LoginPages(desk), WelcomePages(desk)
    device = DevicePages(desk)
    routes = [
        *_page("/oauth/authorize", consent.authorize),
        *_page("/oauth/login", login.show, login.log_in),
        *_page("/oauth/consent", consent.show, consent.answer),
        *_page("/oauth/welcome", welcome.show, welcome.make),
        *_page("/oauth/logout", None, login.log_out),
        *_page("/oauth/device", device.show, device.typed),
        *_page("/oauth/device/consent", device.consent, device.answer),
        *_account(desk),
        Route("/oauth/style.css", style),
        *(_program(route) for route in programs.routes(server, resources)),
    ]
    if sso is not None:
        pages = SsoPages(desk, sso)
        routes += [*_page("/oauth/sso", pages.begin), *_page("/oauth/sso/callback", pages.callback)]
    if connect is not None:
        hall = hall_of(desk, connect)
        departures = Departures(hall)
        routes += [*_connect(hall, departures), *_connections(desk, connect, departures)]
    return _app(routes)


def connect_app(
    connect: Connect,
    *,
    base: str,
    secure: bool,
    resources: Addresses | None = None,
    clock: Callable[[], float] = time,
) -> Starlette:
    """Of a hub where nobody logs in, and that logs in to downstreams: `base` is its address.

    `resources`: as for `resource_app`, beside it.
    """
    hall = Hall(connect, Browsers(secure=secure, clock=clock), base, clock)
    protected = () if resources is None else programs.protected_routes(resources)
    return _app([*_connect(hall, Departures(hall)), Route("/oauth/style.css", style), *map(_program, protected)])


def resource_app(resources: Addresses) -> Starlette:
    """Of a hub where nobody logs in: only what says whose tokens open it (RFC 9728)."""
    return _app([_program(route) for route in programs.protected_routes(resources)])


def _app(routes: list[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: _nowhere})
    app.router.redirect_slashes = False  # to an address made of the caller's own Host
    return app


def _account(desk: Desk) -> list[Route]:
    account = AccountPages(desk)
    return [
        *_page("/oauth/account", account.show),
        *_page("/oauth/account/end", None, account.end),
        *_page("/oauth/account/end-all", None, account.end_all),
        *_page("/oauth/account/codes", None, account.codes),
        *_page("/oauth/account/codes/confirm", None, account.confirm),
        *_page("/oauth/account/codes/remove", None, account.remove),
        *_page("/oauth/account/password", None, account.password),
    ]


def _connect(hall: Hall, departures: Departures) -> list[Route]:
    pages = ConnectPages(hall, departures)
    return [
        *_page("/oauth/connect", pages.show, pages.confirm),
        *_page("/oauth/connect/callback", pages.callback),
        _program(document_route(hall.connect)),
    ]


def _connections(desk: Desk, connect: Connect, departures: Departures) -> list[Route]:
    pages = ConnectionsPages(desk, connect, departures)
    return [
        *_page("/oauth/connections", pages.show),
        *_page("/oauth/connections/connect", None, pages.connect),
        *_page("/oauth/connections/logout", None, pages.log_out),
        *_page("/oauth/connections/rename", None, pages.rename),
        *_page("/oauth/connections/choose", None, pages.choose),
    ]


def is_ours(path: str) -> bool:
    """Whether a path is this app's."""
    return path.startswith(_PREFIXES) and path not in _NOT_OURS


def _page(path: str, show: Handler | None, answer: Handler | None = None) -> list[Route]:
    found = (("GET", show), ("POST", answer))
    return [Route(path, _whole(handler, _broken), methods=[method]) for method, handler in found if handler is not None]


def _program(route: Route) -> Route:
    return Route(route.path, _whole(route.endpoint, programs.broken), methods=sorted(route.methods or ()))


def _whole(handler: Handler, failed: Callable[[], Response]) -> Handler:
    """Whatever fails is answered in the caller's own language, and nothing is granted."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception:
            log.exception("a request to %s was not answered", request.scope["path"])
            return failed()

    return handle


def _broken() -> Response:
    return error(
        500,
        "The hub failed",
        "It could not do what you asked.",
        "Go back and try again. If it stays so, tell the hub's administrator: its log says what failed.",
    )


async def _nowhere(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    if request.scope["path"].startswith("/.well-known/"):
        return programs.absent()
    if request.scope["path"] in programs.PATHS:  # without logins here there is no such endpoint
        return programs.absent() if exc.status_code == 404 else programs.wrong_method(exc.headers or {})
    if exc.status_code == 404:
        return error(404, "There is no such page", "Nothing stands at this address.", "Go back to your app.")
    words = "This address takes other requests than the one it got."
    response = error(exc.status_code, "That does not work here", words, "Go back to your app and connect again.")
    for name, text in (exc.headers or {}).items():
        response.headers[name] = text
    return response
