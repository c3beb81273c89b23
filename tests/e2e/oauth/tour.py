"""Everything that a person can be shown, one page after the other, with the browser standing there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from time import time
from typing import Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.e2e.oauth.browser import Chromium, Person
from tests.e2e.oauth.callback import Callback, callback
from tests.e2e.oauth.connect_tour import connect_places
from tests.e2e.oauth.login_hub import NAME, PASSWORD, LoginHub, login_hub
from tests.e2e.oauth.seen import Place

# An app that no browser here can open: the page that goes back to it stays to be seen.
NATIVE: Final = "com.example.editor:/callback"
LEFT_OUT: Final = {
    "layout": "of which the others are made",
    "forms": "of which the others are made",
    "onward": "of a hub where people log in at another provider",
    "sso": "of a hub where people log in at another provider",
}
"""Templates that the tour has no page of."""

FORM: Final = "application/x-www-form-urlencoded"


@contextmanager
def empty_hub(folder: Path, listen: str = "127.0.0.1:0") -> Iterator[LoginHub]:
    with login_hub(folder, with_user=False, listen=listen) as hub:
        yield hub


def places(hub: LoginHub, browser: Chromium) -> Iterator[tuple[Place, Person]]:
    """From a hub without a user to one where much has happened; each with who stands there."""
    ada, grace, native = browser.person(NAME), browser.person("grace"), browser.person("with a native app")
    for place in _first_user(hub, ada):
        yield place, ada
    with callback() as app:
        for place in _consent(hub, ada, app):
            yield place, ada
    for place in _native(hub, native):
        yield place, native
    native.close()  # Chromium goes on asking it which program is to open the app
    for place in chain(_devices(hub, ada), _account(hub, ada)):
        yield place, ada
    for place in _one_time_codes(hub, grace):
        yield place, grace
    ada.close()
    grace.close()
    yield from connect_places(browser)


def _first_user(hub: LoginHub, person: Person) -> Iterator[Place]:
    app = hub.register(NATIVE, "Ada's editor")
    person.goto(hub.authorize_url(app, NATIVE))
    person.see("No user yet")
    yield Place("nobody")
    link = json.loads(hub.verb("users", "invite", "--json"))["url"]
    person.goto(link)
    person.see("Welcome")
    yield Place("welcome")
    for field, text in (("name", NAME), ("password", PASSWORD), ("again", "something else again")):
        person.fill(field, text)
    person.press("Make the user")
    person.see("Welcome")
    yield Place("welcome", "wrong")
    for field in ("password", "again"):
        person.fill(field, PASSWORD)
    person.press("Make the user")
    person.see("You are logged in")
    yield Place("welcomed")
    person.press("Log out")
    person.see("Logged out")
    yield Place("out")
    person.goto(link)
    person.see("This hub has been set up already")
    yield Place("error")


def _consent(hub: LoginHub, person: Person, app: Callback) -> Iterator[Place]:
    editor = hub.register(app.url, "Ada's editor")
    person.goto(hub.authorize_url(editor, app.url))
    person.see("Log in")
    yield Place("login")
    person.fill("name", NAME)
    person.fill("password", "not the password")
    person.press("Log in")
    person.see("Log in")
    yield Place("login", "wrong")
    person.fill("password", PASSWORD)
    person.press("Log in")
    person.see("Allow access?")
    yield Place("consent")
    consent = person.url()
    person.press("Allow")
    status, tokens = hub.redeem(editor, app.url, app.wait()["code"])
    assert status == 200, tokens
    person.arrive(r"/callback\?")
    person.goto(consent)
    person.see("Answered already")
    yield Place("answered")
    scopes = "mcp:server:echo mcp:tool:echo__* admin audit:read offline_access"
    console = hub.register(app.url, "An app with a name that is so long that no page on a telephone has room for it")
    person.goto(hub.authorize_url(console, app.url, scope=scopes))
    person.see("Allow access?")
    yield Place("consent", "far-reaching")
    person.press("Deny")
    person.arrive(r"/callback\?")
    person.goto(f"{hub.issuer}/oauth/authorize?client_id=nobody")
    person.see("This request cannot be answered")
    yield Place("error", "unfit")


def _native(hub: LoginHub, person: Person) -> Iterator[Place]:
    editor = hub.register(NATIVE, "Ada's editor")
    person.log_in(hub.authorize_url(editor, NATIVE), NAME, PASSWORD)
    person.press("Allow")
    person.see("Back to your app")
    yield Place("back")


def _devices(hub: LoginHub, person: Person) -> Iterator[Place]:
    wish = {
        "client_name": "A television",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "redirect_uris": [NATIVE],
        "token_endpoint_auth_method": "none",
    }
    status, client = hub.post("/oauth/register", json.dumps(wish).encode(), "application/json")
    assert status == 201, client
    for answer, heading in (("Allow", "The device is let in"), ("Deny", "Denied")):
        form = urlencode({"client_id": client["client_id"], "resource": hub.url})
        status, device = hub.post("/oauth/device_authorization", form.encode(), FORM)
        assert status == 200, device
        person.goto(device["verification_uri"])
        person.see("Connect a device")
        if answer == "Allow":
            yield Place("device")
            person.fill("user_code", "BBBB-BBBB")
            person.press("Continue")
            person.see("Connect a device")
            yield Place("device", "wrong")
        person.fill("user_code", device["user_code"])
        person.press("Continue")
        person.see("Let this device in?")
        if answer == "Allow":
            yield Place("device_consent")
        person.press(answer)
        person.see(heading)
        yield Place("device_done", "" if answer == "Allow" else "denied")


def _account(hub: LoginHub, person: Person) -> Iterator[Place]:
    person.goto(f"{hub.issuer}/oauth/account")
    person.see("Your page")
    yield Place("account")
    person.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    yield Place("account", "open")
    person.fill("codes-password", "not the password")
    person.press("Show me a secret for my app")
    person.see("Your page")
    yield Place("account", "wrong")


def _one_time_codes(hub: LoginHub, person: Person) -> Iterator[Place]:
    hub.add_user("grace", PASSWORD)
    person.goto(f"{hub.issuer}/oauth/account")
    _log_in(person, "grace", "Your page")
    person.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    person.fill("codes-password", PASSWORD)
    person.press("Show me a secret for my app")
    person.see("One-time codes")
    secret = person.run("document.querySelector('pre.secret').innerText")
    person.run("document.querySelector('details').open = true")
    yield Place("account_codes")
    person.fill("otp", code_at(secret, time()))
    person.press("Turn one-time codes on")
    person.see("Your page")
    person.press("Log out")
    person.see("Logged out")
    person.goto(f"{hub.issuer}/oauth/account")
    _log_in(person, "grace", "One-time code")
    yield Place("otp")
    person.fill("otp", code_at(secret, time() - 3000))
    person.press("Continue")
    person.see("One-time code")
    yield Place("otp", "wrong")
    person.fill("otp", code_at(secret, time() + 30))  # the next one: the code of now has been used
    person.press("Continue")
    person.see("Your page")
    yield Place("account", "codes")


def _log_in(person: Person, name: str, heading: str) -> None:
    person.see("Log in")
    person.fill("name", name)
    person.fill("password", PASSWORD)
    person.press("Log in")
    person.see(heading)


def code_at(secret: str, at: float) -> str:
    """What an authenticator app shows then."""
    letters = re.sub(r"\s", "", secret)
    key = base64.b32decode(letters + "=" * (-len(letters) % 8))
    return TOTP(key, 6, SHA1(), 30).generate(int(at)).decode()
