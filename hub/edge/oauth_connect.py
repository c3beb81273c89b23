"""Logging in at a downstream: from the link that a caller was given, to the issuer, and back.

A link opens nothing by itself. What it was offered to a user for, only that user's browser begins; what everybody uses,
or a program, is begun by whoever has the link and says yes to who will use the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.edge import oauth_words as words
from hub.edge.browser import Visit
from hub.edge.connect_ports import Connect, Pending
from hub.edge.logins import network_of
from hub.edge.oauth_departures import NEW_LINK, Away, Departures, Hall, Once, answer_key, browser_of, over, refused
from hub.edge.oauth_forms import address_of, once, query_of
from hub.edge.oauth_login import lost, parked_of, sentence, shown_form
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import WAIT_S, Connecting
from hub.edge.oauth_ports import Desk
from hub.edge.oauth_programs import known
from hub.identity.oauth.asked import Login
from hub.identity.outbound.errors import OutboundFailed
from hub.identity.outbound.pending import Lost

PAGE: Final = "/oauth/connect"
CALLBACK: Final = f"{PAGE}/callback"
DOCUMENT: Final = "/oauth/client.json"
_TOKEN_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class _Arrived:
    server: str
    account: str | None  # who one is there
    whose: str  # as `Principal.account`


class ConnectPages:
    def __init__(self, hall: Hall, departures: Departures) -> None:
        self._hall, self._departures = hall, departures
        self._arrived: Once[_Arrived] = Once(hall.clock, WAIT_S)

    async def show(self, request: Request) -> Response:
        visit = self._hall.browsers.visit(request.cookies)
        query = once(query_of(request) or []) or {}
        token, is_back = query.get("c", ""), False
        if not token and self._hall.desk is not None and "w" in query:
            parked = parked_of(self._hall.desk, visit, query["w"], PAGE)
            if parked is None or parked.connecting is None:
                return lost()
            token, is_back = parked.connecting.token, True
        pending = self._pending(token)
        if pending is None:
            return over()
        if pending.is_user:
            return await self._as_user(request, visit, token, pending, is_form=is_back)
        shown = {"server": words.plain(pending.server), "whose": words.plain(pending.whose, 200)}
        return page("connect", visit, c=token, **shown)

    async def confirm(self, request: Request) -> Response:
        hall = self._hall
        visit = hall.browsers.visit(request.cookies)
        fields = await shown_form(hall.browsers, hall.issuer, request, visit)
        if isinstance(fields, Response):
            return fields
        token = fields.get("c", "")
        pending = self._pending(token)
        if pending is None:
            return over()
        if pending.is_user:
            return await self._as_user(request, visit, token, pending, is_form=True)
        return await self._departures.leave(request, visit, Away(pending.server, token), is_form=True)

    async def callback(self, request: Request) -> Response:
        hall = self._hall
        visit = hall.browsers.visit(request.cookies)
        query = query_of(request)
        if query is None:
            return _unreadable()
        login = hall.login(visit)
        browser = browser_of(visit, login)
        key = answer_key(query, browser)
        async with self._arrived.busy(key):  # a page that is loaded again while the first answer is redeemed
            arrived = self._arrived.get(key)
            is_again = arrived is not None
            if arrived is None:
                try:
                    finished = await hall.connect.finish(query, browser)
                except Lost as exc:
                    return _nobodys(visit, login, str(exc))
                except OutboundFailed as exc:
                    return self._departures.failed(visit, exc, self._departures.back(key, browser))
                arrived = _Arrived(finished.server, finished.connection.account, finished.account)
                self._arrived.put(key, arrived)
        return page(
            "connected",
            visit,
            server=words.plain(arrived.server),
            account=words.plain(arrived.account or ""),
            is_again=is_again,
            is_own=login is not None and login.user.id == arrived.whose,
        )

    def _pending(self, token: str) -> Pending | None:
        return self._hall.connect.pending(token) if 0 < len(token) <= _TOKEN_LENGTH else None

    async def _as_user(
        self, request: Request, visit: Visit, token: str, pending: Pending, *, is_form: bool
    ) -> Response:
        """Nothing is asked: who was offered the login has asked for it."""
        desk, login = self._hall.desk, self._hall.login(visit)
        if desk is None:
            return over()
        if login is not None and login.user.id == pending.account:
            return await self._departures.leave(request, visit, Away(pending.server, token), is_form=is_form)
        parked = desk.waiting.park(None, visit.key, network_of(address_of(request)), PAGE)
        parked.connecting = Connecting(token, pending.server)
        if login is None:
            return to(f"/oauth/login?w={parked.id}", visit)
        return refused(
            visit,
            403,
            "This link is not yours",
            f"You are logged in as {login.user.name}, and the link was made for another user of this hub.",
            "If you are that user too, log out and log in as that one. Else close this page: nothing was done.",
            w=parked.id,
        )


def document_route(connect: Connect) -> Route:
    """The hub's client metadata, by whose address issuers know it (CIMD)."""

    async def document(request: Request) -> Response:
        return known(connect.document())

    return Route(DOCUMENT, document, methods=["GET"])


def _nobodys(visit: Visit, login: Login | None, why: str) -> Response:
    next = f"{NEW_LINK} If you have logged in to the hub or out of it meanwhile, that ended this login."
    return refused(visit, 400, "Nobody waits for this answer", sentence(why), next, has_page=login is not None)


def _unreadable() -> Response:
    told = "Its address is too long, or not written as addresses are."
    return error(400, "That answer cannot be read", told, NEW_LINK)


def hall_of(desk: Desk, connect: Connect) -> Hall:
    """Of a hub that people log in to."""
    return Hall(connect, desk.browsers, desk.resources.issuer, desk.clock, desk)
