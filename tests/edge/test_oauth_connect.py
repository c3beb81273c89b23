"""From the link that a caller is given, to the issuer, and back: whose browser may go, and what it is told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from hub.edge.oauth_departures import BEGUN, Once
from hub.identity.outbound.errors import Exhausted, OutboundFailed, Refused, Unavailable, Unfit, Unregistered
from hub.identity.outbound.refresher import MAX_OF_USER
from tests.edge.oauth.connecting import CALLBACK, ISSUER, BarePlace, ConnectPlace, answered, goal, state_of
from tests.edge.oauth.place import BASE, PASSWORD, Browser, Page
from tests.edge.oauth.place import Place as LoginPlace

Place = ConnectPlace | BarePlace


@pytest.fixture
async def place() -> ConnectPlace:
    made = ConnectPlace()
    await made.user()
    await made.user("bob")
    return made


def user_id(place: Place, name: str) -> str:
    row = place.users.find(name)
    assert row is not None
    return row.id


async def pressed(browser: Browser, page: Page, **changed: str) -> Page:
    return await browser.post("/oauth/connect", {**page.fields(), **changed})


# -- of a user


async def test_a_users_link_leads_straight_on_and_back(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    page = await browser.get(await place.mine("linear"))
    assert page.status == 303
    assert page.to.startswith(f"{ISSUER}/authorize?")
    page = await browser.get(answered(page))
    assert page.title == "Connected to linear · MCP Hub"
    assert "as ada@example.com" in page.text
    assert "Go back to your app" in page.text
    assert 'href="/oauth/connections"' in page.source
    (row,) = place.connect.of(user_id(place, "ada"))
    assert (row.server, row.state) == ("linear", "connected")
    assert place.connect.of(user_id(place, "bob")) == ()


async def test_who_is_not_logged_in_logs_in_first_and_goes_on_by_a_page(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(await place.mine("linear"))
    assert page.title.startswith("Log in")
    assert "Then you go on to log in at linear" in page.text
    assert place.connect.begun == []
    page = await browser.log_in(page)
    assert page.status == 200  # Chromium would hold a redirect after a form to form-action
    assert page.title.startswith("On to linear")
    assert "at login.example" in page.text
    assert page.leads_to.startswith(f"{ISSUER}/authorize?")
    assert "<b>" not in page.source
    assert (await browser.get(answered(page))).status == 200


async def test_another_users_browser_is_told_so_and_begins_nothing(place: ConnectPlace) -> None:
    link = await place.mine("linear", "bob")
    browser = await place.logged_in("ada")
    page = await browser.get(link)
    assert page.status == 403
    assert "You are logged in as ada, and the link was made for another user" in page.text
    assert "bob" not in page.text
    page = await browser.post("/oauth/logout", page.fields())
    assert page.title.startswith("Log in")
    page = await browser.log_in(page, "bob")
    assert page.leads_to.startswith(f"{ISSUER}/authorize?")
    await browser.get(answered(page))
    assert [row.server for row in place.connect.of(user_id(place, "bob"))] == ["linear"]
    assert place.connect.of(user_id(place, "ada")) == ()


async def test_logging_in_as_the_wrong_user_for_a_link_grants_nothing(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.log_in(await browser.get(await place.mine("linear", "bob")), "ada")
    assert page.status == 403
    assert place.connect.begun == []


async def test_a_users_link_is_not_begun_by_a_form(place: ConnectPlace) -> None:
    browser, stranger = await place.logged_in(), place.browser()
    link = await place.mine("linear", "bob")
    fields = (await browser.get("/oauth/account")).fields()
    page = await browser.post("/oauth/connect", {**fields, "c": link.partition("c=")[2]})
    assert page.status == 403
    fields = (await stranger.get(place.connect.offer("local"))).fields()
    page = await stranger.post("/oauth/connect", {**fields, "c": link.partition("c=")[2]})
    assert page.title.startswith("Log in")
    assert place.connect.begun == []


async def test_a_user_whose_access_ends_on_the_way_is_not_connected(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    page = await browser.get(await place.mine("linear"))
    await place.users.disable(user_id(place, "ada"))
    page = await browser.get(answered(page))
    assert page.status == 400
    assert place.connect.connections.of(user_id(place, "ada")) == ()


async def test_who_logs_in_as_another_on_the_way_connects_nobody(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    begun = await browser.get(await place.mine("linear"))
    page = await browser.post("/oauth/logout", (await browser.get("/oauth/account")).fields())
    await browser.log_in(await browser.get("/oauth/account"), "bob")
    page = await browser.get(answered(begun))
    assert page.status == 400
    assert "that ended this login" in page.text
    assert place.connect.of(user_id(place, "bob")) == ()


# -- of everybody else


async def test_what_is_no_users_is_asked_for_and_says_who_may_use_the_account(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(place.connect.offer("local", "everybody at this computer & <b>"))
    assert page.status == 200
    assert "Connect linear?" in page.text
    assert "Used for everybody at this computer & <b>" in page.text
    assert "<b>" not in page.source
    assert browser.cookie() is not None
    assert place.connect.begun == []
    page = await pressed(browser, page)
    assert (page.status, page.to) == (200, "")  # no redirect after a form
    assert page.leads_to.startswith(f"{ISSUER}/authorize?")
    page = await browser.get(answered(page))
    assert page.title.startswith("Connected to linear")
    assert "/oauth/connections" not in page.source
    assert [row.server for row in place.connect.connections.of("local")] == ["linear"]


async def test_a_hub_without_a_login_has_these_pages_and_no_others() -> None:
    place = BarePlace()
    browser = place.browser()
    page = await pressed(browser, await browser.get(place.connect.offer("local")))
    assert (await browser.get(answered(page))).title.startswith("Connected to linear")
    assert (await browser.http.get("/oauth/style.css")).status_code == 200
    for path in ("/oauth/connections", "/oauth/account", "/oauth/login", "/.well-known/oauth-protected-resource/mcp"):
        assert (await browser.http.get(path)).status_code == 404, path


async def test_a_hub_without_a_login_says_whose_tokens_open_it_where_it_takes_some() -> None:
    browser = BarePlace(with_resources=True).browser()
    found = await browser.http.get("/.well-known/oauth-protected-resource/mcp")
    assert found.json()["resource"] == f"{BASE}/mcp"


async def test_a_users_link_is_nothing_at_a_hub_without_a_login() -> None:
    place = BarePlace()
    page = await place.browser().get(place.connect.offer("u1", is_user=True))
    assert page.status == 404
    assert (await place.browser().get("/oauth/connect?w=" + "w" * 22)).status == 404


@pytest.mark.parametrize("how", ["none", "another's", "cross-site"])
async def test_a_form_that_is_not_ours_begins_nothing(place: ConnectPlace, how: str) -> None:
    link = place.connect.offer("local")
    browser, other = place.browser(), place.browser()
    page, others = await browser.get(link), await other.get(link)
    csrf = {"none": "", "another's": others.fields()["csrf"], "cross-site": page.fields()["csrf"]}[how]
    headers = {"sec-fetch-site": "cross-site"} if how == "cross-site" else {}
    found = await browser.post("/oauth/connect", {**page.fields(), "csrf": csrf}, headers)
    assert found.status == 403
    assert place.connect.begun == []


# -- links


@pytest.mark.parametrize("query", ["", "c=", "c=unknown", "c=a&c=b", f"c={'x' * 300}", "c=%ff", f"x={'y' * 9000}"])
async def test_a_link_that_is_none_says_what_to_do(place: ConnectPlace, query: str) -> None:
    page = await place.browser().get(f"/oauth/connect?{query}")
    assert page.status == 404
    assert "call the tool again for a new link" in page.text


async def test_a_link_is_over_once_it_was_used(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    link = await place.mine("linear")
    await browser.get(answered(await browser.get(link)))
    page = await browser.get(link)
    assert page.status == 404
    assert "This link is over" in page.text


async def test_a_link_that_ends_between_the_page_and_the_button_is_over(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(place.connect.offer("local"))
    place.connect.offered.clear()
    assert (await pressed(browser, page)).status == 404


async def test_what_waited_for_a_login_too_long_is_gone(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(await place.mine("linear"))
    place.clock.now += 600
    assert "Nothing is waiting here" in (await browser.log_in(page)).text
    for w in ("w" * 22, "short"):
        assert "Nothing is waiting here" in (await browser.get(f"/oauth/connect?w={w}")).text


async def test_what_waits_for_another_page_begins_no_login(place: ConnectPlace) -> None:
    browser = place.browser()
    await browser.log_in(await browser.get("/oauth/connections"))
    w = browser.at.partition("w=")[2]
    assert "Nothing is waiting here" in (await browser.get(f"/oauth/connect?w={w}")).text


async def test_two_clicks_go_to_the_same_place(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(place.connect.offer("local"))
    first, second = await asyncio.gather(pressed(browser, page), pressed(browser, page))
    assert first.leads_to == second.leads_to
    assert len(place.connect.begun) == 1
    assert (await browser.get(answered(first))).status == 200


async def test_a_later_click_begins_anew_and_the_answer_of_before_is_nobodys(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.get(place.connect.offer("local"))
    first = await pressed(browser, page)
    place.clock.now += 60
    second = await pressed(browser, page)
    assert state_of(first) != state_of(second)
    assert (await browser.get(answered(first))).status == 400
    assert (await browser.get(answered(second))).status == 200


@pytest.mark.parametrize("location", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "https://a b"])
async def test_nothing_is_gone_to_that_a_browser_would_run(place: ConnectPlace, location: str) -> None:
    place.connect.goes_to = location
    browser = await place.logged_in()
    page = await browser.get(await place.mine("linear"))
    assert (page.status, goal(page)) == (500, "")


async def test_a_network_that_begins_too_many_logins_waits(place: ConnectPlace) -> None:
    browser, other = place.browser(), place.browser(address="198.51.100.1")
    for _ in range(BEGUN.burst):
        await pressed(browser, await browser.get(place.connect.offer("local")))
    page = await pressed(browser, await browser.get(place.connect.offer("local")))
    assert page.status == 429
    assert int(page.headers["retry-after"]) >= 1
    assert len(place.connect.begun) == BEGUN.burst
    assert (await pressed(other, await other.get(place.connect.offer("local")))).status == 200
    place.clock.now += 60
    assert (await pressed(browser, await browser.get(place.connect.offer("local")))).status == 200


# -- the answer


async def test_an_answer_counts_in_the_browser_that_began_it_only(place: ConnectPlace) -> None:
    """Who lures somebody with a link of his own finds that the victim's account is not put under his name."""
    attacker, victim = place.browser(), place.browser()
    page = await pressed(attacker, await attacker.get(place.connect.offer("key:evil")))
    lured = await victim.get(answered(page))
    assert lured.status == 400
    assert "Nobody waits for this answer" in lured.text
    assert place.connect.connections.of("key:evil") == ()
    assert (await attacker.get(answered(page))).status == 200


