"""A person's own connections: seen, made, named, chosen and ended by nobody else."""

from __future__ import annotations

import re

import pytest

from hub.edge.oauth_departures import BEGUN
from hub.identity.outbound.account import Connection
from hub.identity.outbound.refresher import MAX_LABEL
from tests.edge.oauth.connecting import ISSUER, ConnectPlace, Waiting, answered
from tests.edge.oauth.place import Browser, Page
from tests.edge.oauth.place import Place as LoginPlace

PAGE = "/oauth/connections"
FORMS = ["connect", "logout", "rename", "choose"]


class Home(ConnectPlace):
    async def start(self) -> Home:
        await self.user(display="Ada L")
        await self.user("bob")
        return self

    def id(self, name: str = "ada") -> str:
        row = self.users.find(name)
        assert row is not None
        return row.id

    async def connected(self, server: str = "linear", label: str = "", name: str = "ada") -> str:
        """The id of a connection of this user."""
        arrived = await self.connect.keep(Waiting(server, self.id(name), name, True, label))
        return arrived.connection.id

    def mine_now(self, name: str = "ada") -> dict[str, Connection]:
        return {row.id: row for row in self.connect.of(self.id(name))}

    async def at_home(self, name: str = "ada") -> tuple[Browser, Page]:
        browser = await self.logged_in(name)
        page = await browser.get(PAGE)
        assert page.title == "Your connections · MCP Hub", page.text
        return browser, page

    async def sent(self, browser: Browser, page: Page, form: str, **fields: str) -> Page:
        return await browser.post(f"{PAGE}/{form}", {"csrf": page.fields()["csrf"], **fields})


@pytest.fixture
async def home() -> Home:
    return await Home().start()


async def test_who_is_not_logged_in_logs_in_and_comes_back(home: Home) -> None:
    browser = home.browser()
    page = await browser.get(PAGE)
    assert "Then you see your connections" in page.text
    page = await browser.log_in(page)
    assert browser.at.startswith(f"{PAGE}?w=")
    assert page.title.startswith("Your connections")


async def test_by_another_address_of_the_hub_one_comes_to_the_one_that_logins_lead_back_to(home: Home) -> None:
    browser = home.browser("https://hub.internal:8443")
    page = await browser.get(PAGE)
    assert (page.status, page.to) == (303, f"https://hub.example{PAGE}?here=1")
    assert browser.cookie() is None
    behind_a_proxy = await browser.get(f"{PAGE}?here=1")  # whose host is never ours
    assert behind_a_proxy.title.startswith("Log in")


async def test_ones_own_page_leads_here_where_there_is_such_a_page(home: Home) -> None:
    browser = await home.logged_in()
    assert f'href="{PAGE}"' in (await browser.get("/oauth/account")).source
    other = LoginPlace()
    await other.user()
    browser = other.browser()
    page = await browser.log_in(await browser.get("/oauth/account"))
    assert page.title.startswith("Your page")
    assert PAGE not in page.source


async def test_connections_are_shown_with_who_one_is_there_and_how_they_stand(home: Home) -> None:
    await home.connected("linear", "work")
    home.clock.now += 60
    await home.connected("linear", "home")
    home.connect.life_s = 60.0
    home.connect.name = None
    home.connect.servers = ("linear",)
    await home.connected("gone")
    await home.connected("notion", name="bob")
    home.clock.now += 120
    _, page = await home.at_home()
    assert "in your name: ada ( Ada L )" in page.text
    assert page.text.count("There you are ada@example.com .") == 2
    assert "home In use, of several" in page.text
    assert "work In use" not in page.text
    assert "Connected since 15 January 2027, 08:01 UTC, by login.example." in page.text
    assert "Your account A login is needed. The login has ended." in page.text
    assert "notion" not in page.text  # bob's, and no server that one can log in to
    assert page.text.count("Add another account") == 1  # at a server that is logged in to still
    assert "Log in again" not in page.text


async def test_who_has_none_is_told_what_there_is(home: Home) -> None:
    _, page = await home.at_home()
    assert "None yet. You can connect linear Connect notion Connect" in page.text
    home.connect.servers = ()
    _, page = await home.at_home()
    assert "No server of this hub asks you to log in." in page.text


