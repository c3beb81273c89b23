"""The pages in front of the real authorization server: nothing is the test's own but clock and client."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hub.core.ports import Fetched, FetchRefused
from hub.edge.oauth import oauth_app
from hub.identity.oauth.ports import Parts
from hub.identity.oauth.resources import Resources
from hub.identity.oauth.server import AuthorizationServer
from hub.identity.oauth.signing import SigningKeys
from hub.identity.profiles import Profile
from hub.identity.roles import Roles
from hub.identity.users import Users
from hub.stores.memory.grants import MemoryGrants
from hub.stores.memory.users import MemoryUsers
from tests.admin.fakes import FakeJournal
from tests.edge.oauth.place import BASE, PASSWORD, Browser, Clock, Page, Sealing, told

CALLBACK = "http://127.0.0.1:33418/cb"
CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class NoNetwork:
    async def get(self, url: str, **how: Any) -> Fetched:
        raise FetchRefused("there is no network here")

    async def post(self, url: str, body: bytes, **how: Any) -> Fetched:
        raise FetchRefused("there is no network here")


class Whole:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        roles, sealing = Roles(), Sealing()
        self.users = Users(MemoryUsers(), roles, sealing, self.clock)
        self.resources = Resources((BASE,), lambda: ("", "team"))
        store, signing = MemoryGrants(self.clock), SigningKeys(folder / "signing.json", clock=self.clock)
        parts = Parts(store, self.users, roles, self.resources, NoNetwork(), signing, sealing)
        self.server = AuthorizationServer(parts, clock=self.clock)
        self.journal = FakeJournal()
        self.app = oauth_app(self.server, self.users, self.resources, self.journal, secure=True, clock=self.clock)
        self.http = self.browser().http
        self.client = ""

    async def start(self) -> Whole:
        await self.server.load()
        await self.users.create("ada", Profile(("member",)), PASSWORD)
        sent = {
            "client_name": "Cursor",
            "redirect_uris": [CALLBACK, CURSOR],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        answer = await self.http.post("/oauth/register", json=sent)
        assert answer.status_code == 201, answer.text
        self.client = answer.json()["client_id"]
        return self

    def browser(self) -> Browser:
        return Browser(self.app, BASE, "192.0.2.7")

    async def ask(self, browser: Browser, **query: str) -> Page:
        return await browser.ask(
            **{
                "response_type": "code",
                "client_id": self.client,
                "redirect_uri": CALLBACK,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
                "resource": f"{BASE}/mcp",
                **query,
            }
        )

    async def token(self, **form: str) -> Any:
        answer = await self.http.post("/oauth/token", data={"client_id": self.client, **form})
        return answer.json()

    async def redeemed(self, location: str) -> Any:
        return await self.token(
            grant_type="authorization_code",
            code=told(location)["code"],
            redirect_uri=location.partition("?")[0],
            code_verifier=VERIFIER,
            resource=f"{BASE}/mcp",
        )


@pytest.fixture
async def whole(tmp_path: Path) -> Whole:
    return await Whole(tmp_path).start()


async def test_a_client_registers_a_person_allows_and_the_token_is_that_persons(whole: Whole) -> None:
    browser = whole.browser()
    page = await browser.log_in(await whole.ask(browser))
    assert "Answer goes to a program on this computer" in page.text
    page = await browser.answer(page)
    assert told(page.leads_to)["state"] == "s t/1"
    assert told(page.leads_to)["iss"] == BASE
    tokens = await whole.redeemed(page.leads_to)
    verified = await whole.server.verifier.verify(tokens["access_token"])
    assert verified is not None
    assert (verified.principal.name, verified.principal.scopes) == ("user:ada", frozenset({"mcp"}))
    again = await whole.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert await whole.server.verifier.verify(again["access_token"]) is not None


async def test_a_private_scheme_is_gone_to_as_it_was_registered(whole: Whole) -> None:
    browser = whole.browser()
    page = await browser.log_in(await whole.ask(browser, redirect_uri=CURSOR))
    assert "the app that opens cursor://" in page.text
    page = await browser.answer(page)
    assert page.leads_to.startswith(f"{CURSOR}?code=")
    assert "access_token" in await whole.redeemed(page.leads_to)


async def test_an_answer_counts_once_through_the_pages_too(whole: Whole) -> None:
    browser = whole.browser()
    page = await browser.log_in(await whole.ask(browser))
    first, second = await browser.answer(page), await browser.answer(page)
    assert first.leads_to == second.leads_to
    assert "access_token" in await whole.redeemed(first.leads_to)
    (grant,) = whole.server.grants_of(next(row.id for row in whole.users.rows()))
    assert grant.client_name == "Cursor"


async def test_a_foreign_redirect_is_told_to_the_person_and_gone_to_by_nobody(whole: Whole) -> None:
    page = await whole.ask(whole.browser(), redirect_uri="https://evil.example/cb")
    assert (page.status, page.to, page.leads_to) == (400, "", "")
    assert "has not registered" in page.text


async def test_without_pkce_the_client_is_told_and_nobody_logs_in(whole: Whole) -> None:
    page = await whole.ask(whole.browser(), code_challenge_method="plain")
    assert page.to.startswith(f"{CALLBACK}?")
    assert told(page.to)["error"] == "invalid_request"


async def test_a_denial_reaches_the_client_with_state_and_issuer(whole: Whole) -> None:
    browser = whole.browser()
    page = await browser.answer(await browser.log_in(await whole.ask(browser)), "deny")
    assert told(page.leads_to) == {"error": "access_denied", "state": "s t/1", "iss": BASE}


async def test_what_no_role_allows_comes_back_as_a_denial(whole: Whole) -> None:
    browser = whole.browser()
    page = await browser.log_in(await whole.ask(browser, scope="admin", resource=f"{BASE}/api/v1"))
    assert "Far-reaching" in page.text
    assert "its administration" in page.text
    assert told((await browser.answer(page)).leads_to)["error"] == "access_denied"


async def test_the_metadata_names_addresses_that_are_served(whole: Whole) -> None:
    metadata = (await whole.http.get("/.well-known/oauth-authorization-server")).json()
    for name, address in metadata.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            answer = await whole.http.request("GET", address.removeprefix(BASE))
            assert answer.status_code != 404, name
    assert (await whole.http.get("/oauth/jwks")).json()["keys"]
