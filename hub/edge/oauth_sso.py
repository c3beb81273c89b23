"""Logging in at the company's provider: to it, and back.

Both ways belong to one browser and one waiting request. Whoever lures somebody to the provider finds that the answer is
not theirs, and whoever brings an answer to another browser finds that nobody there waits for it.
"""

from __future__ import annotations

import hmac
from math import ceil
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.edge.browser import Visit
from hub.edge.logins import network_of
from hub.edge.oauth_forms import address_of, once, query_of
from hub.edge.oauth_login import answered, is_login_needed, logged_in, lost, parked_of, span, standing
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import Parked
from hub.edge.oauth_ports import Desk, SignOn
from hub.identity.oauth.provider import SsoFailed
from hub.identity.oauth.sso import Arrived
from hub.identity.throttle import Buckets, Rate

BEGUN: Final = Rate(20, 20)  # logins of one network

_WORDS: Final = {  # title, what happened, what to do
    "unreachable": (
        502,
        "{0} does not answer",
        "The login of {0} could not be reached, or did not answer as it should.",
        "Try again in a few minutes. If it stays so, tell the hub's administrator: its log says what failed.",
    ),
    "refused": (
        403,
        "{0} did not log you in",
        "The login was cancelled there, or you may not use this hub by it.",
        "Try again, or ask whoever looks after {0} whether you may use this hub.",
    ),
    "unfit": (
        403,
        "That login could not be used",
        "What {0} answered is not good for this login.",
        "Try again. If it stays so, tell the hub's administrator: its log says what was wrong.",
    ),
    "unknown": (
        403,
        "You are no user of this hub",
        "{0} knows you, and this hub does not.",
        "Ask an administrator of this hub to make a user for you.",
    ),
    "disabled": (
        403,
        "Your user is disabled",
        "{0} knows you, and your user at this hub may not log in any more.",
        "Ask an administrator of this hub if that is a mistake.",
    ),
    "nothing": (
        403,
        "You may do nothing here",
        "{0} knows you, and gives you no role at this hub.",
        "Ask whoever looks after {0} for access to this hub.",
    ),
}


class SsoPages:
    def __init__(self, desk: Desk, sso: SignOn) -> None:
        self._desk, self._sso = desk, sso
        self._begun = Buckets(desk.clock)

    async def begin(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        query = dict(query_of(request) or [])
        parked = parked_of(desk, visit, query.get("w", ""))
        if parked is None or parked.location is not None:
            return lost() if parked is None else answered(parked)
        login = standing(desk, visit)
        if login is not None and not is_login_needed(desk, parked, login):
            return to(f"{parked.then}?w={parked.id}", visit)
        if wait_s := self._wait(address_of(request)):
            return _busy(wait_s)
        wish = parked.wish
        again = "again" in query or (wish is not None and "login" in wish.prompt)
        try:
            begun = await self._sso.begin(parked.id, again=again, max_age_s=None if wish is None else wish.max_age_s)
        except SsoFailed as exc:
            return await self._failed(visit, parked, exc, address_of(request))
        parked.sso = begun  # an earlier one is void
        return to(begun.location, visit)

    async def callback(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        answer = once(query_of(request) or [])
        state = (answer or {}).get("state", "")
        parked = parked_of(desk, visit, state.partition(".")[0])
        if answer is None or parked is None:
            return lost()
        if parked.location is not None:
            return answered(parked)
        begun = parked.sso
        if begun is None or not hmac.compare_digest(begun.state.encode(), state.encode()):
            login = standing(desk, visit)
            if login is not None and not is_login_needed(desk, parked, login):  # the answer once more, by a reload
                return to(f"{parked.then}?w={parked.id}", visit)
            return self._page(visit, parked, "unfit")
        parked.sso = None  # before any wait: one answer to each
        try:
            arrived = await self._sso.finish(begun, answer)
            await self._take(arrived, address_of(request))
        except SsoFailed as exc:
            return await self._failed(visit, parked, exc, address_of(request))
        return await logged_in(desk, visit, parked, arrived.login, address_of(request))

    def _wait(self, address: str) -> float:
        """Seconds to wait: each login that is begun may have the provider asked once."""
        key = ("sso", network_of(address))
        if wait_s := self._begun.wait(key, BEGUN):
            return wait_s
        self._begun.take(key, BEGUN)
        return 0.0

    async def _take(self, arrived: Arrived, address: str) -> None:
        """Log what the login made of the user, or undo it. Raises SsoFailed when that may not log in."""
        row, before = arrived.login.user, arrived.before
        if row != before:
            detail = {
                "act": "users.sso",
                "address": address,
                "created": before is None,
                "roles": list(row.roles),
                "groups": len(row.groups),
                "issuer": row.issuer,
            }
            try:
                await self._desk.journal.event("auth", f"user:{row.name}", "done", None, detail)
            except Exception:  # whatever failed: what is not in the log must not stay
                await self._desk.users.put_back(row, before)
                raise
        if not row.roles:
            raise SsoFailed("nothing", f"no role of the hub is left for the user {row.name}")

    async def _failed(self, visit: Visit, parked: Parked, exc: SsoFailed, address: str) -> Response:
        detail = {
            "act": "login.sso",
            "address": address,
            "client": None if parked.wish is None else parked.wish.client.id,
            "wrong": exc.kind,
            "why": str(exc)[:300],
        }
        await self._desk.journal.event("auth", "anonymous", "denied:unauthenticated", None, detail)
        return self._page(visit, parked, exc.kind)

    def _page(self, visit: Visit, parked: Parked, kind: str) -> Response:
        status, *texts = _WORDS[kind]
        title, words, next = (text.format(self._sso.title) for text in texts)
        shown = {"title": title, "words": words, "next": next, "w": parked.id, "own": self._sso.password_login}
        return page("sso", visit, status, **shown)


def _busy(wait_s: float) -> Response:
    seconds = max(1, ceil(wait_s))
    return error(
        429,
        "Too many logins were begun",
        "More were begun from your network than can all be yours.",
        f"Wait {span(seconds)}, then try again.",
    )
