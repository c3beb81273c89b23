"""A person's own connections: the servers that the hub uses with an account of theirs, and what they do with those.

Everything on it is of the user who is logged in with this browser; no request says whose it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from hub.edge import oauth_words as words
from hub.edge.browser import Visit
from hub.edge.connect_ports import Connect
from hub.edge.logins import network_of
from hub.edge.oauth_account import written
from hub.edge.oauth_departures import Away, Departures
from hub.edge.oauth_forms import address_of, is_from_here, query_of
from hub.edge.oauth_login import own_form, sentence, standing
from hub.edge.oauth_pages import page, to
from hub.edge.oauth_ports import Desk
from hub.identity.oauth.asked import Login
from hub.identity.outbound.account import Connection
from hub.identity.outbound.desk import Unofferable
from hub.identity.outbound.refresher import MAX_LABEL, Unusable

PAGE: Final = "/oauth/connections"
_ID_LENGTH: Final = 64
_DONE: Final = {  # what a page of before says it did
    "ended": "You are logged out there: the hub cannot use that account any more.",
    "renamed": "The account has its new name.",
    "chosen": "The hub uses that account from now on.",
}
_UNKNOWN: Final = "There is no such server to log in to. This page shows those there are."
_UNNAMED: Final = "Give the other account a name, so that you can tell the two apart."
_TAKEN: Final = "You have an account there under this name already. Take another name."
_LABEL: Final = f"The name of an account has at most {MAX_LABEL} characters, none of them invisible."

Answer = Callable[[Visit, Login, dict[str, str], Request], Awaitable[Response]]


class ConnectionsPages:
    def __init__(self, desk: Desk, connect: Connect, departures: Departures) -> None:
        self._desk, self._connect, self._departures = desk, connect, departures
        self.connect, self.log_out = self._form(self._begin), self._form(self._end)
        self.rename, self.choose = self._form(self._rename), self._form(self._choose)

    async def show(self, request: Request) -> Response:
        desk = self._desk
        query, issuer = dict(query_of(request) or []), desk.resources.issuer
        if "here" not in query and request.headers.get("host", "").lower() != urlsplit(issuer).netloc.lower():
            # a login leads back to that address, where a browser has the cookies of that address only; and there once
            # at most, since a proxy in front of the hub may name another host each time
            return to(f"{issuer}{PAGE}?here=1")
        visit = desk.browsers.visit(request.cookies)
        login = standing(desk, visit)
        if login is None:
            parked = desk.waiting.park(None, visit.key, network_of(address_of(request)), PAGE)
            return to(f"/oauth/login?w={parked.id}", visit)
        done = query.get("done", "")
        is_ours = is_from_here(request, issuer)  # a link from elsewhere must not claim what was not done
        return self._page(visit, login, done=_DONE.get(done, "") if is_ours else "")

    def _form(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """A form of this page, sent by a browser that was shown it and whose login stands."""

        async def handle(request: Request) -> Response:
            desk = self._desk
            visit = desk.browsers.visit(request.cookies)
            fields = await own_form(desk, request, visit)
            if isinstance(fields, Response):
                return fields
            login = standing(desk, visit)
            if login is None:
                return to(PAGE, visit)
            try:
                return await answer(visit, login, fields, request)
            except (Unusable, Unofferable) as exc:
                return self._page(visit, login, 409, fault=sentence(str(exc)))

        return handle

    async def _begin(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        """Log in at a server: for the first time there, as another account (`label`), or once more (`id`)."""
        user = login.user
        if "id" in fields:
            known = self._connect.get(user.id, fields["id"][:_ID_LENGTH])
            server, label = known.server, known.label
        else:
            server, label = fields.get("server", ""), fields.get("label", "").strip()
            if server not in self._connect.protected():
                return self._page(visit, login, 404, fault=_UNKNOWN)
            if "label" in fields and not label:
                return self._page(visit, login, 400, fault=_UNNAMED)
            if "label" in fields and any((c.server, c.label) == (server, label) for c in self._connect.of(user.id)):
                return self._page(visit, login, 409, fault=_TAKEN)  # a login under it would take that one's place
        offer = self._connect.offer_to(user.id, f"user {user.name}", server, label)
        (token,) = parse_qs(urlsplit(offer.url).query)["c"]
        return await self._departures.leave(request, visit, Away(server, token), is_form=True)

    async def _end(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        await self._connect.disconnect(login.user.id, fields.get("id", "")[:_ID_LENGTH], f"user:{login.user.name}")
        return to(f"{PAGE}?done=ended", visit)

    async def _rename(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        user, id, label = login.user.id, fields.get("id", "")[:_ID_LENGTH], fields.get("label", "").strip()
        before = self._connect.get(user, id)
        if len(label) > MAX_LABEL or not label.isprintable():
            return self._page(visit, login, 400, fault=_LABEL)
        if label != before.label:
            await self._logged(
                login, "connections.rename", before, request, lambda: self._connect.rename(user, id, label)
            )
        return to(f"{PAGE}?done=renamed", visit)

    async def _choose(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        user, id = login.user.id, fields.get("id", "")[:_ID_LENGTH]
        row = self._connect.get(user, id)
        if not row.is_chosen:
            await self._logged(login, "connections.choose", row, request, lambda: self._connect.choose(user, id))
        return to(f"{PAGE}?done=chosen", visit)

    async def _logged(
        self, login: Login, act: str, row: Connection, request: Request, do: Callable[[], Awaitable[object]]
    ) -> None:
        """In the log before it is done: it decides whom the hub speaks as."""
        detail = {
            "act": act,
            "address": address_of(request),
            "server": row.server,
            "issuer": words.host_of(row.issuer),
            "account": login.user.id,
            "connection": row.id,
        }
        who = f"user:{login.user.name}"
        await self._desk.journal.event("auth", who, "done", None, detail)
        try:
            await do()
        except Exception:
            await self._desk.journal.event("auth", who, "error", None, detail)
            raise

    def _page(self, visit: Visit, login: Login, status: int = 200, *, fault: str = "", done: str = "") -> Response:
        mine, open_ = self._connect.of(login.user.id), set(self._connect.protected())
        by_server = groupby(mine, lambda connection: connection.server)
        servers = [_server(id, connections, id in open_) for id, connections in by_server]
        others = sorted(open_ - {connection.server for connection in mine})
        shown = {
            "user": login.user.name,
            "display": words.plain(login.user.display or ""),
            "servers": servers,
            "others": [{"id": id, "name": words.plain(id)} for id in others],
            "max_label": MAX_LABEL,
        }
        return page("connections", visit, status, fault_words=fault, done=done, **shown)


def _server(id: str, connections: Iterable[Connection], is_open: bool) -> dict[str, Any]:
    rows = list(connections)
    shown = [_shown(row, is_open, len(rows) > 1) for row in rows]
    return {"id": id, "name": words.plain(id), "connections": shown, "is_open": is_open}


def _shown(row: Connection, is_open: bool, is_one_of_several: bool) -> dict[str, Any]:
    return {
        "id": row.id,
        "label": words.plain(row.label),
        "account": words.plain(row.account or ""),
        "issuer": words.host_of(row.issuer),
        "since": written(row.logged_in_at),
        "why": "" if row.why is None else sentence(row.why),
        "is_chosen": row.is_chosen and is_one_of_several,
        "is_choosable": not row.is_chosen,
        "is_open": is_open,
    }
