"""What clients and strangers send to the pages in order to deceive, to fill or to break."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.edge.browser import Browsers, Visit
from hub.edge.oauth_parked import Half, Parked, Waiting
from hub.edge.oauth_words import NAME_LENGTH, host_of, place_of, plain, rights_of
from hub.identity.oauth.asked import Login, Wish
from tests.edge.oauth.place import BASE, EDITOR, PASSWORD, Clock, Place, renamed

WISH = Wish(EDITOR, EDITOR.redirect_uris[0], f"{BASE}/mcp", ("mcp",), "c" * 43)


async def shown(place: Place, **query: str) -> str:
    await place.user()
    browser = place.browser()
    page = await browser.log_in(await browser.ask(**query))
    assert page.title.startswith("Allow access?")
    return page.source


async def test_the_name_of_a_client_is_text_and_never_markup() -> None:
    place = Place()
    name = "</bdi><script>alert(1)</script>\"'{{7*7}}"
    place.server.clients["x"] = renamed(EDITOR, name)
    source = await shown(place, client_id="x", scope="mcp:tool:<img/src=x> admin")
    assert "<script" not in source
    assert "<img" not in source
    assert "{{7*7}}" in source


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Claude\u202egpj.exe", "Claudegpj.exe"),
        ("Cl\u200bau\u2060de\ufeff", "Claude"),
        ("a\r\nb\tc\u2028d\x00e\x1b[31mf", "a b c de[31mf"),
        ("Z\u0300\u0301\u0302\u0303\u0304a", "Z\u0300\u0301a"),
        ("x" * 500, "x" * (NAME_LENGTH - 1) + "…"),
        ("\U000e0041tag", "tag"),
        (" \u3000 ", ""),
    ],
)
def test_a_name_is_one_line_of_what_can_be_seen(said: str, read: str) -> None:
    assert plain(said) == read


async def test_a_client_without_a_name_is_said_to_have_none() -> None:
    place = Place()
    place.server.clients["x"] = renamed(EDITOR, "\u200b\u202e")
    assert "an app without a name" in await shown(place, client_id="x")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:33418/", "a program on this computer"),
        ("http://[::1]:1/cb", "a program on this computer"),
        ("http://localhost:9/cb", "a program on this computer"),
        ("https://claude.ai/api/mcp/auth_callback", "claude.ai"),
        ("https://claude.ai:443/cb", "claude.ai"),
        ("https://claude.ai:8443/cb", "claude.ai:8443"),
        ("https://claude.ai@evil.example/cb", "evil.example"),
        ("https://127.0.0.1.evil.example/cb", "127.0.0.1.evil.example"),
        ("https://localhost.evil.example/cb", "localhost.evil.example"),
        ("https://cl\u0430ude.ai/cb", "xn--clude-5ve.ai"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "the app that opens cursor://"),
        ("https://[oops/cb", "an address that cannot be read"),
    ],
)
def test_where_the_answer_goes_is_read_from_the_address_and_not_from_its_decoration(uri: str, words: str) -> None:
    found = host_of(uri) if "oops" in uri else place_of(uri)
    assert found == words


def test_scopes_are_words_and_what_is_far_reaching_is_marked() -> None:
    (whole,) = rights_of(("mcp",))
    assert not whole.is_strong
    narrowed = rights_of(("mcp", "mcp:server:time", "mcp:tool:time__*", "admin"))
    assert [(right.names, right.is_strong) for right in narrowed] == [
        (("time",), False),
        (("time__*",), False),
        ((), True),
    ]
    assert rights_of(("mcp:server:*",)) == rights_of(("mcp",))
    (unknown,) = rights_of(("launch",))
    assert (unknown.names, unknown.is_strong) == (("launch",), True)


@pytest.mark.parametrize(
    "elsewhere", ["javascript:alert(1)//", "https://evil.example/cb", "http://127.0.0.1:9/cb", "/relative"]
)
async def test_the_last_page_leads_nowhere_but_where_the_client_asked(elsewhere: str) -> None:
    place = Place()
    await place.user()
    place.server.goes_to = elsewhere
    browser = place.browser()
    page = await browser.answer(await browser.log_in(await browser.ask()))
    assert (page.status, page.leads_to) == (500, "")
    assert elsewhere not in page.source


async def test_an_address_that_would_run_is_not_gone_to_even_if_a_client_has_it() -> None:
    place = Place()
    await place.user()
    place.server.clients["x"] = replace(EDITOR, redirect_uris=("javascript:alert(1)",))
    browser = place.browser()
    page = await browser.answer(await browser.log_in(await browser.ask(client_id="x")))
    assert (page.status, page.leads_to) == (500, "")


async def test_every_page_forbids_scripts_frames_caches_and_referrers() -> None:
    place = Place()
    browser = place.browser()
    pages = [await browser.ask(), await browser.get("/oauth/welcome"), await browser.get("/oauth/nowhere")]
    await place.user()
    pages += [await browser.ask(client_id="none"), await browser.ask(), await browser.get("/oauth/login?w=x")]
    pages.append(await browser.log_in(pages[-2]))
    pages.append(await browser.answer(pages[-1]))
    pages.append(await browser.answer(pages[-2], "deny"))
    pages.append(await browser.post("/oauth/logout", pages[-3].fields()))
    pages.append(await browser.ask(response_type="token"))
    for page in pages:
        assert page.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in page.headers
        assert "<script" not in page.source
        assert "style=" not in page.source
        assert "<title>" in page.source or page.status == 303


async def test_a_form_that_is_too_large_or_no_form_is_refused() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    page = await browser.ask()
    large = await browser.log_in(page, password="x" * 70_000)
    assert large.status == 413
    typed = await browser.http.post("/oauth/login", content=b"{}", headers={"content-type": "application/json"})
    assert typed.status_code == 400
    for body in (b"csrf=%ff", b"&".join(b"a%d=1" % n for n in range(65)), b"w=1&w=2", "ü=1".encode()):
        sent = await browser.http.post(
            "/oauth/login", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )
        assert sent.status_code in (400, 403)


async def test_a_field_that_comes_twice_means_nothing() -> None:
    place = Place()
    await place.user()
    browser = place.browser()
    fields = (await browser.log_in(await browser.ask())).fields()
    body = f"csrf={fields['csrf']}&w={fields['w']}&answer=deny&answer=allow"
    media = {"content-type": "application/x-www-form-urlencoded"}
    assert (await browser.http.post("/oauth/consent", content=body, headers=media)).status_code == 400
    assert place.server.granted_to == []


@pytest.mark.parametrize("query", ["a=" + "x" * 9000, "a=%ff", "&".join(f"a{n}=1" for n in range(65))])
async def test_a_request_that_cannot_be_read_is_explained(query: str) -> None:
    page = await Place().browser().get(f"/oauth/authorize?{query}")
    assert page.status == 400
    assert "This request cannot be answered" in page.text


@pytest.mark.parametrize("w", ["", "x", "../../x", "A" * 22, "A" * 5000, "%00"])
async def test_a_wish_that_is_none_is_explained(w: str) -> None:
    place = Place()
    await place.user()
    page = await place.browser().get(f"/oauth/consent?w={w}")
    assert page.status == 400


async def test_a_failure_shows_nothing_of_itself() -> None:
    place = Place()
    await place.user()
    place.server.failure = RuntimeError("the store at /secret/path is locked")
    browser = place.browser()
    page = await browser.log_in(await browser.ask())
    failed = await browser.answer(page)
    assert failed.status == 500
    assert "/secret/path" not in failed.source
    place.server.failure = None
    assert (await browser.answer(page)).leads_to != ""  # nothing was spent


async def login(place: Place, name: str) -> Login:
    row = await place.users.create(name, None, PASSWORD)
    return Login(row, place.clock.now, "password")


async def test_login_sessions_are_bounded_and_the_longest_unused_ends_first() -> None:
    place = Place()
    who = await login(place, "ada")
    browsers = Browsers(secure=True, clock=place.clock, most=3)
    visits = [browsers.log_in(browsers.visit({}), who) for _ in range(3)]
    assert _again(browsers, visits[0]).login is not None  # used
    browsers.log_in(browsers.visit({}), who)
    assert [_again(browsers, visit).login is not None for visit in visits] == [True, False, True]


def _again(browsers: Browsers, visit: Visit) -> Visit:
    assert visit.cookie is not None
    name, _, value = visit.cookie.partition(";")[0].partition("=")
    return browsers.visit({name: value})


def test_a_browser_that_is_not_logged_in_costs_no_memory() -> None:
    browsers = Browsers(secure=True)
    for _ in range(1000):
        browsers.visit({})
    assert browsers._sessions == {}


def test_a_flood_of_requests_drops_its_own_and_nobody_elses() -> None:
    waiting = Waiting(Clock(), most=100)
    mine = waiting.park(WISH, "my browser", "192.0.2.7")
    flood = [waiting.park(WISH, f"b{n}", "198.51.100.1") for n in range(1000)]
    assert waiting.find(mine.id, "my browser") is mine
    assert waiting.find(flood[0].id, "b0") is None
    assert waiting.find(flood[-1].id, "b999") is flood[-1]
    assert len(waiting._parked) == 100


def test_what_waited_too_long_is_swept() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    for n in range(50):
        waiting.park(WISH, f"b{n}", "192.0.2.7")
    clock.now += 600
    waiting.park(WISH, "new", "192.0.2.7")
    assert len(waiting._parked) == 1


def test_no_secret_stands_in_what_is_printed_of_a_browser_or_a_wish() -> None:
    visit = Browsers(secure=True).visit({})
    parked = Parked("id", WISH, visit.key, "192.0.2.7", 0.0)
    parked.half, parked.location = Half("ada", PASSWORD, 1.0), "https://x/?code=s3cret"
    assert visit.cookie is not None
    for secret in (visit.csrf, visit.cookie.partition("=")[2][:43], PASSWORD, "s3cret"):
        assert secret not in repr(visit) + repr(parked)
