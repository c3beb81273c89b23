"""What the hub asks at token endpoints, and which answers give it a token."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hub.core.connections import SHARED, ConnectionRow
from hub.identity.outbound.challenge import challenge
from hub.identity.outbound.errors import OutboundFailed, Refused, Unavailable, Unfit
from hub.identity.outbound.held import MAX_TOKEN, Tokens
from hub.identity.outbound.logins import Wanted
from hub.identity.outbound.parties import AuthServer, Client, Place
from hub.identity.outbound.registered import client_of, row_of
from hub.identity.outbound.registration import HubClient
from hub.identity.outbound.renewing import Renewing
from hub.identity.outbound.tokens import ACCESS_TOKEN, EXCHANGE
from hub.identity.sealer import KeySealer
from tests.identity.idp import NOW
from tests.identity.outbound.downstream import CALLBACK, CODE, SECRET, Downstream

RESOURCE = "https://s.example/mcp"
SEALER = KeySealer(b"k" * 32)
CANARY = "canary-7f3a"


def app(there: Downstream, **said: Any) -> Client:
    good: dict[str, Any] = {"id": "app", "origin": "admin", "method": "client_secret_post", "secret": SECRET}
    return Client(there.issuer, **{**good, **said})


async def parties(there: Downstream) -> tuple[AuthServer, Client]:
    return await there.discovery.server(there.issuer), app(there)


# -- what is asked


async def test_a_code_is_redeemed_with_what_it_was_bound_to() -> None:
    async with Downstream(prm={"resource": None}) as there:
        there.prm["resource"] = there.url
        login = await there.begin("Bearer")
        tokens = await there.logins.finish(login, there.answer(login.begun))
        assert there.forms == [
            {
                "grant_type": "authorization_code",
                "code": CODE,
                "redirect_uri": CALLBACK,
                "code_verifier": login.begun.verifier,
                "resource": there.url,
                "client_id": "client-1",
            }
        ]
        assert tokens == Tokens("at-1", None, 3600.0, ())


async def test_a_refresh_names_the_resource_and_keeps_the_token_that_is_not_replaced() -> None:
    async with Downstream() as there:
        at, client = await parties(there)
        assert (await there.endpoint.refresh(at, client, "rt-1", RESOURCE)).refresh == "rt-1"
        there.tokens["refresh_token"] = "rt-2"
        assert (await there.endpoint.refresh(at, client, "rt-1", RESOURCE)).refresh == "rt-2"
        asked = {"grant_type": "refresh_token", "refresh_token": "rt-1", "resource": RESOURCE}
        assert there.forms == [{**asked, "client_id": "app", "client_secret": SECRET}] * 2


async def test_a_token_in_the_hubs_own_name_needs_an_app_with_a_secret() -> None:
    async with Downstream(metadata={"token_endpoint_auth_methods_supported": ["client_secret_post"]}) as there:
        there.entered[there.issuer] = app(there)
        wanted = Wanted(there.url, challenge('Bearer scope="a b"'))
        place, client, tokens = await there.logins.own(wanted)
        assert (place.resource, client.id, tokens.scopes) == (there.url, "app", ("a", "b"))
        assert there.forms[0]["grant_type"] == "client_credentials"
        assert (there.forms[0]["resource"], there.forms[0]["scope"]) == (there.url, "a b")
        there.entered[there.issuer] = app(there, method="none", secret=None)
        with pytest.raises(Unfit, match="secret"):
            await there.logins.own(wanted)
        with pytest.raises(ValueError, match="secret"):
            await there.endpoint.own(await there.discovery.server(there.issuer), there.entered[there.issuer], RESOURCE)
        assert len(there.forms) == 1


async def test_a_token_is_exchanged_for_one_of_the_resource() -> None:
    kind = "urn:ietf:params:oauth:token-type:id_token"
    async with Downstream(tokens={"issued_token_type": ACCESS_TOKEN}) as there:
        at, client = await parties(there)
        await there.endpoint.exchange(at, client, (CANARY, kind), RESOURCE, ("a",), "api://s")
        assert there.forms == [
            {
                "grant_type": EXCHANGE,
                "subject_token": CANARY,
                "subject_token_type": kind,
                "requested_token_type": ACCESS_TOKEN,
                "resource": RESOURCE,
                "audience": "api://s",
                "scope": "a",
                "client_id": "app",
                "client_secret": SECRET,
            }
        ]
        there.tokens["issued_token_type"] = "urn:ietf:params:oauth:token-type:refresh_token"
        with pytest.raises(Unfit, match="another kind"):
            await there.endpoint.exchange(at, client, (CANARY, kind), RESOURCE)


async def test_a_login_is_ended_at_the_issuer_where_that_can_be_done() -> None:
    async with Downstream() as there:
        at, client = await parties(there)
        assert await there.endpoint.revoke(at, client, "rt-1") is False
        there.metadata["revocation_endpoint"] = f"{there.issuer}/revoke"
        at = await there.discovery.server(there.issuer, anew=True)
        assert await there.endpoint.revoke(at, client, "rt-1") is True
        assert there.forms == [{"token": "rt-1", "client_id": "app", "client_secret": SECRET}]
        there.idp.answers["/revoke"] = 400, b'{"error": "unsupported_token_type"}'
        with pytest.raises(Refused):
            await there.endpoint.revoke(at, client, "rt-1")


async def test_what_the_hub_is_at_one_issuer_is_shown_to_no_other() -> None:
    async with Downstream() as there:
        at, client = await parties(there)
        with pytest.raises(ValueError, match="another"):
            await there.endpoint.refresh(at, replace(client, issuer="https://other.example"), "rt-1", RESOURCE)
        assert there.forms == []


# -- what is answered


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ({}, Tokens("at-1", "rt", 3600.0, None)),
        ({"token_type": "bearer", "expires_in": None}, Tokens("at-1", "rt", None, None)),
        ({"expires_in": "60", "scope": "b a b"}, Tokens("at-1", "rt", 60.0, ("b", "a"))),
        ({"expires_in": 0.5, "scope": ""}, Tokens("at-1", "rt", 0.5, ())),
        ({"refresh_token": "rt-2", "id_token": "x", "error": None}, Tokens("at-1", "rt-2", 3600.0, None)),
    ],
)
async def test_a_good_answer_is_taken(said: dict[str, Any], tokens: Tokens) -> None:
    async with Downstream(tokens=said) as there:
        at, client = await parties(there)
        assert await there.endpoint.refresh(at, client, "rt", RESOURCE) == tokens
        assert "at-1" not in repr(tokens)


@pytest.mark.parametrize(
    "said",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a b"},
        {"access_token": "a\r\nx-evil: 1"},
        {"access_token": "ä"},
        {"access_token": "x" * (MAX_TOKEN + 1)},
        {"token_type": None},
        {"token_type": "DPoP"},
        {"token_type": ["Bearer"]},
        {"refresh_token": ""},
        {"refresh_token": {}},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": True},
        {"expires_in": 1e300},
        {"expires_in": "soon"},
        {"expires_in": "9" * 11},
        {"scope": ["a"]},
        {"scope": 'a"b'},
        {"scope": "a" * 300},
    ],
)
async def test_an_answer_that_is_not_strictly_one_gives_no_token(said: dict[str, Any]) -> None:
    async with Downstream(tokens=said) as there:
        at, client = await parties(there)
        with pytest.raises(Unfit):
            await there.endpoint.refresh(at, client, "rt", RESOURCE)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"error": "invalid_grant"}, Refused),
        (401, {"error": "invalid_client"}, Refused),
        (200, {"error": "bad_refresh_token"}, Refused),  # some say no so
        (404, {}, Refused),
        (400, "nothing", Refused),
        (429, {"error": "invalid_grant"}, Unavailable),
        (408, {}, Unavailable),
        (500, {"error": "invalid_grant"}, Unavailable),
        (503, "nothing", Unavailable),
        (302, {}, Unavailable),
        (200, "nothing", Unfit),
        (200, [], Unfit),
    ],
)
async def test_only_a_clear_no_is_a_refusal(status: int, body: Any, failure: type[OutboundFailed]) -> None:
    async with Downstream() as there:
        at, client = await parties(there)
        said = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        there.idp.answers["/token"] = status, said
        with pytest.raises(failure) as caught:
            await there.endpoint.refresh(at, client, "rt", RESOURCE)
        assert type(caught.value) is failure
        if isinstance(caught.value, Refused):
            assert caught.value.error == (body.get("error", "?") if isinstance(body, dict) else "?")


async def test_an_answer_without_end_or_from_nobody_leaves_everything_as_it_was() -> None:
    async with Downstream() as there:
        at, client = await parties(there)
        there.idp.answers["/token"] = 200, b" " * 70_000
        with pytest.raises(Unavailable):
            await there.endpoint.refresh(at, client, "rt", RESOURCE)
        there.idp.down()
        with pytest.raises(Unavailable):
            await there.endpoint.refresh(at, client, "rt", RESOURCE)


async def test_no_failure_tells_a_secret_or_what_was_answered() -> None:
    said = {"access_token": CANARY + " ", "error_description": CANARY}
    for status, more in ((200, {}), (400, {"error": CANARY}), (500, {}), (200, {"token_type": CANARY})):
        async with Downstream(tokens={**said, **more}, token_status=status) as there:
            at, client = await parties(there)
            with pytest.raises(OutboundFailed) as caught:
                await there.endpoint.refresh(at, client, f"rt-{CANARY}", RESOURCE)
            words = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
            assert CANARY not in words
            assert SECRET not in words


# -- renewing


def row(there: Downstream, **said: Any) -> ConnectionRow:
    good: dict[str, Any] = {
        "tenant": "local",
        "id": "o" + "0" * 16,
        "user": SHARED,
        "server": "s",
        "issuer": there.issuer,
        "resource": RESOURCE,
        "label": "",
        "client": "app",
        "scopes": ("a",),
        "sealed": b"",
        "created_at": NOW,
        "obtained_at": NOW,
        "expires_at": NOW + 60,
        "chosen_at": NOW,
    }
    return ConnectionRow(**{**good, **said})


async def test_a_connection_is_renewed_by_the_client_it_was_granted_to() -> None:
    async with Downstream() as there:
        renewing = Renewing(there.discovery, there.registrar, there.endpoint, SEALER)
        registration = row_of(app(there, method="client_secret_basic"), "local", NOW, SEALER)
        assert SECRET not in repr(registration)
        tokens = await renewing.refresh(row(there), Tokens("old", "rt-1"), registration)
        assert (tokens.access, there.forms[0]["refresh_token"], there.basic()) == ("at-1", "rt-1", ("app", SECRET))
        await renewing.refresh(row(there, grant="client_credentials"), Tokens("old"), registration)
        assert (there.forms[1]["grant_type"], there.forms[1]["scope"]) == ("client_credentials", "a")


async def test_a_connection_without_what_renews_it_is_refused_without_asking() -> None:
    async with Downstream() as there:
        renewing = Renewing(there.discovery, there.registrar, there.endpoint, SEALER)
        registration = row_of(app(there), "local", NOW, SEALER)
        with pytest.raises(Refused) as caught:
            await renewing.refresh(row(there), Tokens("old"), registration)
        assert caught.value.error == "invalid_grant"
        with pytest.raises(Refused) as caught:
            await renewing.refresh(row(there), Tokens("old", "rt-1"), replace(registration, version=2))  # does not open
        assert caught.value.error == "invalid_client"
        for other in (None, row_of(app(there, id="another"), "local", NOW, SEALER)):
            with pytest.raises(Refused) as caught:
                await renewing.refresh(row(there), Tokens("old", "rt-1"), other)
            assert caught.value.error == "invalid_client"
        assert there.forms == []


async def test_an_app_of_the_configuration_is_taken_with_the_secret_it_has_now() -> None:
    async with Downstream() as there:
        renewing = Renewing(there.discovery, there.registrar, there.endpoint, SEALER)
        stale = row_of(app(there, secret="before"), "local", NOW, SEALER)
        there.entered[there.issuer] = app(there, method="client_secret_basic")
        for stored in (stale, None):
            await renewing.refresh(row(there), Tokens("old", "rt-1"), stored)
            assert there.basic() == ("app", SECRET)
        there.entered[there.issuer] = app(there, id="another app")
        await renewing.refresh(row(there), Tokens("old", "rt-1"), stale)
        assert (there.forms[-1]["client_id"], there.forms[-1]["client_secret"]) == ("app", "before")


async def test_a_login_by_the_hubs_document_is_renewed_by_it() -> None:
    document = "https://hub.example/oauth/client.json"
    async with Downstream(hub=HubClient((CALLBACK,), document_url=document)) as there:
        renewing = Renewing(there.discovery, there.registrar, there.endpoint, SEALER)
        await renewing.refresh(row(there, client=document), Tokens("old", "rt-1"), None)
        assert there.forms[0]["client_id"] == document
        assert "authorization" not in there.heads[0]


def test_a_client_comes_back_from_the_store_as_it_was() -> None:
    for client in (
        Client("https://as.example", "c", "dynamic", "client_secret_post", SECRET, NOW + 5, (CALLBACK,)),
        Client("https://as.example", DOCUMENT := "https://hub.example/client.json", "metadata"),
    ):
        stored = row_of(client, "local", NOW, SEALER)
        assert client_of(stored, SEALER) == client
        assert (stored.sealed is None) is (client.secret is None)
    assert client_of(replace(stored, metadata={"token_endpoint_auth_method": "client_secret_post"}), SEALER) is None
    assert stored.client == DOCUMENT


async def test_a_place_that_an_admin_entered_is_not_asked_about() -> None:
    async with Downstream(prm_at="/nowhere") as there:
        place = Place("https://mail.example/", (there.issuer,), ("mail",))
        wanted = Wanted("https://mail.example/mcp", place=place)
        login = await there.logins.begin(wanted, CALLBACK)
        assert there.asked(login.begun)["resource"] == "https://mail.example/"
        assert there.asked(login.begun)["scope"] == "mail"
