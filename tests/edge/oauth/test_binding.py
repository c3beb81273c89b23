"""Consent and login belong to one browser and one person, and forms to our own pages."""

from __future__ import annotations

import pytest

from tests.edge.oauth.place import BASE, PASSWORD, Place, told


async def test_consent_is_bound_to_the_browser_that_began_it() -> None:
    """FastMCP CVE-2026-27124: an attacker's request, finished by a victim who is logged in, granted the attacker."""
    place = Place()
    await place.user()
    await place.user("eve")
    attacker, victim = place.browser(), place.browser()
    page = await attacker.log_in(await attacker.ask(), "eve")
    await victim.log_in(await victim.ask())
    lured = await victim.get(attacker.at)
    assert lured.status == 400
    assert "begun in another browser" in lured.text
    own = await victim.ask()
    forged = await victim.answer_with(own, w=page.fields()["w"])
    assert (forged.status, forged.leads_to) == (400, "")
    assert place.server.granted_to == []


async def test_the_login_page_of_one_browser_is_no_other_browsers() -> None:
    place = Place()
    await place.user()
    attacker, victim = place.browser(), place.browser()
    await attacker.ask()
    lured = await victim.get(attacker.at)
    assert "Nothing is waiting here" in lured.text


async def test_who_answers_is_who_was_asked() -> None:
    """Another login in the same browser, meanwhile: the page on the screen named somebody else."""
    place = Place()
    await place.user()
    await place.user("bob")
    browser = place.browser()
    asked = await browser.log_in(await browser.ask())
    await browser.log_in(await browser.ask(prompt="login"), "bob")
    stale = await browser.answer(asked)
    assert stale.status == 403
    fresh = await browser.answer_with(await browser.ask(), w=asked.fields()["w"])
    assert fresh.title.startswith("Allow access?")
    assert "Logged in as bob" in fresh.text
    assert place.server.granted_to == []


@pytest.mark.parametrize("path", ["/oauth/login", "/oauth/consent", "/oauth/logout", "/oauth/welcome"])
@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "ü"])
async def test_a_form_without_our_token_does_nothing(path: str, csrf: str | None) -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    fields = {**page.fields(), "answer": "allow", "name": "ada", "password": PASSWORD}
    fields.pop("csrf")
    found = await browser.post(path, fields if csrf is None else {**fields, "csrf": csrf})
    assert found.status == 403
    assert place.server.granted_to == []
    assert (await browser.ask()).title.startswith("Allow access?")  # nobody was logged out


async def test_a_token_of_another_browser_is_no_token() -> None:
    place = Place()
    await place.user()
    mine, theirs = place.browser(), place.browser()
    page = await mine.log_in(await mine.ask())
    other = await theirs.ask()
    assert (await mine.answer_with(page, csrf=other.fields()["csrf"])).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "https://hub.example.evil.example"},
    ],
)
async def test_a_form_of_a_foreign_page_does_nothing_even_with_our_token(headers: dict[str, str]) -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    found = await browser.post("/oauth/consent", {**page.fields(), "answer": "allow"}, headers)
    assert found.status == 403
    assert place.server.granted_to == []


@pytest.mark.parametrize("origin", ["null", BASE, "https://hub.internal:8443"])
async def test_a_form_of_ours_is_taken_at_each_of_our_addresses(origin: str) -> None:
    place = Place()
    await place.user()
    browser = place.browser(BASE if origin == "null" else origin)
    page = await browser.log_in(await browser.ask())
    page = await browser.post("/oauth/consent", {**page.fields(), "answer": "allow"}, {"origin": origin})
    assert told(page.leads_to)["code"] == "code-1"


async def test_a_cookie_from_before_the_login_is_worth_nothing_after() -> None:
    """Session fixation: the attacker plants a cookie, and waits for the victim to log in with it."""
    place = Place()
    await place.user()
    victim, attacker = place.browser(), place.browser()
    page = await victim.ask()
    planted = victim.cookie()
    assert planted is not None
    await victim.log_in(page)
    assert victim.cookie() != planted
    attacker.http.cookies.set("__Host-mcp-hub", planted, domain="hub.example", path="/")
    assert (await attacker.ask()).title.startswith("Log in")


async def test_who_logs_in_anew_leaves_no_login_behind() -> None:
    place = Place()
    await place.user()
    await place.user("bob")
    browser, other = place.browser(), place.browser()
    await browser.log_in(await browser.ask())
    before = browser.cookie()
    assert before is not None
    await browser.log_in(await browser.ask(prompt="login"), "bob")
    other.http.cookies.set("__Host-mcp-hub", before, domain="hub.example", path="/")
    assert (await other.ask()).title.startswith("Log in")


async def test_a_login_made_for_a_wish_is_no_fresh_login_of_whoever_comes_next() -> None:
    place = Place()
    await place.user()
    await place.user("bob")
    browser = place.browser()
    await browser.log_in(await browser.ask(prompt="login"))
    wanted = browser.at
    await browser.log_in(await browser.ask(prompt="login"), "bob")
    assert (await browser.get(wanted)).title.startswith("Log in")


