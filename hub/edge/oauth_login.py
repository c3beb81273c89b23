"""Logging in and out, and the first user of all. Owns the login page and what it says to failures."""

from __future__ import annotations

import re
from dataclasses import replace
from math import ceil
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.edge import oauth_words as words
from hub.edge.browser import Browsers, Visit
from hub.edge.oauth_forms import address_of, form_of, is_from_here, once, query_of
from hub.edge.oauth_pages import error, page, to
from hub.edge.oauth_parked import HALF_S, Half, Parked
from hub.edge.oauth_ports import Desk, NotIn
from hub.identity.oauth.asked import Login, Wish

_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_NAME_LENGTH: Final = 128
PASSWORD_LENGTH: Final = 1024  # the rule for new ones is stricter; this bounds what is hashed
_CODE_LENGTH: Final = 128

_WRONG: Final = "That name and password do not go together. Check both and try again."
_OTP_WRONG: Final = "That code is not the right one. Wait for the next code of your app and type it here."
APART: Final = "The two passwords are not the same. Type both again."


class LoginPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        query = dict(query_of(request) or [])
        parked = parked_of(desk, visit, query.get("w", ""))
        if parked is None or parked.location is not None:
            return lost() if parked is None else answered(parked)
        if desk.sso is None and not desk.users.any():
            return page("nobody", visit, w=parked.id)
        login = standing(desk, visit)
        if login is not None and not is_login_needed(desk, parked, login):
            return to(f"{parked.then}?w={parked.id}", visit)
        if "again" in query:
            parked.half = None
        elif desk.sso is not None and not desk.sso.password_login:
            # by a page and no redirect: what led here may have been a form, and Chromium holds those to form-action
            return page("onward", visit, w=parked.id, sso=desk.sso.title)
        return self._page(visit, parked, again="again" in query)

    async def log_in(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        fields = await own_form(desk, request, visit)
        if isinstance(fields, Response):
            return fields
        parked = parked_of(desk, visit, fields.get("w", ""))
        if parked is None:
            # a second click on the button, whose first one has logged in already: the page itself knows
            return to(f"/oauth/login?w={fields['w']}") if _ID.fullmatch(fields.get("w", "")) else lost()
        if parked.location is not None:
            return answered(parked)
        if desk.sso is not None and not desk.sso.password_login:
            return to(f"/oauth/login?w={parked.id}", visit)
        found = await self._check(parked, fields, address_of(request))
        if found is None:
            return self._page(visit, parked, 400, error="Type your name and your password.")
        if not isinstance(found, Login):
            return await self._failed(visit, parked, found, address_of(request), fields.get("name", ""))
        return await logged_in(desk, visit, parked, found, address_of(request))

    async def log_out(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        fields = await own_form(desk, request, visit)
        if isinstance(fields, Response):
            return fields
        after = desk.browsers.log_out(visit)
        desk.waiting.move(visit.key, after.key)
        parked = parked_of(desk, after, fields.get("w", ""))
        if parked is None:
            return page("out", after)
        again = "" if desk.sso is None else "&again=1"  # else the provider logs the same person in unasked
        return to(f"/oauth/login?w={parked.id}{again}", after)

    async def _check(self, parked: Parked, fields: dict[str, str], address: str) -> Login | NotIn | None:
        """None: nothing was typed. The one-time code goes with the password that was typed before it."""
        half, now = parked.half, self._desk.clock()
        if "otp" in fields and half is not None and now < half.until:
            otp = "".join(fields["otp"].split())[:16]
            return await self._desk.users.check(half.name, half.password, otp, address)
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        if not name or not password:
            return None
        found = await self._desk.users.check(name[:_NAME_LENGTH], password[:PASSWORD_LENGTH], None, address)
        is_half = not isinstance(found, Login) and found.kind == "otp_needed"
        parked.half = Half(name, password, now + HALF_S) if is_half else None
        return found

    async def _failed(self, visit: Visit, parked: Parked, found: NotIn, address: str, name: str) -> Response:
        if found.kind == "otp_needed":
            return self._page(visit, parked)
        if found.kind == "wait":
            wait_s = max(1, ceil(found.wait_s))
            told = f"Too many attempts. Wait {span(wait_s)}, then try again."
            return self._page(visit, parked, 429, error=told, headers={"retry-after": str(wait_s)})
        is_code = found.kind == "otp_wrong"
        row = self._desk.users.find(parked.half.name if is_code and parked.half else name.strip()[:_NAME_LENGTH])
        # what is no user's name may be a password that was typed into the wrong field
        detail = {"act": "login", "address": address, "user": row.name if row else None, "wrong": found.kind}
        await self._desk.journal.event("auth", "anonymous", "denied:unauthenticated", None, detail)
        if is_code:
            return self._page(visit, parked, 403, error=_OTP_WRONG)
        return self._page(visit, parked, 403, error=_WRONG, name=words.plain(name, _NAME_LENGTH))

    def _page(
        self,
        visit: Visit,
        parked: Parked,
        status: int = 200,
        *,
        error: str = "",
        name: str = "",
        again: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Response:
        half = parked.half
        if half is not None and self._desk.clock() >= half.until:
            half = parked.half = None
        template = "login" if half is None else "otp"
        sso = self._desk.sso
        shown = {"w": parked.id, "error": error, "name": name if half is None else half.name, "again": again}
        shown |= {"sso": "" if sso is None else sso.title, "own": sso is None or sso.password_login}
        app = "" if parked.wish is None else words.name_of(parked.wish.client)
        shown["server"] = "" if parked.connecting is None else words.plain(parked.connecting.server)
        return page(template, visit, status, headers, app=app, then=parked.then, **shown)


class WelcomePages:
    """The first user, made by whoever holds the link that the hub printed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        visit = self._desk.browsers.visit(request.cookies)
        code = dict(query_of(request) or []).get("code", "")
        return _settled() if self._desk.users.any() else self._page(visit, code)

    async def make(self, request: Request) -> Response:
        desk = self._desk
        visit = desk.browsers.visit(request.cookies)
        fields = await own_form(desk, request, visit)
        if isinstance(fields, Response):
            return fields
        if desk.users.any():
            return _settled()
        code, name, password = (fields.get(field, "") for field in ("code", "name", "password"))
        name = name.strip()[:_NAME_LENGTH]
        if password != fields.get("again", ""):
            return self._page(visit, code, 400, APART, name)
        try:
            row = await desk.users.accept(code[:_CODE_LENGTH], name, password[:PASSWORD_LENGTH])
        except ValueError as exc:
            return self._page(visit, code, 400, sentence(str(exc)), name)
        detail = {"act": "users.first", "address": address_of(request)}
        try:
            await desk.journal.event("auth", f"user:{row.name}", "done", None, detail)
        except Exception:  # whatever failed: a user that is not in the log must not stay
            await desk.users.put_back(row, None)
            raise
        after = desk.browsers.log_in(visit, Login(row, desk.clock(), "password"))
        desk.waiting.move(visit.key, after.key)
        return page("welcomed", after, name=row.name, address=f"{desk.resources.issuer}/mcp")

    def _page(self, visit: Visit, code: str, status: int = 200, error: str = "", name: str = "") -> Response:
        return page("welcome", visit, status, code=code[:_CODE_LENGTH], error=error, name=name)


async def logged_in(desk: Desk, visit: Visit, parked: Parked, login: Login, address: str) -> Response:
    """The user is logged in with this browser, for what it waits for."""
    detail = {"act": "login", "address": address, "strength": login.strength}
    if parked.wish is not None:
        detail["client"] = parked.wish.client.id
    # before any wait, so that an end of this user's access ends it; the browser learns its cookie after the log
    after = desk.browsers.log_in(visit, login)
    await desk.journal.event("auth", f"user:{login.user.name}", "done", None, detail)
    desk.waiting.move(visit.key, after.key)
    parked.browser, parked.shown_to, parked.half, parked.is_fresh = after.key, None, None, True
    return to(f"{parked.then}?w={parked.id}", after)


def parked_of(desk: Desk, visit: Visit, id: str, then: str | None = None) -> Parked | None:
    """What waits under this id for this browser; with `then`, only for that page."""
    parked = desk.waiting.find(id, visit.key) if _ID.fullmatch(id) else None
    return parked if parked is None or then in (None, parked.then) else None


def standing(desk: Desk, visit: Visit) -> Login | None:
    """Who is logged in, as the user is now; None when that is nobody, or somebody who may not be any more."""
    if visit.login is None or not desk.browsers.holds(visit):
        return None
    row = desk.users.by_id(visit.login.user.id)
    return None if row is None or row.disabled_at is not None else replace(visit.login, user=row)


def is_login_needed(desk: Desk, parked: Parked, login: Login) -> bool:
    """Whether the client asked for more than the login that stands: one made for this wish always does."""
    wish = parked.wish
    return wish is not None and not parked.is_fresh and is_too_old(wish, login, desk.clock())


def is_too_old(wish: Wish, login: Login, now: float) -> bool:
    """Whether the client will not have a login from before, or not one of that age."""
    return "login" in wish.prompt or (wish.max_age_s is not None and now - login.at > wish.max_age_s)


async def own_form(desk: Desk, request: Request, visit: Visit) -> dict[str, str] | Response:
    """The fields of a form that this browser was shown, or the page that says why not."""
    return await shown_form(desk.browsers, desk.resources.issuer, request, visit)


async def shown_form(browsers: Browsers, issuer: str, request: Request, visit: Visit) -> dict[str, str] | Response:
    """As `own_form`, of a hub that may have no login."""
    form = await form_of(request)
    fields = None if isinstance(form, str) else once(form)
    if fields is None:
        status = 413 if form == "too_large" else 400
        return error(
            status, "That form could not be read", "It was too large or not complete.", "Go back and try again."
        )
    if not is_from_here(request, issuer) or not browsers.is_ours(visit, fields.get("csrf", "")):
        return error(
            403,
            "This page was out of date",
            "It was opened before you logged in or out, or your browser keeps no cookies for this hub.",
            "Go back, load the page again, and try once more.",
        )
    return fields


def lost() -> Response:
    return error(
        400,
        "Nothing is waiting here",
        "The request has expired, the hub was started again, or it was begun in another browser.",
        "Go back to your app and connect again.",
    )


def answered(parked: Parked) -> Response:
    return page("answered", None, app="" if parked.wish is None else words.name_of(parked.wish.client))


def _settled() -> Response:
    return error(
        409,
        "This hub has been set up already",
        "The link makes the first user only, and there is one.",
        "Ask an administrator for a user of your own, or connect with your app to log in.",
    )


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def span(seconds: int) -> str:
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = ceil(seconds / 60)
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
