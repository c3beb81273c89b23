"""The company's login on the hub's pages: one browser, one request, one answer."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from hub.edge.oauth import oauth_app, resource_app
from hub.identity.oauth.resources import Resources
from tests.edge.oauth.place import BASE, PASSWORD, Browser, Page, Place, told
from tests.identity.oauth.upstream import SECRET, Upstream

Company = tuple[Place, Upstream]


@asynccontextmanager
async def company(**settings: Any) -> AsyncIterator[Company]:
    place = Place()
    async with Upstream({"title": "Corp & Co", **settings}, users=place.users) as upstream:
        place.app = oauth_app(
            *(place.server, place.users, place.resources, place.journal),
            secure=True,
            sso=upstream.sso,
            clock=place.clock,
        )
        yield place, upstream


def button(page: Page) -> str:
    found = re.search(r'<a class="button" href="([^"]*)"', page.source)
    assert found is not None, page.text
    return html.unescape(found[1])


async def sent(browser: Browser, **query: str) -> str:
    """Where the button of the login page sends the browser."""
    return (await browser.get(button(await browser.ask(**query)))).to


async def back(browser: Browser, upstream: Upstream, location: str, **changed: str) -> Page:
    return await browser.get(f"/oauth/sso/callback?{urlencode({**upstream.logged_in(location), **changed})}")


def acts(place: Place) -> list[tuple[str, str, str]]:
    return [(detail["act"], who, outcome) for _, who, outcome, detail in place.journal.events]


async def test_the_button_leads_to_the_provider_and_its_answer_to_the_consent() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        page = await browser.ask()
        assert "Log in with Corp & Co" in page.text
        assert "Corp &amp; Co" in page.source
        assert 'name="password"' in page.source
        location = (await browser.get(button(page))).to
        assert location.startswith(f"{upstream.idp.url}/authorize?")
        before = browser.cookie()
        shown = await back(browser, upstream, location)
        assert shown.title.startswith("Allow access?")
        assert "Logged in as grace" in shown.text
        assert browser.cookie() != before  # one that was planted before is worth nothing
        assert told((await browser.answer(shown)).leads_to)["code"] == "code-1"
        ((_, login, _),) = place.server.granted_to
        assert (login.user.name, login.strength) == ("grace", "sso")
        assert acts(place) == [
            ("users.sso", "user:grace", "done"),
            ("login", "user:grace", "done"),
            ("consent.allow", "user:grace", "done"),
        ]
        for secret in ("code-1", SECRET, parse_qs(urlsplit(location).query)["state"][0]):
            assert secret not in repr(place.journal.events)


async def test_a_second_login_of_the_same_person_changes_nothing_and_logs_no_change() -> None:
    async with company() as (place, upstream):
        for _ in range(2):
            browser = place.browser()
            await back(browser, upstream, await sent(browser))
        assert [act for act, *_ in acts(place)] == ["users.sso", "login", "login"]
        assert len(place.users.rows()) == 1


async def test_a_victim_does_not_finish_what_an_attacker_began() -> None:
    """FastMCP CVE-2026-27124: the victim, lured to the provider by the attacker's link, comes back with a code."""
    async with company() as (place, upstream):
        attacker, victim = place.browser(), place.browser()
        await victim.ask()
        location = await sent(attacker)
        lured = await back(victim, upstream, location)
        assert lured.status == 400
        assert "begun in another browser" in lured.text
        assert upstream.forms == []  # the code was not even redeemed
        assert (await victim.ask()).title.startswith("Log in")
        assert (await attacker.ask()).title.startswith("Log in")


async def test_a_victim_is_not_logged_in_as_the_attacker() -> None:
    """The other direction: the attacker's own answer, brought to the victim's browser."""
    async with company() as (place, upstream):
        attacker, victim = place.browser(), place.browser()
        mine = await sent(attacker)
        theirs = await sent(victim)
        answer = upstream.logged_in(mine)
        assert (await victim.get(f"/oauth/sso/callback?{urlencode(answer)}")).status == 400
        own = parse_qs(urlsplit(theirs).query)["state"][0].partition(".")[0]
        for state in (f"{own}.{answer['state'].partition('.')[2]}", own, f"{own}.", f"{own}.ü"):
            forged = await victim.get(f"/oauth/sso/callback?{urlencode({**answer, 'state': state})}")
            assert (forged.status, forged.title[:10]) == (403, "That login")
        assert upstream.forms == []
        assert (await back(victim, upstream, theirs)).title.startswith("Allow access?")  # its own login still counts