async def test_a_server_is_connected_by_one_press_and_is_ones_own(home: Home) -> None:
    browser, page = await home.at_home()
    page = await home.sent(browser, page, "connect", server="notion")
    assert (page.status, page.to) == (200, "")  # Chromium would hold a redirect after a form to form-action
    assert page.leads_to.startswith(f"{ISSUER}/authorize?")
    ((token, _),) = home.connect.begun
    assert home.connect.offered[token] == Waiting("notion", home.id(), "user ada", True)
    assert (await browser.get(answered(page))).status == 200
    assert [row.server for row in home.mine_now().values()] == ["notion"]
    assert home.mine_now("bob") == {}


async def test_another_account_has_a_name_that_is_not_taken(home: Home) -> None:
    first = await home.connected("linear", "work")
    browser, page = await home.at_home()
    for label, status in (("", 400), ("  ", 400), (" work ", 409), ("x" * (MAX_LABEL + 1), 409)):
        refused = await home.sent(browser, page, "connect", server="linear", label=label)
        assert (refused.status, refused.leads_to) == (status, ""), label
        assert "That did not work." in refused.text
    assert home.connect.begun == []
    page = await home.sent(browser, page, "connect", server="linear", label=" home ")
    await browser.get(answered(page))
    assert {row.label for row in home.mine_now().values()} == {"work", "home"}
    assert not home.mine_now()[first].is_chosen


async def test_a_login_that_has_ended_is_made_again_under_its_name(home: Home) -> None:
    home.connect.life_s = 60.0
    id = await home.connected("linear", "work")
    home.clock.now += 120
    home.connect.life_s = 3600.0
    browser, page = await home.at_home()
    assert "Log in again" in page.text
    page = await home.sent(browser, page, "connect", id=id)
    await browser.get(answered(page))
    (row,) = home.mine_now().values()
    assert (row.id, row.label, row.state) == (id, "work", "connected")


async def test_a_server_that_nobody_logs_in_to_is_not_connected(home: Home) -> None:
    home.connect.servers = ("closed",)
    browser, page = await home.at_home()
    for server in ("linear", "", "<b>"):
        refused = await home.sent(browser, page, "connect", server=server)
        assert (refused.status, refused.leads_to) == (404, "")
        assert "<b>" not in refused.source
    refused = await home.sent(browser, page, "connect", server="closed")
    assert refused.status == 409
    assert "You have asked for these rights often enough." in refused.text
    assert home.connect.begun == []


async def test_connecting_here_counts_for_the_network_as_by_a_link(home: Home) -> None:
    browser, page = await home.at_home()
    for _ in range(BEGUN.burst):
        assert (await home.sent(browser, page, "connect", server="linear")).status == 200
    assert (await home.sent(browser, page, "connect", server="linear")).status == 429


async def test_logging_out_ends_that_account_and_no_other(home: Home) -> None:
    kept, ended = await home.connected("linear", "home"), await home.connected("linear", "work")
    browser, page = await home.at_home()
    page = await home.sent(browser, page, "logout", id=ended)
    assert "You are logged out there" in page.text
    assert set(home.mine_now()) == {kept}
    assert home.connect.ended == [(ended, "user:ada")]
    again = await home.sent(browser, page, "logout", id=ended)
    assert again.status == 409
    assert "There is no such connection" in again.text


async def test_an_account_is_renamed_in_the_log_first(home: Home) -> None:
    id, other = await home.connected("linear", "work"), await home.connected("linear", "home")
    browser, page = await home.at_home()
    done = await home.sent(browser, page, "rename", id=id, label=" <b>office ")
    assert "The account has its new name." in done.text
    assert "<b>" not in done.source
    assert home.mine_now()[id].label == "<b>office"
    _, who, outcome, detail = home.journal.events[-1]
    assert (who, outcome, detail["act"], detail["connection"]) == ("user:ada", "done", "connections.rename", id)
    count = len(home.journal.events)
    assert (await home.sent(browser, page, "rename", id=id, label="<b>office")).status == 200
    for label in ("x" * (MAX_LABEL + 1), "a\u202eb"):
        assert (await home.sent(browser, page, "rename", id=id, label=label)).status == 400
    assert len(home.journal.events) == count  # nothing was done
    taken = await home.sent(browser, page, "rename", id=other, label="<b>office")
    assert taken.status == 409
    assert "Another account there has this name." in taken.text
    assert [event[1] for event in home.acts()[-2:]] == ["done", "error"]
    assert home.mine_now()[other].label == "home"


