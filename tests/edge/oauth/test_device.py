"""Letting in a program without a browser, through the pages and the real authorization server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.edge.oauth_parked import WAIT_S
from hub.identity.oauth.metadata import DEVICE
from hub.identity.profiles import Profile
from tests.edge.oauth.place import BASE, PASSWORD, Browser, Page
from tests.edge.oauth.test_whole import Whole


class Television(Whole):
    async def start(self) -> Television:
        await super().start()
        sent = {"client_name": "Terminal", "token_endpoint_auth_method": "none", "grant_types": [DEVICE]}
        answer = await self.http.post("/oauth/register", json=sent)
        assert answer.status_code == 201, answer.text
        self.client = answer.json()["client_id"]
        return self

    async def begin(self, **more: str) -> Any:
        answer = await self.http.post("/oauth/device_authorization", data={"client_id": self.client, **more})
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    async def asks(self, code: str) -> Any:
        return await self.token(grant_type=DEVICE, device_code=code)

    def grants(self, name: str = "ada") -> int:
        row = self.users.find(name)
        assert row is not None
        return len(self.server.grants_of(row.id))


@pytest.fixture
async def hub(tmp_path: Path) -> Television:
    return await Television(tmp_path).start()


async def type_code(browser: Browser, code: str) -> Page:
    page = await browser.get("/oauth/device")
    return await browser.post("/oauth/device", {**page.fields(), "user_code": code})


async def answer(browser: Browser, page: Page, answer: str = "allow", **changed: str) -> Page:
    return await browser.post("/oauth/device/consent", {**page.fields(), "answer": answer, **changed})


async def asked_for_consent(hub: Television, code: str, name: str = "ada") -> tuple[Browser, Page]:
    browser = hub.browser()
    page = await browser.log_in(await type_code(browser, code), name)
    assert page.title.startswith("Let this device in?"), page.text
    return browser, page


async def test_a_person_types_the_code_logs_in_and_allows_and_the_program_is_in(hub: Television) -> None:
    told = await hub.begin()
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"
    browser = hub.browser()
    login = await type_code(browser, told["user_code"].lower())
    assert "An app that calls itself Terminal" in login.text
    page = await browser.log_in(login)
    assert "Only go on if you started this yourself" in page.text
    assert told["user_code"] in page.text
    assert "Nobody has checked its name" in page.text
    assert "Logged in as ada" in page.text
    page = await answer(browser, page)
    assert page.title.startswith("The device is let in")
    made = await hub.asks(told["device_code"])
    verified = await hub.server.verifier.verify(made["access_token"])
    assert verified is not None
    assert verified.principal.name == "user:ada"
    assert "End" in (await browser.get("/oauth/account")).text


async def test_who_denies_lets_nothing_in(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    assert (await answer(browser, page, "deny")).title.startswith("Denied")
    assert (await hub.asks(told["device_code"]))["error"] == "access_denied"


async def test_a_link_brings_the_code_and_a_person_still_sends_it(hub: Television) -> None:
    told = await hub.begin()
    browser = hub.browser()
    page = await browser.get(told["verification_uri_complete"].removeprefix(BASE))
    assert page.title.startswith("Connect a device")
    assert f'value="{told["user_code"]}"' in page.source
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_what_a_link_brings_is_text_and_nothing_else(hub: Television) -> None:
    page = await hub.browser().get('/oauth/device?user_code="><script>alert(1)</script>%E2%80%AE' + "x" * 500)
    assert "<script" not in page.source
    assert "\u202e" not in page.source
    assert "x" * 40 not in page.source


async def test_a_wrong_code_is_told_in_words_and_logged_and_guessing_is_held_up(hub: Television) -> None:
    told = await hub.begin()
    browser = hub.browser()
    for letter in "BCDFGHJKLM":
        page = await type_code(browser, f"BCDFGHJ{letter}")
        assert (page.status, page.title) == (404, "Error: connect a device · MCP Hub")
    page = await type_code(browser, told["user_code"])
    assert page.status == 429
    assert "Too many codes were wrong. Wait " in page.text
    assert [event[3] for event in hub.journal.events] == [{"act": "device.code", "address": "192.0.2.7"}] * 10
    assert (await type_code(browser, " ")).status == 400
    hub.clock.now += 60
    assert (await type_code(browser, told["user_code"])).title.startswith("Log in")


async def test_the_question_is_bound_to_the_browser_that_typed_the_code(hub: Television) -> None:
    await hub.users.create("eve", Profile(("member",)), PASSWORD)
    told = await hub.begin()
    attacker, theirs = await asked_for_consent(hub, told["user_code"], "eve")
    victim, own = await asked_for_consent(hub, (await hub.begin())["user_code"])
    lured = await victim.get(attacker.at)
    assert "begun in another browser" in lured.text
    forged = await answer(victim, own, w=theirs.fields()["w"])
    assert forged.status == 400
    assert hub.grants() == 0
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_the_two_consent_pages_do_not_answer_for_each_other(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    w = page.fields()["w"]
    assert "Nothing is waiting here" in (await browser.get(f"/oauth/consent?w={w}")).text
    crossed = await browser.post("/oauth/consent", {**page.fields(), "answer": "allow"})
    assert (crossed.status, crossed.leads_to) == (400, "")
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


@pytest.mark.parametrize("path", ["/oauth/device", "/oauth/device/consent"])
@pytest.mark.parametrize("csrf", [None, "", "0" * 64])
async def test_a_form_without_our_token_does_nothing(hub: Television, path: str, csrf: str | None) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    fields = {**page.fields(), "answer": "allow", "user_code": told["user_code"]}
    fields.pop("csrf")
    assert (await browser.post(path, fields if csrf is None else {**fields, "csrf": csrf})).status == 403
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_a_foreign_page_cannot_send_the_answer(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        fields = {**page.fields(), "answer": "allow"}
        assert (await browser.post("/oauth/device/consent", fields, headers)).status == 403
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_a_second_click_is_the_same_answer_and_lets_in_once(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    first, second = await asyncio.gather(answer(browser, page), answer(browser, page))
    assert first.text == second.text
    assert "access_token" in await hub.asks(told["device_code"])
    assert hub.grants() == 1
    assert (await answer(browser, page, "deny")).title.startswith("The device is let in")
    assert (await browser.get(browser.at.partition("?")[0] + "?w=" + page.fields()["w"])).title.startswith("Answered")


async def test_who_comes_second_with_the_same_code_is_told(hub: Television) -> None:
    await hub.users.create("eve", Profile(("member",)), PASSWORD)
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    late, theirs = await asked_for_consent(hub, told["user_code"], "eve")
    await answer(browser, page)
    page = await answer(late, theirs)
    assert page.status == 409
    assert "answered already" in page.text
    assert (hub.grants(), hub.grants("eve")) == (0, 0)  # as long as the program has fetched nothing
    verified = await hub.server.verifier.verify((await hub.asks(told["device_code"]))["access_token"])
    assert verified is not None
    assert verified.principal.name == "user:ada"


async def test_who_answers_is_who_was_asked(hub: Television) -> None:
    await hub.users.create("bob", Profile(("member",)), PASSWORD)
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    out = await browser.post("/oauth/logout", page.fields())
    assert out.title.startswith("Log in")
    again = await browser.log_in(out, "bob")
    assert "Logged in as bob" in again.text
    assert (await answer(browser, page)).status == 403
    assert (await answer(browser, again)).title.startswith("The device is let in")
    await hub.asks(told["device_code"])
    assert (hub.grants(), hub.grants("bob")) == (0, 1)


async def test_a_user_who_is_disabled_before_the_answer_lets_nothing_in(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    row = hub.users.find("ada")
    assert row is not None
    await hub.users.disable(row.id)
    await answer(browser, page)
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_a_login_that_ends_while_the_log_is_written_lets_nothing_in(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    row, write = hub.users.find("ada"), hub.journal.event
    assert row is not None

    async def slow(*entry: object, **more: object) -> str:
        await hub.users.set_password(row.id, PASSWORD + " and more")
        return await write(*entry, **more)  # type: ignore[arg-type]

    hub.journal.event = slow  # type: ignore[method-assign]
    assert (await answer(browser, page)).title.startswith("Log in")
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"


async def test_what_no_role_allows_is_told_on_the_page(hub: Television) -> None:
    told = await hub.begin(scope="admin", resource=f"{BASE}/api/v1")
    browser, page = await asked_for_consent(hub, told["user_code"])
    assert "Far-reaching" in page.text
    assert "No role of the user allows any of this." in (await answer(browser, page)).text
    assert (await hub.asks(told["device_code"]))["error"] == "access_denied"


async def test_the_question_waits_ten_minutes(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    hub.clock.now += WAIT_S
    assert (await answer(browser, page)).status == 400
    assert (await hub.asks(told["device_code"]))["error"] == "expired_token"


async def test_what_the_log_does_not_take_lets_nothing_in(hub: Television) -> None:
    told = await hub.begin()
    browser, page = await asked_for_consent(hub, told["user_code"])
    hub.journal.broken = True
    assert (await answer(browser, page)).status == 500
    assert (await hub.asks(told["device_code"]))["error"] == "authorization_pending"
    hub.journal.broken = False
    await answer(browser, page)
    kind, who, outcome, detail = hub.journal.events[-1]
    assert (kind, who, outcome, detail["act"]) == ("auth", "user:ada", "done", "device.allow")
    assert detail["client_name"] == "Terminal"
    assert told["device_code"] not in repr(hub.journal.events)
    assert told["user_code"] not in repr(hub.journal.events)


async def test_other_methods_are_told_apart_and_pages_of_any_origin_may_ask(hub: Television) -> None:
    answer = await hub.http.get("/oauth/device_authorization")
    assert (answer.status_code, answer.json()["error"]) == (405, "invalid_request")
    answer = await hub.http.options("/oauth/device_authorization")
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = await hub.http.post("/oauth/device_authorization", json={})
    assert answer.status_code == 415
