"""Where a person lets in a program that has no browser: the code it shows, then the login, then the consent (RFC 8628).

The page tells the danger of it: whoever sends somebody his own code gets in with that person's rights (section 5.4).
So the code alone leads nowhere but to the question, which is asked of one browser and one login and counts once.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.edge import oauth_words as words
from hub.edge.browser import Visit
from hub.edge.logins import network_of
from hub.edge.oauth_consent import ANSWERS, asked
from hub.edge.oauth_forms import address_of, query_of
from hub.edge.oauth_login import answered, lost, own_form, parked_of, span, standing
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import Parked
from hub.edge.oauth_ports import Desk
from hub.identity.oauth.device import NotFound

CONSENT: Final = "/oauth/device/consent"
_CODE_LENGTH: Final = 32
_NO_CODE: Final = "Nothing waits under that code. Compare it letter by letter; it is good for ten minutes, and once."


class DevicePages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        """A link may bring the code; it is still a person who sends the form (section 3.3.1)."""
        code = dict(query_of(request) or []).get("user_code", "")
        return self._page(self._desk.browsers.visit(request.cookies), code)

    async def typed(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        fields = await own_form(desk, request, visit)
        if isinstance(fields, Response):
            return fields
        code, address = fields.get("user_code", ""), address_of(request)
        if not code.strip():
            return self._page(visit, "", 400, "Type the code that your device shows.")
        found = desk.server.device_typed(code[:_CODE_LENGTH], address)
        if isinstance(found, NotFound):
            return await self._not_found(visit, code, found, address)
        parked = desk.waiting.park(found.wish, visit.key, network_of(address), CONSENT, found)
        return to(f"{CONSENT if standing(desk, visit) is not None else '/oauth/login'}?w={parked.id}", visit)

    async def consent(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        parked = parked_of(desk, visit, dict(query_of(request) or []).get("w", ""), CONSENT)
        if parked is None or parked.device is None:
            return lost()
        if parked.location is not None:
            return answered(parked)
        login = standing(desk, visit)
        if login is None:
            return to(f"/oauth/login?w={parked.id}", visit)
        parked.shown_to = login.user.id
        wish = parked.device.wish
        shown = words.asked_of(wish, login, desk.resources)
        return page("device_consent", visit, w=parked.id, code=parked.device.written, **shown)

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
            return to(f"{CONSENT}?w={parked.id}", visit)
        async with parked.busy:  # of two clicks, the second one finds the first one's answer
            if parked.location is None:
                why = await self._decide(visit, parked, fields["answer"] == "allow")
                if why is None:
                    return to(f"{CONSENT}?w={parked.id}", visit)
                parked.location = why
        return self._done(parked, parked.location)

    async def _decide(self, visit: Visit, parked: Parked, is_allowed: bool) -> str | None:
        """What came of it: "allow", "deny", or why nothing did. None: who answers is not who was asked."""
        desk, device, login = self._desk, parked.device, asked(self._desk, visit, parked)
        if login is None or device is None:
            return None
        wish = device.wish
        detail = {
            "act": "device.allow" if is_allowed else "device.deny",
            "client": wish.client.id,
            "client_name": words.name_of(wish.client),
            "resource": wish.resource,
            "scopes": list(wish.scopes),
        }
        # before anything is granted: what the log does not take is not given
        await desk.journal.event("auth", f"user:{login.user.name}", "done", None, detail)
        if not is_allowed:
            desk.server.device_refused(device)
            return "deny"
        login = asked(desk, visit, parked)  # it may have ended while the log was written
        return None if login is None else await desk.server.device_granted(device, login) or "allow"

    def _done(self, parked: Parked, outcome: str) -> Response:
        app = "" if parked.device is None else words.name_of(parked.device.wish.client)
        if outcome in ANSWERS:
            return page("device_done", None, app=app, is_allowed=outcome == "allow")
        text = outcome[:1].upper() + outcome[1:] + "."
        return error(
            409, "Nothing was allowed", text, "Begin again on your device, and type the code that it shows then."
        )

    async def _not_found(self, visit: Visit, code: str, found: NotFound, address: str) -> Response:
        if found.wait_s:
            wait_s = max(1, ceil(found.wait_s))
            told = f"Too many codes were wrong. Wait {span(wait_s)}, then try again."
            return self._page(visit, code, 429, told, {"retry-after": str(wait_s)})
        detail = {"act": "device.code", "address": address}
        await self._desk.journal.event("auth", "anonymous", "denied:unauthenticated", None, detail)
        return self._page(visit, code, 404, _NO_CODE)

    def _page(
        self, visit: Visit, code: str, status: int = 200, error: str = "", headers: dict[str, str] | None = None
    ) -> Response:
        return page("device", visit, status, headers, code=words.plain(code, _CODE_LENGTH), error=error)
