"""What is entered for a server is used for it and for no other; what issuers registered is shared by issuer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hub.core.connections import ConnectionRow, EnteredClient, ServerAuth
from hub.identity.outbound.challenge import Challenge
from hub.identity.outbound.clients import CALLBACK, hub_client
from hub.identity.outbound.errors import Unavailable, Unfit, Unregistered
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.protected import Protected, unfit
from hub.identity.outbound.registration import document
from tests.identity.outbound.downstream import PRM, query_of
from tests.identity.outbound.office import ANN, BASE, BOB, LIFE_S, Office, an_office, token_of

APP = EnteredClient("app", "canary-secret", "client_secret_post")
ROW = ConnectionRow(
    *("local", "o1", ANN, "wiki", "https://as.example", "https://wiki.example/mcp", "", "app", (), b""),
    created_at=1.0,
    obtained_at=1.0,
    expires_at=None,
    chosen_at=1.0,
)


async def began(office: Office, account: str = ANN, server: str = "wiki") -> dict[str, str]:
    offer = office.desk.offer_to(account, "user x", server)
    return query_of(await office.desk.begin(token_of(offer.url), "browser"))


# -- what is entered


async def test_an_issuer_that_publishes_nothing_is_logged_in_at_as_it_is_entered() -> None:
    async with an_office() as office:
        issuer = office.there.issuer
        office.there.idp.answers = {
            path: answer for path, answer in office.there.idp.answers.items() if "well-known" not in path
        }
        auth = ServerAuth(
            client=APP,
            issuer=issuer,
            scopes=("repo", "user"),
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            revocation_endpoint=f"{issuer}/revoke",
        )
        office.protected["wiki"] = Protected(office.there.url, auth)
        office.there.iss = lambda issuer: None
        asked = await began(office)
        assert (asked["client_id"], asked["scope"], asked["resource"]) == ("app", "repo user", office.there.url)
        row = (await office.log_in()).connection
        assert (row.issuer, row.client) == (issuer, "app")
        office.times.pass_by(LIFE_S)
        assert office.bank.access[str(await office.voice().token())] == ANN
        assert await office.leaving.disconnect(row, "user ann") == "yes"
        assert not [path for path in office.there.paths() if "oauth-authorization-server" in path]


async def test_a_resource_and_an_issuer_that_are_entered_leave_nothing_for_the_server_to_say() -> None:
    async with an_office() as office:
        auth = ServerAuth(issuer=office.there.issuer, resource="https://api.example/", scopes=("a",))
        office.protected["wiki"] = Protected(office.there.url, auth)
        asked = await began(office)
        assert (asked["resource"], asked["scope"]) == ("https://api.example/", "a")
        assert f"{PRM}/mcp" not in office.there.paths()
        assert (await office.log_in()).connection.resource == "https://api.example/"
        assert await office.voice().token() is not None


async def test_scopes_that_are_entered_take_the_place_of_the_servers_list_and_a_challenge_counts_more() -> None:
    async with an_office(prm={"scopes_supported": ["x", "y"]}) as office:
        assert (await began(office))["scope"] == "x y"
        office.protected["wiki"] = Protected(office.there.url, ServerAuth(scopes=("z",)))
        assert (await began(office))["scope"] == "z"
        office.parts.challenges.said("wiki", ANN, Challenge(None, ("w",)))
        assert (await began(office))["scope"] == "w"


async def test_an_app_of_one_server_is_nothing_to_another_at_the_same_issuer() -> None:
    async with an_office(ServerAuth(client=APP)) as office:
        office.protected["mail"] = Protected(office.there.url, ServerAuth())
        office.there.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post", "none"]
        assert (await began(office))["client_id"] == "app"
        assert (await began(office, server="mail"))["client_id"] == "client-1"
        await office.log_in()
        await office.log_in(BOB, "mail")
        office.times.pass_by(LIFE_S)
        assert office.bank.access[str(await office.voice().token())] == ANN
        assert office.bank.access[str(await office.voice(BOB, "mail").token())] == BOB
        forms = [asked.body.decode() for asked in office.there.idp.asked if asked.path == "/token"]
        assert [("canary-secret" in form, "client-1" in form) for form in forms[-2:]] == [(True, False), (False, True)]


async def test_an_app_for_one_issuer_is_not_shown_to_another() -> None:
    async with an_office(ServerAuth(client=APP, issuer="https://as.example")) as office:
        offer = office.desk.offer_to(ANN, "user ann", "wiki")
        with pytest.raises(Unavailable):  # the server's own issuer is not asked in its place
            await office.desk.begin(token_of(offer.url), "browser")
        assert set(office.there.paths()) == {f"{PRM}/mcp"}


# -- what issuers registered


async def test_servers_of_one_issuer_share_one_registration_however_many_log_in_at_once() -> None:
    async with an_office() as office:
        for server in ("mail", "files"):
            office.protected[server] = Protected(office.there.url, ServerAuth())
        ids = await asyncio.gather(
            *(began(office, account, server) for account in (ANN, BOB) for server in ("wiki", "mail", "files"))
        )
        assert {asked["client_id"] for asked in ids} == {"client-1"}
        assert len(office.there.registrations) == 1


async def test_a_hub_at_a_new_address_is_registered_anew_and_what_it_held_lasts() -> None:
    async with an_office() as office:
        await office.log_in()
        office.hub = hub_client("https://hub.example")
        asked = await began(office, BOB)
        assert (asked["client_id"], asked["redirect_uri"]) == ("client-2", f"https://hub.example{CALLBACK}")
        office.times.pass_by(LIFE_S)
        assert office.bank.access[str(await office.voice().token())] == ANN


def test_the_hub_names_itself_by_its_address() -> None:
    own = hub_client("https://hub.example", "https://hub.example/oauth/client.json")
    said = document(own)
    assert (said["client_id"], said["client_uri"]) == ("https://hub.example/oauth/client.json", "https://hub.example")
    assert said["redirect_uris"] == [f"https://hub.example{CALLBACK}"]
    assert hub_client(BASE).document_url is None
    with pytest.raises(ValueError, match="https://"):
        hub_client(BASE, f"{BASE}/oauth/client.json")


# -- where nothing can be done


async def test_without_a_server_or_an_address_nothing_is_begun() -> None:
    async with an_office() as office:
        with pytest.raises(Unfit, match="does not log in"):
            await office.clients.begin("none", Challenge(), (), "")
        office.hub = None
        with pytest.raises(Unregistered, match="no browser"):
            await office.clients.begin("wiki", Challenge(), (), "")
        with pytest.raises(Unregistered, match="enter one"):
            await office.clients.own("wiki", Challenge())
        with pytest.raises(Unavailable):
            await office.clients.refresh(replace(ROW, server="none"), Tokens("a", "r"), None)
        assert office.there.idp.asked == []


@pytest.mark.parametrize(
    ("url", "auth", "fits"),
    [
        ("https://wiki.example/mcp", ServerAuth(), True),
        ("https://wiki.example/mcp/deeper", ServerAuth(), True),
        ("https://wiki.example/mcpx", ServerAuth(), False),
        ("https://wiki.example:8443/mcp", ServerAuth(), False),
        ("http://wiki.example/mcp", ServerAuth(), False),
        ("https://evil.example/mcp", ServerAuth(), False),
        ("https://elsewhere.example/mcp", ServerAuth(resource="https://wiki.example/mcp"), True),
        ("https://wiki.example/mcp", ServerAuth(resource="https://wiki.example/"), False),
        ("https://wiki.example/mcp", ServerAuth(issuer="https://as.example"), True),
        ("https://wiki.example/mcp", ServerAuth(issuer="https://as.example/"), False),
        ("https://wiki.example/mcp", ServerAuth(grant="client_credentials", client=APP), False),
    ],
)
def test_what_is_held_goes_only_where_it_was_granted_for(url: str, auth: ServerAuth, fits: bool) -> None:
    assert (unfit(ROW, Protected(url, auth)) is None) is fits
    assert unfit(ROW, None) is not None