async def test_an_answer_counts_once_and_a_reload_finds_the_login() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        location = await sent(browser)
        await back(browser, upstream, location)
        again = await back(browser, upstream, location)
        assert again.title.startswith("Allow access?")
        assert len(upstream.forms) == 1
        upstream.more = {"nonce": "n"}
        other = place.browser()
        location = await sent(other)
        assert (await back(other, upstream, location)).status == 403
        upstream.more = {}
        assert (await back(other, upstream, location)).status == 403
        assert len(upstream.forms) == 2


async def test_a_login_that_was_begun_anew_makes_the_first_one_void() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        link = button(await browser.ask())
        first, second = (await browser.get(link)).to, (await browser.get(link)).to
        assert (await back(browser, upstream, first)).status == 403
        assert (await back(browser, upstream, second)).title.startswith("Allow access?")


async def onward(browser: Browser, page: Page) -> str:
    """Where the page sends the browser by itself, in two steps."""
    assert page.leads_to.startswith("/oauth/sso?w=")
    return (await browser.get(page.leads_to)).to


async def test_who_begins_logins_without_end_does_not_have_the_provider_asked_each_time() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        leads_to = button(await browser.ask())
        pages = [await browser.get(leads_to) for _ in range(25)]
        begun = [page for page in pages if page.to.startswith(upstream.idp.url)]
        assert len(begun) == 20
        assert pages[-1].status == 429
        assert "Wait" in pages[-1].text
        place.clock.now += 60.0
        assert (await browser.get(leads_to)).to.startswith(upstream.idp.url)


async def test_where_the_company_alone_logs_people_in_nobody_sees_a_password() -> None:
    async with company(password_login=False) as (place, upstream):
        await place.user()
        browser = place.browser()
        location = await onward(browser, await browser.ask())
        assert location.startswith(upstream.idp.url)
        csrf = (await back(browser, upstream, location)).fields()["csrf"]
        page = await browser.ask(prompt="login")
        w = page.leads_to.partition("w=")[2]
        typed = await browser.post("/oauth/login", {"w": w, "csrf": csrf, "name": "ada", "password": PASSWORD})
        assert typed.leads_to == page.leads_to
        shown = await browser.get(f"/oauth/login?w={w}&again=1")
        assert shown.title.startswith("Log in")
        assert 'name="password"' not in shown.source
        assert [who for act, who, _ in acts(place) if act == "login"] == ["user:grace"]


async def test_not_you_asks_the_provider_for_a_login_anew() -> None:
    async with company(password_login=False) as (place, upstream):
        browser = place.browser()
        shown = await back(browser, upstream, await onward(browser, await browser.ask()))
        out = await browser.post("/oauth/logout", shown.fields())
        assert out.title.startswith("Log in")
        assert parse_qs(urlsplit((await browser.get(button(out))).to).query)["prompt"] == ["login"]


async def test_no_form_is_answered_by_a_way_out_of_the_hub() -> None:
    """Chromium holds all redirects after a form to form-action 'self': the person would see nothing happen."""
    async with company(password_login=False) as (place, upstream):
        browser = place.browser()
        shown = await back(browser, upstream, await onward(browser, await browser.ask()))
        await place.users.disable(place.users.rows()[0].id)
        answered = await browser.answer(shown)
        assert (answered.status, answered.to) == (200, "")
        assert (await onward(browser, answered)).startswith(upstream.idp.url)
        assert place.server.granted_to == []


async def test_what_the_app_asks_of_the_login_is_asked_of_the_provider() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        asked = parse_qs(urlsplit(await sent(browser, prompt="login", max_age="60")).query)
        assert (asked["prompt"], asked["max_age"]) == (["login"], ["60"])
        location = await sent(browser, max_age="60")
        assert (await back(browser, upstream, location)).status == 403
        upstream.more = {"auth_time": int(place.clock.now) - 10}
        location = await sent(browser, max_age="60")
        assert (await back(browser, upstream, location)).title.startswith("Allow access?")