async def test_of_several_accounts_another_one_is_used_from_then_on(home: Home) -> None:
    first, second = await home.connected("linear", "work"), await home.connected("linear", "home")
    browser, page = await home.at_home()
    assert page.text.count("Use this one") == 1
    page = await home.sent(browser, page, "choose", id=first)
    assert "The hub uses that account from now on." in page.text
    assert (home.mine_now()[first].is_chosen, home.mine_now()[second].is_chosen) == (True, False)
    assert home.acts()[-1] == ("user:ada", "done", "connections.choose")
    count = len(home.journal.events)
    await home.sent(browser, page, "choose", id=first)
    assert len(home.journal.events) == count


@pytest.mark.parametrize("form", ["rename", "choose"])
async def test_what_the_log_does_not_take_is_not_done(home: Home, form: str) -> None:
    id = await home.connected("linear", "work")
    await home.connected("linear", "home")
    browser, page = await home.at_home()
    before = home.mine_now()
    home.journal.broken = True
    assert (await home.sent(browser, page, form, id=id, label="x")).status == 500
    assert home.mine_now() == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("id", ["bob's", "local's", "", "x" * 4000])
async def test_nobody_does_anything_to_what_is_not_theirs(home: Home, form: str, id: str) -> None:
    theirs = await home.connected("linear", "his", "bob")
    locals_ = (await home.connect.keep(Waiting("linear", "local", "local", False))).connection.id
    await home.connected("linear", "mine")
    browser, page = await home.at_home()
    before, mine = home.mine_now("bob"), home.mine_now()
    id = {"bob's": theirs, "local's": locals_}.get(id, id)
    refused = await home.sent(browser, page, form, id=id, label="new")
    assert refused.status == 409
    assert "There is no such connection" in refused.text
    assert (home.mine_now("bob"), home.mine_now()) == (before, mine)
    assert home.connect.connections.get(locals_) is not None
    assert home.connect.begun == []
    assert "connections." not in repr(home.acts())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["none", "another's", "cross-site"])
async def test_a_form_that_is_not_ours_does_nothing(home: Home, form: str, how: str) -> None:
    id = await home.connected("linear", "work")
    await home.connected("linear", "home")
    browser, page = await home.at_home()
    _, others = await home.at_home("bob")
    before = home.mine_now()
    csrf = {"none": "", "another's": others.fields()["csrf"], "cross-site": page.fields()["csrf"]}[how]
    headers = {"sec-fetch-site": "cross-site"} if how == "cross-site" else {}
    fields = {"csrf": csrf, "id": id, "label": "new", "server": "linear"}
    assert (await browser.post(f"{PAGE}/{form}", fields, headers)).status == 403
    assert home.mine_now() == before
    assert home.connect.begun == []


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_of_somebody_who_logged_out_asks_for_a_login(home: Home, form: str) -> None:
    id = await home.connected("linear", "work")
    await home.connected("linear", "home")
    browser, page = await home.at_home()
    before = home.mine_now()
    home.clock.now += 3600  # the login ends unused
    sent = await home.sent(browser, page, form, id=id, label="new")
    assert sent.title.startswith("Log in")
    assert {of: row.label for of, row in home.mine_now().items()} == {of: row.label for of, row in before.items()}
    assert home.connect.begun == []


async def test_a_link_from_elsewhere_claims_nothing_on_the_page(home: Home) -> None:
    browser, _ = await home.at_home()
    page = Page(await browser.http.get(f"{PAGE}?done=ended", headers={"sec-fetch-site": "cross-site"}))
    assert page.title.startswith("Your connections")
    assert "logged out there" not in page.text
    assert "logged out there" in (await browser.get(f"{PAGE}?done=ended")).text


async def test_what_others_say_of_one_is_text(home: Home) -> None:
    home.connect.name = "<script>x</script>\u202eevil"
    await home.connected("linear", "<b>mine")
    _, page = await home.at_home()
    assert "<script" not in page.source
    assert "<b>" not in page.source
    assert "\u202e" not in page.source
    assert "style=" not in page.source


async def test_the_page_holds_no_token_and_every_id_once(home: Home) -> None:
    for label in ("work", "home"):
        await home.connected("linear", label)
    await home.connected("notion")
    _, page = await home.at_home()
    for row in home.connect.connections.of(home.id()):
        held = home.connect.connections.token(row.server, row.user, row.resource)
        assert str(await held) not in page.source
    ids = re.findall(r'\bid="([^"]*)"', page.source)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-(?:labelledby|describedby)="([^"]*)"', page.source)) <= set(ids)
