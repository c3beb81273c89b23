"""The pages over the real logins: a downstream and its issuer on loopback, real users, one log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from hub.assembly_connections import Connect
from hub.core.call import LOCAL
from hub.edge.oauth import oauth_app
from hub.identity.oauth.resources import Resources
from hub.identity.outbound.account import OwnConnections
from hub.identity.outbound.acts import THIS
from tests.edge.oauth.connecting import CALLBACK, goal, state_of
from tests.edge.oauth.place import Browser, Page, Place
from tests.identity.outbound.office import BASE, Office, an_office

PAGE = "/oauth/connections"


class Whole(Place):
    def __init__(self, office: Office) -> None:
        super().__init__(secure=False)
        self.office = office
        own = OwnConnections(office.connections)
        self.connect = Connect(office.desk, own, office.connections, office.leaving)
        self.app = oauth_app(
            *(self.server, self.users, Resources((BASE,), lambda: ("",)), office.log),
            secure=False,
            connect=self.connect,
            clock=self.clock,
        )

    async def logged_in(self, name: str) -> tuple[Browser, Page]:
        browser = self.browser(BASE)
        page = await browser.log_in(await browser.get(PAGE), name)
        assert page.title.startswith("Your connections"), page.text
        return browser, page

    def link(self, account: str, whose: str) -> str:
        return self.office.desk.offer_to(account, whose, "wiki").url.removeprefix(BASE)

    def back(self, page: Page, user: str) -> str:
        return f"{CALLBACK}?{urlencode(self.office.back(goal(page), user))}"


@pytest.fixture
async def whole() -> AsyncIterator[Whole]:
    async with an_office() as office:
        yield Whole(office)


async def test_two_users_connect_and_each_speaks_as_himself(whole: Whole) -> None:
    ids = {name: await whole.user(name) for name in ("ada", "bob")}
    for name, id in ids.items():
        browser, page = await whole.logged_in(name)
        page = await browser.post(f"{PAGE}/connect", {**page.fields(), "server": "wiki"})
        page = await browser.get(whole.back(page, id))
        assert page.title.startswith("Connected to wiki"), page.text
    for id in ids.values():
        assert whole.office.bank.access[str(await whole.office.voice(id).token())] == id
    logins = [act for act in whole.office.log.acts() if act[1] == "connections.login"]
    assert logins == [("user:ada", "connections.login", "done"), ("user:bob", "connections.login", "done")]


async def test_a_link_of_a_call_is_begun_by_its_user_and_a_no_can_be_thought_over(whole: Whole) -> None:
    id = await whole.user()
    browser, _ = await whole.logged_in("ada")
    begun = await browser.get(whole.link(id, "user ada"))
    iss = whole.office.back(goal(begun), id)[2:]
    no = f"{CALLBACK}?{urlencode([('error', 'access_denied'), ('state', state_of(begun)), *iss])}"
    page = await browser.get(no)
    assert page.status == 403
    assert "The login at wiki was cancelled there" in page.text
    again = page.source.partition('class="button" href="')[2].partition('"')[0]
    page = await browser.get(whole.back(await browser.get(again), id))
    assert page.title.startswith("Connected to wiki")
    assert [act for act in whole.office.log.acts() if act[1] == "connections.login"] == [
        ("user:ada", "connections.login", "denied:refused"),
        ("user:ada", "connections.login", "done"),
    ]


async def test_what_is_for_this_computer_is_asked_for_and_bound_to_one_browser(whole: Whole) -> None:
    browser, other = whole.browser(BASE), whole.browser(BASE)
    link = whole.link(LOCAL, THIS)
    page, elsewhere = await browser.get(link), await other.get(link)
    assert "Used for this computer" in page.text
    begun = await browser.post("/oauth/connect", page.fields())
    late = await other.post("/oauth/connect", elsewhere.fields())
    assert late.status == 404
    assert "This login was begun in another browser" in late.text
    assert (await other.get(whole.back(begun, "me"))).status == 400
    assert (await browser.get(whole.back(begun, "me"))).status == 200
    assert whole.office.bank.access[str(await whole.office.voice(LOCAL).token())] == "me"


async def test_an_account_is_named_chosen_and_logged_out_of_and_its_issuer_ends_it(whole: Whole) -> None:
    id = await whole.user()
    for label in ("", "work"):
        await whole.office.log_in(id, label=label, whose="user ada")
    browser, page = await whole.logged_in("ada")
    first, second = whole.connect.of(id)
    csrf = {"csrf": page.fields()["csrf"]}
    assert second.is_chosen
    await browser.post(f"{PAGE}/rename", {**csrf, "id": first.id, "label": "home"})
    await browser.post(f"{PAGE}/choose", {**csrf, "id": first.id})
    page = await browser.post(f"{PAGE}/logout", {**csrf, "id": second.id})
    assert "You are logged out there" in page.text
    (left,) = whole.connect.of(id)
    assert (left.id, left.label, left.is_chosen) == (first.id, "home", True)
    assert whole.office.bank.revoked != []
    assert whole.office.log.acts()[-3:] == [
        ("user:ada", "connections.rename", "done"),
        ("user:ada", "connections.choose", "done"),
        ("user:ada", "connections.logout", "done"),
    ]
    assert "canary-" not in page.source
    assert "canary-" not in repr(whole.office.log.events)