async def test_with_the_provider_down_a_page_says_so_and_own_users_log_in() -> None:
    async with company() as (place, upstream):
        await place.user()
        upstream.idp.down()
        browser = place.browser()
        page = await browser.get(button(await browser.ask()))
        assert page.status == 502
        assert "Corp & Co does not answer" in page.text
        assert place.journal.events[-1][3]["wrong"] == "unreachable"
        login = await browser.get(button(page))
        assert (await browser.log_in(login)).title.startswith("Allow access?")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": "access_denied"}, "did not log you in"),
        ({"iss": "https://other.example"}, "could not be used"),
        ({"code": ""}, "could not be used"),
    ],
)
async def test_each_failure_is_a_page_in_words_with_a_way_on(change: dict[str, str], words: str) -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        page = await back(browser, upstream, await sent(browser), **change)
        assert page.status == 403
        assert words in page.title
        assert (await browser.get(button(page))).title.startswith("Log in")
        assert acts(place) == [("login.sso", "anonymous", "denied:unauthenticated")]


async def test_a_disabled_user_is_told_so() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        await back(browser, upstream, await sent(browser))
        (row,) = place.users.rows()
        await place.users.disable(row.id)
        page = await back(browser, upstream, await sent(browser))
        assert "Your user is disabled" in page.text
        assert (await browser.ask()).title.startswith("Log in")


async def test_roles_that_the_provider_took_back_end_what_was_open_with_them() -> None:
    settings = {"roles_claim": "roles", "roles": {"boss": ("admin",), "staff": ("member",)}, "default_roles": ()}
    async with company(**settings) as (place, upstream):
        upstream.more = {"roles": ["boss"]}
        old, new = place.browser(), place.browser()
        await back(old, upstream, await sent(old))
        upstream.more = {"roles": ["staff"]}
        assert (await back(new, upstream, await sent(new))).title.startswith("Allow access?")
        assert (await old.ask()).title.startswith("Log in")
        upstream.more = {"roles": []}
        upstream.userinfo = {"sub": "s-1"}
        other = place.browser()
        page = await back(other, upstream, await sent(other))
        assert "gives you no role" in page.text
        assert place.users.rows()[0].roles == ()
        assert (await new.ask()).title.startswith("Log in")
        assert place.journal.events[-2][3]["roles"] == []


async def test_a_user_that_the_log_does_not_take_is_none_and_is_not_logged_in() -> None:
    async with company() as (place, upstream):
        browser = place.browser()
        location = await sent(browser)
        place.journal.broken = True
        assert (await back(browser, upstream, location)).status == 500
        place.journal.broken = False
        assert [row.disabled_at is None for row in place.users.rows()] == [False]
        assert (await browser.ask()).title.startswith("Log in")
        assert (await back(browser, upstream, await sent(browser))).title.startswith("Allow access?")


@pytest.mark.parametrize(
    "query", ["", "state=", "state=x&state=y", f"state={'a' * 9000}", "state=%ff", f"state={'a' * 22}.b", "code=x"]
)
async def test_a_callback_out_of_nowhere_is_answered_and_does_nothing(query: str) -> None:
    async with company() as (place, upstream):
        page = await place.browser().get(f"/oauth/sso/callback?{query}")
        assert page.status == 400
        assert place.journal.events == []
        assert upstream.idp.asked == []


async def test_without_a_provider_there_is_no_such_page() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    assert "/oauth/sso" not in (await browser.ask()).source
    for path in ("/oauth/sso", "/oauth/sso/callback"):
        assert (await browser.get(path)).status == 404


async def test_a_hub_where_nobody_logs_in_says_whose_tokens_open_it_and_nothing_else() -> None:
    resources = Resources((BASE,), lambda: ("", "team"), ("https://id.corp.example",))
    browser = Browser(resource_app(resources), BASE, "192.0.2.7")
    for path, address in (("", "/mcp"), ("/team/mcp", "/team/mcp")):
        answer = await browser.http.get(f"/.well-known/oauth-protected-resource{path}")
        assert answer.json()["resource"] == BASE + address
        assert answer.json()["authorization_servers"] == ["https://id.corp.example"]
    for path in ("/oauth/authorize", "/oauth/login", "/.well-known/oauth-authorization-server"):
        assert (await browser.http.get(path)).status_code == 404
