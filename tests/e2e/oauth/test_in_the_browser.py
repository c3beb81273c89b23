"""What a browser does and what others try through one: consent is one person's, in one browser, once."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest

from tests.e2e.oauth.browser import Chromium
from tests.e2e.oauth.callback import Callback
from tests.e2e.oauth.login_hub import NAME, PASSWORD, LoginHub

pytestmark = pytest.mark.e2e

MODERN: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "browser tests", "version": "1"},
}


def test_a_consent_page_is_of_no_use_in_another_browser(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    """A link to a consent that somebody else began must not become that one's way in (CVE-2026-27124)."""
    attacker, victim = browser.person("attacker"), browser.person("victim")
    client = hub.register(app.url, "An honest app")
    attacker.goto(hub.authorize_url(client, app.url, state="of the attacker"))
    attacker.see("Log in")
    parked = urlsplit(attacker.url()).query
    victim.log_in(hub.authorize_url(client, app.url, state="of the victim"), NAME, PASSWORD)
    own = urlsplit(victim.url()).query
    assert own != parked
    for page in ("consent", "login"):
        assert victim.goto(f"{hub.issuer}/oauth/{page}?{parked}") == 400
        assert "begun in another browser" in victim.see("Nothing is waiting here")
    # nor does a form of one's own, made to answer the other's request
    victim.goto(f"{hub.issuer}/oauth/consent?{own}")
    victim.see("Allow access?")
    victim.run(
        "document.querySelectorAll('input[name=w]')"
        f".forEach(field => field.value = {json.dumps(parked.removeprefix('w='))})"
    )
    victim.press("Allow")
    victim.see("Nothing is waiting here")
    # and the attacker, who began it, gets no further than the login
    attacker.goto(f"{hub.issuer}/oauth/consent?{parked}")
    attacker.see("Log in")
    attacker.goto(f"{hub.issuer}/oauth/consent?{own}")
    attacker.see("Nothing is waiting here")
    assert app.arrived == []
    for person in (attacker, victim):
        person.close()


def test_a_link_that_is_opened_asks_and_grants_nothing_by_itself(
    hub: LoginHub, browser: Chromium, app: Callback
) -> None:
    person = browser.person("curious")
    client = hub.register(app.url)
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    person.press("Allow")
    person.see("The app has its answer")
    for more in ({}, {"prompt": "consent"}):
        person.goto(hub.authorize_url(client, app.url, **more))
        person.see("Allow access?")
    assert len(app.arrived) == 1
    person.goto(hub.authorize_url(client, app.url, prompt="none"))
    assert app.wait(2)["error"] == "consent_required"
    person.close()


def test_a_double_click_gives_one_code_and_the_client_its_token(
    hub: LoginHub, browser: Chromium, app: Callback
) -> None:
    person = browser.person("quick")
    client = hub.register(app.url)
    before = len(hub.sessions())
    person.log_in(hub.authorize_url(client, app.url, state="twice"), NAME, PASSWORD)
    person.press("Allow", times=2)
    person.see("The app has its answer")
    answer = app.wait()
    assert (answer["state"], answer["iss"]) == ("twice", hub.issuer)
    assert {one["code"] for one in app.arrived} == {answer["code"]}
    status, tokens = hub.redeem(client, app.url, answer["code"])
    assert status == 200
    assert called(hub, tokens["access_token"], "once")[0] == 200
    assert len(hub.sessions()) == before + 1
    person.close()


def test_a_form_that_is_sent_twice_at_once_is_answered_alike(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    """Both clicks reach the hub: what a browser sends twice without a page between."""
    person = browser.person("impatient")
    client = hub.register(app.url)
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    (cookie,) = person.cookies()
    fields = person.run("""[...new FormData(document.querySelector('form[action="/oauth/consent"]'))]""")
    body = urlencode([*map(tuple, fields), ("answer", "allow")])
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"{cookie['name']}={cookie['value']}"}

    def send(_: int) -> str:
        connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
        try:
            connection.request("POST", "/oauth/consent", body, headers)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    before = len(hub.sessions())
    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(send, range(2)))
    assert sent[0] == sent[1]
    assert "Back to your app" in sent[0]
    codes = {code for page in sent for code in re.findall(r"[?&;]code=([\w-]+)", page)}
    assert len(codes) == 1
    assert hub.redeem(client, app.url, codes.pop())[0] == 200
    assert len(hub.sessions()) == before + 1
    person.close()