async def test_the_answer_reaches_its_reader_whole_and_in_order(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await pressed(browser, await browser.get(place.connect.offer("local")))
    await browser.get(f"{answered(page)}&iss=twice&empty=")
    names = [name for name, _ in place.connect.answers[-1]]
    assert names == ["code", "state", "iss", "iss", "empty"]


@pytest.mark.parametrize("query", [f"state={'s' * 9000}", "state=%ff", "&".join(f"a{n}=" for n in range(99))])
async def test_an_answer_that_cannot_be_read_is_asked_of_nobody(place: ConnectPlace, query: str) -> None:
    page = await place.browser().get(f"{CALLBACK}?{query}")
    assert page.status == 400
    assert place.connect.answers == []


async def test_an_answer_to_nothing_says_what_to_do(place: ConnectPlace) -> None:
    page = await place.browser().get(CALLBACK)
    assert page.status == 400
    assert "call the tool again for a new link" in page.text


async def test_a_page_that_is_loaded_again_says_that_it_is_done_already(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    path = answered(await browser.get(await place.mine("linear")))
    first, second = await asyncio.gather(browser.get(path), browser.get(path))
    assert {first.status, second.status} == {200}
    third = await browser.get(path)
    assert "This was done already" in third.text
    assert len(place.connect.answers) == 1
    assert (await place.browser().get(path)).status == 400  # of another browser it is no answer at all
    place.clock.now += 600
    assert (await browser.get(path)).status == 400


def test_what_is_remembered_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    known: Once[str] = Once(lambda: 0.0, 10.0, most=2)
    for key in ("a", "b", "a", "c"):
        known.put(key, key)
    assert [known.get(key) for key in ("a", "b", "c")] == ["a", None, "c"]


FAILURES = [
    (Unavailable("login.example said s3cret"), 502, "could not be reached"),
    (Unfit("it said s3cret"), 502, "is not good for this login"),
    (Refused("server_error", "s3cret"), 502, "The login at linear was refused there"),
    (Refused("access_denied", "s3cret"), 403, "you said no to the hub"),
    (Unregistered("s3cret"), 409, "Ask the hub's administrator to register an app"),
    (Exhausted("s3cret"), 403, "still asks for more rights"),
    (OutboundFailed("s3cret"), 502, "is not good for this login"),
]


@pytest.mark.parametrize(("failure", "status", "told"), FAILURES)
@pytest.mark.parametrize("where", ["begin", "finish"])
async def test_each_failure_says_what_happened_and_what_to_do(
    place: ConnectPlace, failure: OutboundFailed, status: int, told: str, where: str
) -> None:
    browser = await place.logged_in()
    link = await place.mine("linear")
    if where == "begin":
        place.connect.failure = failure
        page = await browser.get(link)
    else:
        begun = await browser.get(link)
        place.connect.failure = failure
        page = await browser.get(answered(begun))
    assert page.status == status
    assert told in page.text
    assert "s3cret" not in page.source
    place.connect.failure = None
    again = re.search(r'<a class="button" href="([^"]*)">Try again', page.source)
    assert (again is None) == isinstance(failure, Unregistered | Exhausted)
    if again is not None:  # at once: the way there is another one than before
        assert (await browser.get(answered(await browser.get(again[1])))).status == 200


async def test_nothing_of_a_refusal_is_quoted(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    page = await browser.get(await place.mine("linear"))
    said = {"error": "temporarily_unavailable", "error_description": "call 555-s3cret", "error_uri": "https://s3cret"}
    page = await browser.get(answered(page, **said))
    assert page.status == 502
    assert "s3cret" not in page.source
    assert "temporarily_unavailable" not in page.source


async def test_what_cannot_be_kept_says_why_in_the_hubs_own_words(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    for number in range(MAX_OF_USER):
        waiting = place.connect.offered[(await place.mine("linear")).partition("c=")[2]]
        await place.connect.keep(replace(waiting, label=str(number)))
    page = await browser.get(answered(await browser.get(await place.mine("linear"))))
    assert page.status == 502
    assert "connections already: remove one first" in page.text


async def test_who_one_is_there_is_text(place: ConnectPlace) -> None:
    place.connect.name = "<script>x</script>\u202eevil"
    browser = await place.logged_in()
    page = await browser.get(answered(await browser.get(await place.mine("linear"))))
    assert "<script>" not in page.source
    assert "\u202e" not in page.source
    place.connect.name = None
    place.clock.now += 60
    page = await browser.get(answered(await browser.get(await place.mine("notion"))))
    assert "with the account that you logged in with" in page.text


async def test_a_failure_that_nobody_foresaw_grants_nothing_and_tells_nothing(place: ConnectPlace) -> None:
    browser = await place.logged_in()
    page = await browser.get(await place.mine("linear"))
    place.connect.failure = TimeoutError("s3cret")
    page = await browser.get(answered(page))
    assert page.status == 500
    assert "s3cret" not in page.source


# -- what every answer has


async def test_no_page_of_a_login_is_kept_or_framed_or_names_its_address_elsewhere(
    place: ConnectPlace, caplog: pytest.LogCaptureFixture
) -> None:
    browser = await place.logged_in()
    link, asked = await place.mine("linear"), place.connect.offer("local")
    begun = await browser.get(link)
    pages = [begun, await browser.get(asked), await browser.get(answered(begun)), await browser.get(link)]
    for page in pages:
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert "<script" not in page.source
    token = link.partition("c=")[2]
    assert token not in begun.to
    assert token not in caplog.text
    assert token not in repr(place.journal.events)
    assert token not in repr(place.connect.begun[0][1])


async def test_the_password_of_the_hub_goes_nowhere_but_to_the_hub(place: ConnectPlace) -> None:
    browser = place.browser()
    page = await browser.log_in(await browser.get(await place.mine("linear")))
    assert PASSWORD not in page.source
    assert PASSWORD not in repr(place.connect.__dict__)


async def test_the_hubs_client_document_is_for_every_issuer(place: ConnectPlace) -> None:
    browser = place.browser()
    found = await browser.http.get("/oauth/client.json")
    assert (found.status_code, found.json()) == (200, {"client_id": f"{BASE}/oauth/client.json"})
    assert found.headers["content-type"] == "application/json"
    assert found.headers["cache-control"] == "public, max-age=300"
    place.connect.client = None
    found = await browser.http.get("/oauth/client.json")
    assert found.status_code == 404
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["cache-control"] == "no-store"


async def test_a_hub_that_logs_in_to_nothing_has_none_of_these_pages() -> None:
    browser = LoginPlace().browser()
    for path in ("/oauth/connect", CALLBACK, "/oauth/connections", "/oauth/client.json"):
        assert (await browser.http.get(path)).status_code == 404
