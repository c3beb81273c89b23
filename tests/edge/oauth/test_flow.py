"""From a client's request to its answer, through the pages."""

from __future__ import annotations

import asyncio

import pytest

from hub.edge.browser import ABSOLUTE_S, IDLE_S
from hub.edge.oauth_parked import HALF_S, TWICE_S, WAIT_S
from tests.edge.oauth.place import BASE, CLAUDE, EDITOR, PASSWORD, Browser, Page, Place, code_at, told


async def asked_for_consent(place: Place, **query: str) -> tuple[Browser, Page]:
    browser = place.browser()
    page = await browser.log_in(await browser.ask(**query))
    assert page.title.startswith("Allow access?"), page.text
    return browser, page


async def test_a_person_logs_in_and_allows_and_the_client_is_told() -> None:
    place = Place()
    user = await place.user()
    browser, page = await asked_for_consent(place)
    page = await browser.answer(page)
    assert page.status == 200
    assert page.leads_to.startswith("http://127.0.0.1/cb?")
    assert told(page.leads_to) == {"code": "code-1", "state": "s t/1", "iss": BASE}
    ((wish, login, scopes),) = place.server.granted_to
    assert (wish.client, login.user.id, login.strength, scopes) == (EDITOR, user, "password", ("mcp",))


async def test_who_denies_grants_nothing_and_the_client_is_told_so() -> None:
    place = Place()
    await place.user()
    browser, page = await asked_for_consent(place)
    page = await browser.answer(page, "deny")
    assert told(page.leads_to)["error"] == "access_denied"
    assert place.server.granted_to == []


async def test_who_is_logged_in_already_is_asked_for_consent_only_and_each_time() -> None:
    place = Place()
    await place.user()
    browser, page = await asked_for_consent(place)
    await browser.answer(page)
    for _ in range(2):
        page = await browser.ask()
        assert page.title.startswith("Allow access?")


async def test_a_request_that_no_redirect_may_answer_is_explained_on_a_page() -> None:
    page = await Place().browser().ask(client_id="unheard-of")
    assert page.status == 400
    assert "No client is known by this id." in page.text
    assert "connect again" in page.text
    assert page.leads_to == page.to == ""


async def test_a_request_that_is_the_clients_fault_goes_back_to_the_client() -> None:
    page = await Place().browser().ask(response_type="token")
    assert (page.status, page.to) == (303, f"http://127.0.0.1/cb?error=unsupported_response_type&iss={BASE}")


async def test_without_a_prompt_nobody_is_asked_and_the_client_is_told_what_would_be() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    assert told((await browser.ask(prompt="none")).to)["error"] == "login_required"
    await browser.log_in(await browser.ask())
    assert told((await browser.ask(prompt="none")).to)["error"] == "consent_required"


async def test_a_client_may_ask_for_a_login_of_its_own() -> None:
    place = Place()
    await place.user()
    browser, _ = await asked_for_consent(place)
    page = await browser.ask(prompt="login")
    assert page.title.startswith("Log in")
    assert (await browser.log_in(page)).title.startswith("Allow access?")


async def test_a_login_that_is_older_than_the_client_takes_is_made_anew() -> None:
    place = Place()
    await place.user()
    browser, _ = await asked_for_consent(place)
    place.clock.now += 100
    assert (await browser.ask(max_age="200")).title.startswith("Allow access?")
    page = await browser.ask(max_age="50")
    assert page.title.startswith("Log in")
    assert (await browser.log_in(page)).title.startswith("Allow access?")


async def test_a_wrong_password_is_told_in_words_and_the_name_stands() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask(), password="not the secret")
    assert page.status == 403
    assert "do not go together" in page.text
    assert 'role="alert"' in page.source
    assert 'value="ada"' in page.source
    assert page.title.startswith("Error: log in")
    assert (await browser.log_in(page)).title.startswith("Allow access?")


async def test_a_name_that_nobody_has_reads_as_a_wrong_password() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    nobody = await browser.log_in(page, name="nobody", password="x")
    wrong = await browser.log_in(page, password="x")
    assert (nobody.status, nobody.text) == (wrong.status, wrong.text)


async def test_who_guesses_has_to_wait_and_is_told_how_long() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    statuses = [(await browser.log_in(page, password=f"guess {n}")).status for n in range(10)]
    assert statuses == [403] * 10
    page = await browser.log_in(page)
    assert page.status == 429
    assert 1 <= int(page.headers["retry-after"]) <= 60
    assert "Too many attempts. Wait " in page.text
    place.clock.now += 60
    assert (await browser.log_in(page)).title.startswith("Allow access?")


async def with_codes(place: Place) -> str:
    user = await place.user()
    secret, _ = place.users.begin_otp(user, "MCP Hub")
    await place.users.confirm_otp(user, code_at(secret, place.clock.now))
    place.clock.now += 60
    return secret


async def test_a_one_time_code_is_asked_for_in_a_second_step_of_the_same_wish() -> None:
    place = Place()
    secret = await with_codes(place)
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    assert page.title.startswith("One-time code")
    assert PASSWORD not in page.source
    wrong = await browser.post("/oauth/login", {**page.fields(), "otp": "000000"})
    assert wrong.status == 403
    assert "not the right one" in wrong.text
    code = code_at(secret, place.clock.now)
    page = await browser.post("/oauth/login", {**wrong.fields(), "otp": f"{code[:3]} {code[3:]}"})
    assert page.title.startswith("Allow access?")
    await browser.answer(page)
    assert place.server.granted_to[0][1].strength == "otp"


