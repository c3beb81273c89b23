"""A person's own page: programs, one-time codes and the password, with the real users and authorization server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hub.core.accounts import UserRow
from hub.identity.profiles import Profile
from tests.edge.oauth.place import PASSWORD, Browser, Page, code_at
from tests.edge.oauth.test_whole import Whole

NEW = "another quite long word"


class Home(Whole):
    async def start(self) -> Home:
        await super().start()
        await self.users.create("bob", Profile(("member", "auditor"), display="Bob B"), PASSWORD)
        return self

    def user(self, name: str = "ada") -> UserRow:
        row = self.users.find(name)
        assert row is not None
        return row

    async def at_home(self, name: str = "ada") -> tuple[Browser, Page]:
        browser = self.browser()
        page = await browser.log_in(await browser.get("/oauth/account"), name)
        assert page.title == "Your page · MCP Hub", page.text
        return browser, page

    async def let_in(self, name: str = "ada", **query: str) -> Any:
        """The tokens of a program that this person let in."""
        browser = self.browser()
        page = await browser.answer(await browser.log_in(await self.ask(browser, **query), name))
        return await self.redeemed(page.leads_to)

    async def is_good(self, tokens: Any) -> bool:
        return await self.server.verifier.verify(tokens["access_token"]) is not None

    def acts(self) -> list[tuple[str, str, str]]:
        return [(who, outcome, detail["act"]) for _, who, outcome, detail in self.journal.events]

    async def with_codes(self, name: str = "ada") -> str:
        """The secret, once codes are in force; none of now is used."""
        browser, page = await self.at_home(name)
        page = await browser.post("/oauth/account/codes", {**page.fields(), "password": PASSWORD})
        secret = secret_on(page)
        code = code_at(secret, self.clock.now)
        page = await browser.post("/oauth/account/codes/confirm", {**page.fields(), "otp": code})
        assert "One-time codes are set up" in page.text
        self.clock.now += 60
        return secret


def secret_on(page: Page) -> str:
    found = re.search(r'class="secret"[^>]*><code>([A-Z2-7 ]+)</code>', page.source)
    assert found is not None, page.text
    assert all(len(group) <= 4 for group in found[1].split())
    return found[1].replace(" ", "")


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    return await Home(tmp_path).start()


async def test_who_is_not_logged_in_logs_in_and_comes_back(home: Home) -> None:
    browser = home.browser()
    page = await browser.get("/oauth/account")
    assert page.title.startswith("Log in")
    assert "An app that calls itself" not in page.text
    page = await browser.log_in(page, "bob")
    assert browser.at.startswith("/oauth/account?w=")
    assert "Logged in as bob ( Bob B )" in page.text
    assert "Roles member, auditor" in page.text
    assert "15 January 2027, 08:00 UTC by password" in page.text
    assert home.journal.events[-1][3] == {"act": "login", "address": "192.0.2.7", "strength": "password"}


@pytest.mark.parametrize("query", ["next=https://evil.example", "then=//evil.example", "w=//evil.example", "done=<b>"])
async def test_no_link_leads_from_here_to_anywhere_else(home: Home, query: str) -> None:
    browser = home.browser()
    await browser.log_in(await browser.get(f"/oauth/account?{query}"))
    assert browser.at.startswith("/oauth/account?w=")
    page = await browser.get(f"/oauth/account?{query}")
    assert "evil" not in page.source
    assert "<b>" not in page.source


async def test_what_waits_for_this_page_is_no_consent_to_anything(home: Home) -> None:
    browser = home.browser()
    await browser.log_in(await browser.get("/oauth/account"))
    w = browser.at.partition("w=")[2]
    page = await browser.get(f"/oauth/consent?w={w}")
    assert "Nothing is waiting here" in page.text
    page = await browser.get("/oauth/account")
    for path in ("/oauth/consent", "/oauth/device/consent"):
        found = await browser.post(path, {**page.fields(), "w": w, "answer": "allow"})
        assert (found.status, found.leads_to) == (400, "")


async def test_programs_are_shown_with_what_they_may_and_end_at_a_word(home: Home) -> None:
    kept, ended = await home.let_in(), await home.let_in(scope="mcp:server:files")
    browser, page = await home.at_home()
    assert page.text.count("Cursor") == 2
    assert "Use what these servers offer you: files" in page.text
    assert "At this hub, its main endpoint (https://hub.example/mcp)." in page.text
    assert page.text.count("Let in 15 January 2027, 08:00 UTC. Last renewed 15 January 2027, 08:00 UTC.") == 2
    latest = home.server.grants_of(home.user().id)
    target = next(grant.id for grant in latest if grant.scopes != ("mcp",))
    page = await browser.post("/oauth/account/end", {**page.fields(), "grant": target})
    assert "It is ended" in page.text
    assert page.text.count("Cursor") == 1
    assert (await home.is_good(kept), await home.is_good(ended)) == (True, False)
    again = await browser.post("/oauth/account/end", {**page.fields(), "grant": target})
    assert again.status == 200
    assert home.acts()[-1] == ("user:ada", "done", "account.end")
    assert home.acts().count(home.acts()[-1]) == 1


async def test_a_link_from_elsewhere_claims_nothing_on_the_page(home: Home) -> None:
    browser, _ = await home.at_home()
    page = Page(await browser.http.get("/oauth/account?done=password", headers={"sec-fetch-site": "cross-site"}))
    assert page.title.startswith("Your page")
    assert "is changed" not in page.text
    assert "is changed" in (await browser.get("/oauth/account?done=password")).text


async def test_all_programs_end_at_once(home: Home) -> None:
    mine, other, bobs = await home.let_in(), await home.let_in(), await home.let_in("bob")
    browser, page = await home.at_home()
    page = await browser.post("/oauth/account/end-all", page.fields())
    assert "None. A program asks you here before it gets in." in page.text
    assert [await home.is_good(tokens) for tokens in (mine, other, bobs)] == [False, False, True]


async def test_nobody_ends_what_is_not_theirs(home: Home) -> None:
    tokens = await home.let_in("bob")
    (grant,) = home.server.grants_of(home.user("bob").id)
    browser, page = await home.at_home()
    await browser.post("/oauth/account/end", {**page.fields(), "grant": grant.id})
    assert await home.is_good(tokens)
    assert "account.end" not in repr(home.journal.events)


async def test_an_end_counts_even_where_the_log_does_not_take_it(home: Home) -> None:
    tokens = await home.let_in()
    browser, page = await home.at_home()
    home.journal.broken = True
    assert (await browser.post("/oauth/account/end-all", page.fields())).status == 500
    assert not await home.is_good(tokens)


async def test_what_a_program_calls_itself_is_text(home: Home) -> None:
    sent = {
        "client_name": "<script>x</script>\u202eevil",
        "redirect_uris": ["http://127.0.0.1:33418/cb"],
        "token_endpoint_auth_method": "none",
    }
    home.client = (await home.http.post("/oauth/register", json=sent)).json()["client_id"]
    await home.let_in()
    _, page = await home.at_home()
    assert "<script>" not in page.source
    assert "\u202e" not in page.source


FORMS = ["end", "end-all", "codes", "codes/confirm", "codes/remove", "password"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("how", ["none", "another's", "cross-site"])
async def test_a_form_that_is_not_ours_does_nothing(home: Home, path: str, how: str) -> None:
    tokens = await home.let_in()
    (grant,) = home.server.grants_of(home.user().id)
    browser, page = await home.at_home()
    _, others = await home.at_home("bob")
    before = home.user()
    csrf = {"none": "", "another's": others.fields()["csrf"], "cross-site": page.fields()["csrf"]}[how]
    fields = {"csrf": csrf, "grant": grant.id, "password": PASSWORD, "new": NEW, "again": NEW}
    headers = {"sec-fetch-site": "cross-site"} if how == "cross-site" else {}
    assert (await browser.post(f"/oauth/account/{path}", fields, headers)).status == 403
    assert await home.is_good(tokens)
    assert home.user() == before


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_of_somebody_who_logged_out_asks_for_a_login(home: Home, path: str) -> None:
    browser, page = await home.at_home()
    home.clock.now += 3600  # the login ends unused
    fields = {**page.fields(), "password": PASSWORD, "new": NEW, "again": NEW}
    assert (await browser.post(f"/oauth/account/{path}", fields)).title.startswith("Log in")
    assert home.user().version == 1


async def test_one_time_codes_are_set_up_and_asked_for_from_then_on(home: Home) -> None:
    secret = await home.with_codes()
    assert home.acts()[-1] == ("user:ada", "done", "account.codes")
    assert secret not in repr(home.journal.events)
    browser = home.browser()
    page = await browser.log_in(await browser.get("/oauth/account"))
    assert page.title.startswith("One-time code")
    page = await browser.post("/oauth/login", {**page.fields(), "otp": code_at(secret, home.clock.now)})
    assert "by password and one-time code" in page.text
    assert "They are set up" in page.text


async def test_setting_up_codes_takes_the_password_and_keeps_other_logins(home: Home) -> None:
    browser, page = await home.at_home()
    other, _ = await home.at_home()
    wrong = await browser.post("/oauth/account/codes", {**page.fields(), "password": "not it"})
    assert wrong.status == 403
    assert "That is not your password." in wrong.text
    assert home.acts()[-1] == ("user:ada", "denied:unauthenticated", "account.check")
    await home.with_codes()
    assert (await other.get("/oauth/account")).title.startswith("Your page")


async def test_a_wrong_first_code_sets_nothing_up_and_can_be_mended(home: Home) -> None:
    browser, page = await home.at_home()
    page = await browser.post("/oauth/account/codes", {**page.fields(), "password": PASSWORD})
    secret = secret_on(page)
    wrong = await browser.post("/oauth/account/codes/confirm", {**page.fields(), "otp": "000000"})
    assert wrong.status == 400
    assert "This is not the code of now" in wrong.text
    assert secret not in wrong.source.replace(" ", "")
    assert home.user().otp is None
    code = code_at(secret, home.clock.now)
    await browser.post("/oauth/account/codes/confirm", {**wrong.fields(), "otp": code})
    assert home.user().otp is not None


async def test_codes_that_are_in_force_cannot_be_replaced_behind_their_owners_back(home: Home) -> None:
    browser, page = await home.at_home()
    begun = await browser.post("/oauth/account/codes", {**page.fields(), "password": PASSWORD})
    stale = secret_on(begun)
    await home.with_codes()
    before = home.user().otp
    again = await browser.post("/oauth/account/codes", {**page.fields(), "password": PASSWORD})
    assert again.status == 409
    code = code_at(stale, home.clock.now)
    assert (await browser.post("/oauth/account/codes/confirm", {**page.fields(), "otp": code})).status == 409
    assert home.user().otp == before


async def test_codes_go_for_the_password_and_a_code_and_other_logins_with_them(home: Home) -> None:
    browser, page = await home.at_home()
    other, _ = await home.at_home()
    secret = await home.with_codes()
    fields = {**page.fields(), "password": PASSWORD, "otp": code_at(secret, home.clock.now)}
    for lacking in ({"password": "not it"}, {"otp": "000000"}, {"otp": ""}):
        assert (await browser.post("/oauth/account/codes/remove", {**fields, **lacking})).status == 403
        assert home.user().otp is not None
    page = await browser.post("/oauth/account/codes/remove", fields)
    assert "One-time codes are removed" in page.text
    assert home.user().otp is None
    assert (await other.get("/oauth/account")).title.startswith("Log in")
    assert (
        await browser.post("/oauth/account/codes/remove", {**page.fields(), **fields, "csrf": page.fields()["csrf"]})
    ).status == 409


async def test_the_password_changes_for_the_old_one_and_everything_else_logs_in_anew(home: Home) -> None:
    tokens, bobs = await home.let_in(), await home.let_in("bob")
    browser, page = await home.at_home()
    other, _ = await home.at_home()
    before = browser.cookie()
    fields = {**page.fields(), "password": PASSWORD, "new": NEW, "again": NEW}
    for changed, status in (({"password": "x"}, 403), ({"again": "y"}, 400), ({"new": "short", "again": "short"}, 400)):
        assert (await browser.post("/oauth/account/password", {**fields, **changed})).status == status
    assert home.user().version == 1
    page = await browser.post("/oauth/account/password", fields)
    assert "Your password is changed." in page.text
    assert browser.cookie() != before
    assert (await other.get("/oauth/account")).title.startswith("Log in")
    assert (await home.is_good(tokens), await home.is_good(bobs)) == (False, True)
    assert home.acts()[-1] == ("user:ada", "done", "account.password")
    assert PASSWORD not in repr(home.journal.events)
    assert NEW not in repr(home.journal.events)
    fresh = home.browser()
    assert (await fresh.log_in(await fresh.get("/oauth/account"), password=NEW)).title.startswith("Your page")


async def test_a_change_that_the_log_does_not_take_is_taken_back(home: Home) -> None:
    browser, page = await home.at_home()
    home.journal.broken = True
    fields = {**page.fields(), "password": PASSWORD, "new": NEW, "again": NEW}
    assert (await browser.post("/oauth/account/password", fields)).status == 500
    home.journal.broken = False
    assert (await home.at_home())[1].status == 200  # with the password of before


async def test_guessing_the_password_here_is_held_up_as_at_the_login(home: Home) -> None:
    browser, page = await home.at_home()
    for number in range(10):
        fields = {**page.fields(), "password": f"guess {number}", "new": NEW, "again": NEW}
        assert (await browser.post("/oauth/account/password", fields)).status == 403
    held = await browser.post(
        "/oauth/account/password", {**page.fields(), "password": PASSWORD, "new": NEW, "again": NEW}
    )
    assert held.status == 429
    assert int(held.headers["retry-after"]) >= 1
    assert home.user().version == 1


async def test_the_page_is_kept_from_caches_frames_and_scripts(home: Home) -> None:
    _, page = await home.at_home()
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"].startswith(
        "default-src 'none'; style-src 'self'; form-action 'self'"
    )
    assert "style=" not in page.source
    assert "<script" not in page.source
