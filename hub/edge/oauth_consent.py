"""From a client's request to the person's answer: /oauth/authorize and the consent page.

Consent is asked every time and of one browser and one login: who says yes is who was asked.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from hub.edge import oauth_words as words
from hub.edge.browser import Visit
from hub.edge.logins import network_of
from hub.edge.oauth_forms import address_of, query_of
from hub.edge.oauth_login import answered, is_login_needed, is_too_old, lost, own_form, parked_of, standing
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import CONSENT, Parked
from hub.edge.oauth_ports import Desk
from hub.identity.oauth.asked import Login, SentBack, Unfit, Wish

ANSWERS: Final = ("allow", "deny")
_RUNNING: Final = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})


class ConsentPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def authorize(self, request: Request) -> Response:
        desk = self._desk
        query = query_of(request)
        if query is None:
            return _unfit("its address is too long, or not written as addresses are")
        try:
            wish = await desk.server.wish(query)
        except Unfit as exc:
            return _unfit(str(exc))
        except SentBack as exc:
            return to(exc.location)
        visit = desk.browsers.visit(request.cookies)
        login = standing(desk, visit)
        is_known = login is not None and not is_too_old(wish, login, desk.clock())
        if "none" in wish.prompt:
            return to(desk.server.refused(wish, "consent_required" if is_known else "login_required"))
        parked = desk.waiting.park(wish, visit.key, network_of(address_of(request)))
        return to(f"/oauth/{'consent' if is_known else 'login'}?w={parked.id}", visit)

    async def show(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        parked = parked_of(desk, visit, dict(query_of(request) or []).get("w", ""), CONSENT)
        if parked is None or parked.wish is None or parked.location is not None:
            return lost() if parked is None else answered(parked)
        login = standing(desk, visit)
        if login is None or is_login_needed(desk, parked, login):
            return to(f"/oauth/login?w={parked.id}", visit)
        parked.shown_to = login.user.id
        wish = parked.wish
        shown = words.asked_of(wish, login, desk.resources)
        return page("consent", visit, w=parked.id, place=words.place_of(wish.redirect_uri), **shown)

    async def answer(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        fields = await own_form(desk, request, visit)
        if isinstance(fields, Response):
            return fields
        parked = parked_of(desk, visit, fields.get("w", ""), CONSENT)
        if parked is None:
            return lost()
        if fields.get("answer") not in ANSWERS:
            return to(f"/oauth/consent?w={parked.id}", visit)
        async with parked.busy:  # of two clicks, the second one finds the first one's answer
            if parked.location is None:
                location = await self._decide(visit, parked, fields["answer"] == "allow")
                if location is None:
                    return to(f"/oauth/consent?w={parked.id}", visit)
                parked.location, parked.answered_at = location, desk.clock()
        return self._back(parked)

    async def _decide(self, visit: Visit, parked: Parked, is_allowed: bool) -> str | None:
        """Where the answer goes; None: who answers is not who was asked, or not any more."""
        desk, wish = self._desk, parked.wish
        login = asked(desk, visit, parked)
        if login is None or wish is None:
            return None
        detail = {
            "act": "consent.allow" if is_allowed else "consent.deny",
            "client": wish.client.id,
            "client_name": words.name_of(wish.client),
            "redirect": words.place_of(wish.redirect_uri),
            "resource": wish.resource,
            "scopes": list(wish.scopes),
        }
        # before anything is granted: what the log does not take is not given
        await desk.journal.event("auth", f"user:{login.user.name}", "done", None, detail)
        if not is_allowed:
            return _checked(wish, desk.server.refused(wish))
        login = asked(desk, visit, parked)  # it may have ended while the log was written
        return None if login is None else _checked(wish, await desk.server.granted(wish, login, wish.scopes))

    def _back(self, parked: Parked) -> Response:
        location = parked.again(self._desk.clock())
        if location is None or parked.wish is None:
            return answered(parked)
        place, app = words.place_of(parked.wish.redirect_uri), words.name_of(parked.wish.client)
        return page("back", None, location=location, place=place, app=app)


def asked(desk: Desk, visit: Visit, parked: Parked) -> Login | None:
    """The login that the consent page was shown to, if it stands and is fresh enough."""
    login = standing(desk, visit)
    if login is None or parked.browser != visit.key or parked.shown_to != login.user.id:
        return None
    return None if is_login_needed(desk, parked, login) else login


def _checked(wish: Wish, location: str) -> str:
    """The address that the page sends the browser to: the client's own, and nothing that a browser would run."""
    goal, meant = urlsplit(location), urlsplit(wish.redirect_uri)
    if goal[:3] != meant[:3] or goal.scheme in _RUNNING:
        raise ValueError("the answer does not go where the client asked for it")
    return location


def _unfit(why: str) -> Response:
    text = why[:1].upper() + why[1:] + ("" if why.endswith(".") else ".")
    return error(
        400,
        "This request cannot be answered",
        text,
        "Go back to your app and connect again. If this page comes back, remove the hub from the app and add it anew.",
    )