async def test_a_login_that_grew_too_old_before_the_answer_does_not_answer() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    await browser.log_in(await browser.ask())
    place.clock.now += 100
    page = await browser.ask(max_age="150")
    assert page.title.startswith("Allow access?")
    place.clock.now += 100
    assert (await browser.answer(page)).title.startswith("Log in")
    assert place.server.granted_to == []


async def test_a_second_click_that_comes_after_the_login_finds_it() -> None:
    place = Place()
    await place.user()
    browser, late = place.browser(), place.browser()
    page = await browser.ask()
    before = browser.cookie()
    assert before is not None
    await browser.log_in(page)
    late.http.cookies.set("__Host-mcp-hub", before, domain="hub.example", path="/")
    fields = {**page.fields(), "name": "ada", "password": PASSWORD}
    answer = await late.http.post("/oauth/login", data=fields)
    assert answer.status_code == 303
    assert (await browser.get(answer.headers["location"])).title.startswith("Allow access?")


async def test_the_cookie_is_for_this_host_only_and_no_script_reads_it() -> None:
    response = await Place().browser().http.get("/oauth/welcome")
    name, _, attributes = response.headers["set-cookie"].partition("=")
    assert name == "__Host-mcp-hub"
    assert attributes.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax; Secure"


async def test_on_plain_http_the_cookie_does_not_call_itself_secure() -> None:
    place = Place(secure=False)
    response = await place.browser("http://127.0.0.1:8080").http.get("/oauth/welcome")
    assert response.headers["set-cookie"].startswith("mcp-hub=")
    assert "Secure" not in response.headers["set-cookie"]


async def test_who_is_disabled_is_logged_out_in_the_same_moment() -> None:
    place = Place()
    user = await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    await place.users.disable(user)
    assert (await browser.answer(page)).leads_to == ""
    assert place.server.granted_to == []
    await place.users.enable(user)
    assert (await browser.get(browser.at)).title.startswith("Log in")


async def test_a_new_password_ends_the_logins_with_the_old_one_and_nobody_elses() -> None:
    place = Place()
    user = await place.user()
    await place.user("bob")
    browser, other = place.browser(), place.browser()
    await browser.log_in(await browser.ask())
    await other.log_in(await other.ask(), "bob")
    await place.users.set_password(user, PASSWORD + " and more")
    assert (await browser.ask()).title.startswith("Log in")
    assert (await other.ask()).title.startswith("Allow access?")


async def test_a_user_who_is_disabled_while_the_log_is_written_is_granted_nothing() -> None:
    place = Place()
    user = await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    write = place.journal.event

    async def slow(*entry: object, **more: object) -> str:
        await place.users.disable(user)
        return await write(*entry, **more)  # type: ignore[arg-type]

    place.journal.event = slow  # type: ignore[method-assign]
    assert (await browser.answer(page)).leads_to == ""
    assert place.server.granted_to == []


async def test_what_the_log_does_not_take_is_not_granted_and_logs_nobody_in() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    start = await browser.ask()
    place.journal.broken = True
    failed = await browser.log_in(start)
    assert failed.status == 500
    assert "s3cret" not in failed.source
    place.journal.broken = False
    page = await browser.log_in(start)
    place.journal.broken = True
    assert (await browser.answer(page)).status == 500
    assert place.server.granted_to == []


async def test_a_first_user_that_the_log_does_not_take_does_not_stay() -> None:
    place = Place()
    code = await place.users.invite()
    browser = place.browser()
    page = await browser.get(f"/oauth/welcome?code={code}")
    place.journal.broken = True
    made = {**page.fields(), "name": "ada", "password": PASSWORD, "again": PASSWORD}
    assert (await browser.post("/oauth/welcome", made)).status == 500
    assert not place.users.any()


async def test_the_log_names_who_and_which_client_and_no_secret() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    start = await browser.ask()
    await browser.log_in(start, password="a wrong secret")
    await browser.log_in(start, name="typed my secret here")
    page = await browser.log_in(start)
    await browser.answer(page)
    await browser.answer(await browser.ask(), "deny")
    assert [(kind, who, outcome, detail["act"]) for kind, who, outcome, detail in place.journal.events] == [
        ("auth", "anonymous", "denied:unauthenticated", "login"),
        ("auth", "anonymous", "denied:unauthenticated", "login"),
        ("auth", "user:ada", "done", "login"),
        ("auth", "user:ada", "done", "consent.allow"),
        ("auth", "user:ada", "done", "consent.deny"),
    ]
    assert [detail.get("user") for *_, detail in place.journal.events[:2]] == ["ada", None]
    assert place.journal.events[3][3]["client"] == "c-editor"
    written = repr(place.journal.events)
    for secret in (PASSWORD, "a wrong secret", "typed my secret", "code-1", browser.cookie(), page.fields()["csrf"]):
        assert secret is not None
        assert secret not in written