async def test_a_password_waits_for_its_code_three_minutes_and_no_longer() -> None:
    place = Place()
    secret = await with_codes(place)
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    place.clock.now += HALF_S
    page = await browser.post("/oauth/login", {**page.fields(), "otp": code_at(secret, place.clock.now)})
    assert page.status == 400
    assert page.title.startswith("Error: log in")


async def test_a_code_of_one_browser_is_worth_nothing_in_another() -> None:
    place = Place()
    secret = await with_codes(place)
    mine, theirs = place.browser(), place.browser()
    page = await mine.log_in(await mine.ask())
    other = await theirs.ask()
    code = code_at(secret, place.clock.now)
    found = await theirs.post("/oauth/login", {**other.fields(), "w": page.fields()["w"], "otp": code})
    assert "Nothing is waiting here" in found.text


async def test_where_there_is_no_user_the_page_says_how_to_make_one() -> None:
    page = await Place().browser().ask()
    assert page.title.startswith("No user yet")
    assert "mcp-hub users add NAME --role admin" in page.text


async def test_a_wish_waits_ten_minutes_and_is_explained_after() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    place.clock.now += WAIT_S
    page = await browser.log_in(page)
    assert page.status == 400
    assert "Go back to your app and connect again" in page.text


async def test_a_second_click_gets_the_same_answer_and_no_second_code() -> None:
    place = Place()
    await place.user()
    browser, page = await asked_for_consent(place)
    first, second = await asyncio.gather(browser.answer(page), browser.answer(page))
    assert first.leads_to == second.leads_to != ""
    assert len(place.server.granted_to) == 1


async def test_a_form_that_is_sent_again_later_is_explained() -> None:
    place = Place()
    await place.user()
    browser, page = await asked_for_consent(place)
    await browser.answer(page)
    place.clock.now += TWICE_S
    again = await browser.answer(page)
    assert again.title.startswith("Answered already")
    assert again.leads_to == ""
    assert "code-1" not in again.source
    assert len(place.server.granted_to) == 1


async def test_a_second_click_at_the_login_loses_nobody() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    first, second = await asyncio.gather(browser.log_in(page), browser.log_in(page))
    assert {first.title, second.title} == {"Allow access? · MCP Hub"}
    page = await browser.get(browser.at)
    assert told((await browser.answer(page)).leads_to)["code"] == "code-1"


@pytest.mark.parametrize("step", ["login", "consent"])
async def test_a_page_that_is_loaded_anew_is_the_same_page(step: str) -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    if step == "consent":
        page = await browser.log_in(page)
    assert (await browser.get(browser.at)).text == page.text


async def test_not_you_ends_the_login_and_keeps_the_wish() -> None:
    place = Place()
    await place.user()
    await place.user("bob")
    browser, page = await asked_for_consent(place)
    page = await browser.post("/oauth/logout", page.fields())
    assert page.title.startswith("Log in")
    page = await browser.log_in(page, "bob")
    await browser.answer(page)
    assert place.server.granted_to[0][1].user.name == "bob"


async def test_a_login_ends_after_an_hour_without_use() -> None:
    place = Place()
    await place.user()
    browser, _ = await asked_for_consent(place)
    place.clock.now += IDLE_S - 1
    assert (await browser.ask()).title.startswith("Allow access?")
    place.clock.now += IDLE_S
    assert (await browser.ask()).title.startswith("Log in")


async def test_a_login_ends_after_half_a_day_however_much_it_is_used() -> None:
    place = Place()
    await place.user()
    browser, _ = await asked_for_consent(place)
    for _ in range(int(ABSOLUTE_S / 1800) - 1):
        place.clock.now += 1800
        assert (await browser.ask()).title.startswith("Allow access?")
    place.clock.now += 1800
    assert (await browser.ask()).title.startswith("Log in")


async def test_the_first_user_is_made_by_the_link_and_is_logged_in() -> None:
    place = Place()
    code = await place.users.invite()
    browser = place.browser()
    page = await browser.get(f"/oauth/welcome?code={code}")
    assert page.status == 200
    fields = {**page.fields(), "name": "ada", "password": PASSWORD}
    apart = await browser.post("/oauth/welcome", {**fields, "again": "something else"})
    assert apart.status == 400
    assert "not the same" in apart.text
    short = await browser.post("/oauth/welcome", {**fields, "password": "short", "again": "short"})
    assert short.status == 400
    assert "12" in short.text
    made = await browser.post("/oauth/welcome", {**fields, "again": PASSWORD})
    assert made.status == 200
    assert f"{BASE}/mcp" in made.text
    row = place.users.find("ada")
    assert row is not None
    assert row.roles == ("admin",)
    assert (await browser.ask()).title.startswith("Allow access?")


async def test_the_link_makes_one_user_and_a_wrong_one_makes_none() -> None:
    place = Place()
    await place.users.invite()
    browser = place.browser()
    page = await browser.get("/oauth/welcome?code=guessed")
    fields = {**page.fields(), "name": "eve", "password": PASSWORD, "again": PASSWORD}
    assert (await browser.post("/oauth/welcome", fields)).status == 400
    assert place.users.find("eve") is None
    await place.user()
    assert (await browser.get("/oauth/welcome?code=guessed")).status == 409
    assert (await browser.post("/oauth/welcome", fields)).status == 409


async def test_a_client_with_a_document_is_shown_by_its_host() -> None:
    place = Place()
    await place.user()
    _, page = await asked_for_consent(place, client_id=CLAUDE.id)
    assert "Known as claude.example Answer goes to claude.example" in page.text
    assert "Nobody has checked its name" not in page.text
