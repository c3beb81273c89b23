"""The company's login in Chromium, which holds the hub's forms to the hub."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth.browser import Person, chromium
from tests.e2e.oauth.callback import callback
from tests.e2e.oauth_sso.company import World, company_world
from tests.equipment_browser import browser_missing

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("provider")]


def ask(world: World, redirect: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": world.client,
        "redirect_uri": redirect,
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        "state": "s",
    }
    return f"http://127.0.0.1:{world.hub.port}/oauth/authorize?{urlencode(asked)}"


def log_in_there(person: Person, name: str) -> None:
    person.arrive("/interaction/")
    person.run(
        f"document.querySelector('input[name=login]').value = {json.dumps(name)};"
        "document.querySelector('input[name=password]').value = 'any';"
        "document.querySelector('input[name=login]').form.submit()"
    )


@pytest.mark.parametrize("password_login", [True, False])
def test_a_person_logs_in_by_the_company_and_as_somebody_else_after(tmp_path: Path, password_login: bool) -> None:
    if lacks := browser_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    with (
        callback() as app,
        company_world(tmp_path, app.url, password_login=password_login) as world,
        chromium(tmp_path) as browser,
    ):
        person = browser.person("bob")
        person.goto(ask(world, app.url))
        if password_login:
            person.see("Log in")
            assert person.serious() == []
            assert not person.overflows()
            person.run("document.querySelector('a.button').click()")
        log_in_there(person, "c-bob")
        assert "bob" in person.see("Allow access?")
        person.press("Not you?")
        assert ("Or with a name and password" in person.see("Log in")) == password_login
        assert person.serious() == []
        person.run("document.querySelector('a.button').click()")
        log_in_there(person, "c-ada")
        assert "ada@127.0.0.1" in person.see("Allow access?")
        # the user goes while the page is open: the form leads to a login, and on to the company
        users = world.hub.admin.request("GET", "/api/v1/users").json["users"]
        ada = next(user["id"] for user in users if user["name"] == "ada@127.0.0.1")
        assert world.hub.admin.request("POST", f"/api/v1/users/{ada}/disable", {}).status == 200
        person.press("Allow")
        if password_login:
            person.see("Log in")
            person.run("document.querySelector('a.button').click()")
        assert "disabled" in person.see("Your user is disabled")
        assert person.serious() == []
        assert app.arrived == []
        other = browser.person("other")
        other.goto(ask(world, app.url))
        if password_login:
            other.see("Log in")
            other.run("document.querySelector('a.button').click()")
        log_in_there(other, "c-bob")
        other.see("Allow access?")
        other.press("Allow")
        assert app.wait()["state"] == "s"
