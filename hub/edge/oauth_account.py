"""A person's own page: the programs that were let in, one-time codes, and the password.

Everything on it is of the user who is logged in with this browser; no request says whose it is. What would lock its
owner out, or let somebody else in, asks for the password again: a browser may be left open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from hub.core.accounts import GrantRow, UserRow
from hub.core.ports import Conflict
from hub.edge import oauth_words as words
from hub.edge.browser import Visit
from hub.edge.logins import network_of
from hub.edge.oauth_forms import address_of, is_from_here, query_of
from hub.edge.oauth_login import APART, PASSWORD_LENGTH, own_form, sentence, span, standing
from hub.edge.oauth_pages import page, to
from hub.edge.oauth_ports import Desk
from hub.identity.oauth.asked import Login

PAGE: Final = "/oauth/account"
ISSUER: Final = "MCP Hub"
_CODE_LENGTH: Final = 16
_CHANGED: Final = "Your user was changed by somebody else meanwhile. Look at this page, then try again."
_SET_UP: Final = "One-time codes are set up already. Remove them first."
_NO_CODES: Final = "One-time codes are not set up."
_DONE: Final = {  # what a page of before says it did
    "ended": "It is ended: the program is not let in any more.",
    "all": "All are ended: no program is let in any more.",
    "codes": "One-time codes are set up. You are asked for one when you log in the next time.",
    "removed": "One-time codes are removed. You log in by your password alone. Other browsers are logged out.",
    "password": "Your password is changed. Other browsers and all programs have to log in anew.",
}
_WRONG: Final = {
    "wrong": "That is not your password.",
    "otp_wrong": "That code is not the right one. Each is good once: wait for the next code of your app.",
    "otp_needed": "Type the code of your app too.",
}

Answer = Callable[[Visit, Login, dict[str, str], Request], Awaitable[Response]]


class AccountPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.end, self.end_all = self._form(self._end), self._form(self._end_all)
        self.codes, self.confirm, self.remove = map(self._form, (self._codes, self._confirm, self._remove))
        self.password = self._form(self._password)

    async def show(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        login = standing(desk, visit)
        if login is None:
            parked = desk.waiting.park(None, visit.key, network_of(address_of(request)), PAGE)
            return to(f"/oauth/login?w={parked.id}", visit)
        done = dict(query_of(request) or []).get("done", "")
        is_ours = is_from_here(request, desk.resources.issuer)  # a link from elsewhere must not claim what was not done
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
            except Conflict:
                return self._page(visit, login, 409, fault=_CHANGED)

        return handle

    async def _end(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        """One grant, if it is one of this user's; one that has ended already is no fault."""
        ids = [grant.id for grant in self._desk.server.grants_of(login.user.id) if grant.id == fields.get("grant")]
        try:
            await self._desk.server.end(ids, "user")
        finally:  # it is done even where that is not written down yet
            if ids:
                await self._log(login.user, "account.end", request, grants=ids)
        return to(f"{PAGE}?done=ended", visit)

    async def _end_all(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        count = len(self._desk.server.grants_of(login.user.id))
        try:
            await self._desk.server.end_user(login.user.id, "user")
        finally:
            await self._log(login.user, "account.end_all", request, count=count)
        return to(f"{PAGE}?done=all", visit)

    async def _codes(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        """A new secret, which nothing asks for until a code confirms it."""
        if login.user.otp is not None:
            return self._page(visit, login, 409, fault=_SET_UP)
        refused = await self._not_the_owner(visit, login, fields, request)
        if refused is not None:
            return refused
        try:
            secret, uri = self._desk.users.begin_otp(login.user.id, ISSUER)
        except ValueError as exc:
            return self._page(visit, login, 409, fault=sentence(str(exc)))
        return page("account_codes", visit, error="", secret=_grouped(secret), uri=uri)

    async def _confirm(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        if login.user.otp is not None:
            return self._page(visit, login, 409, fault=_SET_UP)
        try:
            made = await self._desk.users.confirm_otp(login.user.id, fields.get("otp", "")[:_CODE_LENGTH])
        except Conflict:
            raise
        except ValueError as exc:
            # the secret is not shown twice: who has not kept it begins again
            return page("account_codes", visit, 400, error=sentence(str(exc)), secret="", uri="")
        await self._logged(login.user, made, "account.codes", request)
        return to(f"{PAGE}?done=codes", visit)

    async def _remove(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        if login.user.otp is None:
            return self._page(visit, login, 409, fault=_NO_CODES)
        code = "".join(fields.get("otp", "").split())[:_CODE_LENGTH]
        refused = await self._not_the_owner(visit, login, fields, request, code)
        if refused is not None:
            return refused
        made = await self._desk.users.reset_otp(login.user.id, login.user.version)
        await self._logged(login.user, made, "account.codes_removed", request)
        return self._anew(visit, made, "removed")

    async def _password(self, visit: Visit, login: Login, fields: dict[str, str], request: Request) -> Response:
        desk, user, new = self._desk, login.user, fields.get("new", "")
        if new != fields.get("again", ""):
            return self._page(visit, login, 400, fault=APART)
        refused = await self._not_the_owner(visit, login, fields, request)
        if refused is not None:
            return refused
        try:
            made = await desk.users.set_password(user.id, new[:PASSWORD_LENGTH], user.version)
        except Conflict:
            raise
        except ValueError as exc:
            return self._page(visit, login, 400, fault=sentence(str(exc)))
        await self._logged(user, made, "account.password", request)
        await desk.server.end_user(user.id, "password")
        return self._anew(visit, made, "password", login)

    def _anew(self, visit: Visit, made: UserRow, done: str, before: Login | None = None) -> Response:
        """Every login of the user has ended with the change; this browser's goes on under a new cookie."""
        now = Login(made, self._desk.clock(), "password") if before is None else replace(before, user=made)
        after = self._desk.browsers.log_in(visit, now)
        self._desk.waiting.move(visit.key, after.key)
        return to(f"{PAGE}?done={done}", after)

    async def _not_the_owner(
        self, visit: Visit, login: Login, fields: dict[str, str], request: Request, code: str | None = None
    ) -> Response | None:
        """The page that says so, unless the password (and with `code`, that too) is this user's."""
        desk, address = self._desk, address_of(request)
        found = await desk.users.check(login.user.name, fields.get("password", "")[:PASSWORD_LENGTH], code, address)
        if isinstance(found, Login) or (found.kind == "otp_needed" and code is None):
            return None
        if found.kind == "wait":
            wait_s = max(1, ceil(found.wait_s))
            told = f"Too many attempts. Wait {span(wait_s)}, then try again."
            return self._page(visit, login, 429, {"retry-after": str(wait_s)}, fault=told)
        if found.kind != "otp_needed":
            detail = {"act": "account.check", "address": address, "wrong": found.kind}
            await desk.journal.event("auth", f"user:{login.user.name}", "denied:unauthenticated", None, detail)
        return self._page(visit, login, 403, fault=_WRONG[found.kind])

    async def _logged(self, before: UserRow, made: UserRow, act: str, request: Request) -> None:
        try:
            await self._log(made, act, request)
        except Exception:  # whatever failed: what is not in the log must not be in force
            await self._desk.users.put_back(made, before)
            raise

    async def _log(self, user: UserRow, act: str, request: Request, **more: object) -> None:
        detail = {"act": act, "address": address_of(request), **more}
        await self._desk.journal.event("auth", f"user:{user.name}", "done", None, detail)

    def _page(
        self,
        visit: Visit,
        login: Login,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        fault: str = "",
        done: str = "",
    ) -> Response:
        user, sso = login.user, self._desk.sso
        shown = {
            "user": user.name,
            "display": words.plain(user.display or ""),
            "roles": user.roles,
            "since": written(login.at),
            "strength": login.strength,
            "programs": [self._program(grant) for grant in reversed(self._desk.server.grants_of(user.id))],
            "has_connections": self._desk.connect is not None,
            "has_codes": user.otp is not None,
            "has_password": user.password is not None and (sso is None or sso.password_login),
        }
        return page("account", visit, status, headers, fault_words=fault, done=done, **shown)

    def _program(self, grant: GrantRow) -> dict[str, Any]:
        return {
            "id": grant.id,
            "name": words.plain(grant.client_name) or "an app without a name",
            "maker": words.host_of(grant.client) if grant.client.startswith("https:") else "",
            "rights": words.rights_of(grant.scopes),
            "door": words.door_of(grant.resource, self._desk.resources),
            "resource": grant.resource,
            "since": written(grant.created_at),
            "used": written(grant.used_at),
        }


def _grouped(secret: str) -> str:
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def written(at_s: float | None) -> str:
    """A moment as people read it, for whoever lives anywhere."""
    if at_s is None:
        return "never"
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