def test_back_after_an_answer_leads_to_no_second_one(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    person = browser.person("going back")
    client = hub.register(app.url)
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    consent = person.url()
    person.press("Allow")
    person.see("The app has its answer")
    first = app.wait()["code"]
    assert hub.redeem(client, app.url, first)[0] == 200
    person.back()
    assert "an answer counts once" in person.see("Answered already")
    person.goto(consent)
    assert "an answer counts once" in person.see("Answered already")
    assert {one["code"] for one in app.arrived} == {first}
    person.close()


def test_a_login_that_came_later_does_not_take_over_a_consent_that_was_shown_to_another(
    hub: LoginHub, browser: Chromium, app: Callback
) -> None:
    hub.add_user("grace", "another long walk by the sea")
    person = browser.person("shared")
    client = hub.register(app.url)
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    assert "ada" in person.text()
    person.press("Not you?")
    person.see("Log in")
    person.fill("name", "grace")
    person.fill("password", "another long walk by the sea")
    person.press("Log in")
    assert "grace" in person.see("Allow access?")
    person.press("Allow")
    assert "code" in app.wait()
    status, _ = hub.redeem(client, app.url, app.arrived[0]["code"])
    assert status == 200
    assert len(hub.sessions("grace")) == 1
    person.close()


def test_a_frame_on_anybodys_page_shows_nothing(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    person, elsewhere = browser.person("framed"), browser.person("elsewhere")
    client = hub.register(app.url)
    url = hub.authorize_url(client, app.url)
    person.log_in(url, NAME, PASSWORD)
    page = app.url.removesuffix("callback") + "elsewhere"
    assert "The app has its answer" in elsewhere.framed(app.url, page)["text"], "frames do show what may be framed"
    for who, address in ((person, person.url()), (elsewhere, url)):
        framed = who.framed(address, page)
        assert framed["url"].startswith("chrome-error:")
        assert "Allow access?" not in framed["text"]
        assert "Log in" not in framed["text"]
    for one in (person, elsewhere):
        one.close()


def test_no_script_runs_on_a_page_whatever_a_client_calls_itself(
    hub: LoginHub, browser: Chromium, app: Callback
) -> None:
    person = browser.person("reading")
    client = hub.register(app.url, "<script>document.title='taken'</script><img src=x onerror=\"document.title='t'\">")
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    assert "<script>" in person.text()
    assert person.run("[document.title, document.scripts.length, document.images.length]") == [
        "Allow access? · MCP Hub",
        0,
        0,
    ]
    person.close()


def test_the_cookie_is_for_the_hub_alone(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    person = browser.person("with a cookie")
    client = hub.register(app.url)
    person.goto(hub.authorize_url(client, app.url))
    person.see("Log in")
    (before,) = person.cookies()
    person.fill("name", NAME)
    person.fill("password", PASSWORD)
    person.press("Log in")
    person.see("Allow access?")
    (after,) = person.cookies()
    assert after["value"] != before["value"], "what was known before the login opens nothing after it"
    assert after["httpOnly"]
    assert after["sameSite"] in ("Lax", "Strict")
    assert person.run("document.cookie") == ""
    assert person.run("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
    person.close()


def test_nothing_that_opens_the_hub_goes_to_a_server(hub: LoginHub, browser: Chromium, app: Callback) -> None:
    person = browser.person("canary")
    client = hub.register(app.url, "client-name-canary")
    person.log_in(hub.authorize_url(client, app.url, state="state-canary"), NAME, PASSWORD)
    person.press("Allow")
    code = app.wait()["code"]
    _, tokens = hub.redeem(client, app.url, code)
    hub.downstream.heard.clear()
    status, answer = called(hub, tokens["access_token"], "canary-of-the-call", **{"X-Api-Key": tokens["access_token"]})
    assert (status, answer["result"]["content"][0]["text"]) == (200, "canary-of-the-call")
    heard = hub.downstream.everything()
    assert "canary-of-the-call" in heard
    (cookie,) = person.cookies()
    secrets = [tokens["access_token"], tokens["refresh_token"], code, cookie["value"], PASSWORD, "state-canary"]
    signature = tokens["access_token"].rpartition(".")[2]
    for secret in (*secrets, signature, client):
        assert secret not in heard
    assert "authorization" not in heard.lower()
    for secret in (*secrets, signature):
        assert secret not in hub.log
    person.close()


def test_tokens_stop_at_the_end_of_a_login_with_the_way_to_a_new_one(
    hub: LoginHub, browser: Chromium, app: Callback
) -> None:
    person = browser.person("leaving")
    client = hub.register(app.url)
    person.log_in(hub.authorize_url(client, app.url), NAME, PASSWORD)
    person.press("Allow")
    _, tokens = hub.redeem(client, app.url, app.wait()["code"])
    with ThreadPoolExecutor(4) as pool:
        assert {status for status, _ in pool.map(lambda n: called(hub, tokens["access_token"], str(n)), range(8))} == {
            200
        }
    hub.log_out()
    status, answer = called(hub, tokens["access_token"], "late")
    assert status == 401
    assert answer["www-authenticate"].startswith("Bearer ")
    assert f'resource_metadata="{hub.issuer}/.well-known/oauth-protected-resource' in answer["www-authenticate"]
    person.close()


def called(hub: LoginHub, token: str, text: str, **more: str) -> tuple[int, dict[str, Any]]:
    """The status of one call of the echo tool, and its answer; or the headers where there is none to read."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    params = {"name": "echo__echo", "arguments": {"text": text}, "_meta": META}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {token}",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "echo__echo",
        **more,
    }
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        connection.request("POST", "/mcp", json.dumps({**body, "params": params}), headers)
        response = connection.getresponse()
        said = response.read()
        if response.status != 200:
            return response.status, {name.lower(): value for name, value in response.getheaders()}
        return 200, json.loads(said)
    finally:
        connection.close()
