"""What the hub is at an issuer: in which order it finds out, and that it is that nowhere else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from hub.core.connections import RegistrationRow
from hub.core.ports import Conflict
from hub.identity.outbound.errors import Refused, Unavailable, Unfit, Unregistered
from hub.identity.outbound.parties import Client
from hub.identity.outbound.registered import Registered
from hub.identity.outbound.registration import (
    LEAST_S,
    HubClient,
    application_type,
    document,
    method_at,
    takes_documents,
)
from hub.identity.sealer import KeySealer
from hub.stores.memory.connections import MemoryConnections
from tests.identity.idp import NOW, Clock
from tests.identity.outbound.downstream import CALLBACK, SECRET, Downstream, server

DOCUMENT = "https://conformance-test.local/client-metadata.json"
SEALER = KeySealer(b"k" * 32)
PUBLIC = HubClient(("https://hub.example/oauth/callback",), "Our hub", "https://hub.example", DOCUMENT)


# -- the scenarios of the official suite


async def test_basic_cimd_is_the_address_of_the_hubs_document_and_no_registration() -> None:
    said = {"client_id_metadata_document_supported": True}
    async with Downstream(hub=replace(PUBLIC, redirect_uris=(CALLBACK,)), metadata=said) as there:
        login = await there.begin("Bearer")
        await there.logins.finish(login, there.answer(login.begun))
        assert there.asked(login.begun)["client_id"] == DOCUMENT
        assert there.forms[0]["client_id"] == DOCUMENT
        assert there.registrations == []


async def test_pre_registration_is_used_before_all_else_and_by_its_secret() -> None:
    said = {
        "registration_endpoint": None,
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "client_id_metadata_document_supported": True,
    }
    async with Downstream(hub=PUBLIC, metadata=said) as there:
        entered = Client(there.issuer, "pre-registered-client", "admin", "client_secret_basic", SECRET)
        there.entered[there.issuer] = entered
        await there.log_in("Bearer")
        assert there.basic() == ("pre-registered-client", SECRET)
        assert there.forms[0]["client_id"] == "pre-registered-client"  # the SDK's servers want it in both places
        assert "client_secret" not in there.forms[0]


async def test_authorization_server_migration_shows_the_new_issuer_nothing_of_the_old_one() -> None:
    secret = {"client_id": "as1-client", "client_secret": SECRET}
    both = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with Downstream(registered=secret, metadata=both) as old, Downstream(metadata=both) as new:
        await old.log_in("Bearer")
        old.prm["authorization_servers"] = [new.issuer]
        login = await old.begin("Bearer", "mcp:basic")
        assert login.server.issuer == new.issuer
        tokens = await old.logins.finish(login, new.answer(login.begun))
        assert tokens.access == "at-1"
        assert len(new.registrations) == len(new.forms) == len(old.forms) == 1
        shown = json.dumps([[str(asked.path), dict(asked.headers), asked.body.decode()] for asked in new.idp.asked])
        assert "as1-client" not in shown + login.begun.location
        assert SECRET not in shown
        assert old.kept[old.issuer].id == "as1-client"  # and should the server go back, it is known there


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
async def test_token_endpoint_auth_is_the_one_way_the_issuer_takes(method: str) -> None:
    secret = None if method == "none" else SECRET
    async with Downstream(
        metadata={"token_endpoint_auth_methods_supported": [method]},
        registered={"client_id": "c", "client_secret": secret, "token_endpoint_auth_method": method},
    ) as there:
        await there.log_in("Bearer")
        assert there.registrations[0]["token_endpoint_auth_method"] == method
        form, head = there.forms[0], there.heads[0]
        if method == "client_secret_basic":
            assert there.basic() == ("c", SECRET)
            assert form["client_id"] == "c"
            assert "client_secret" not in form
        else:
            assert "authorization" not in head
            assert (form["client_id"], form.get("client_secret")) == ("c", secret)


# -- the document


def test_the_document_says_what_a_registration_would() -> None:
    assert document(PUBLIC) == {
        "client_id": DOCUMENT,
        "client_name": "Our hub",
        "client_uri": "https://hub.example",
        "redirect_uris": ["https://hub.example/oauth/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }
    with pytest.raises(ValueError, match="no public address"):
        document(HubClient((CALLBACK,)))


def test_a_document_is_of_use_only_where_clients_need_no_secret() -> None:
    assert takes_documents(server(is_cimd=True))
    assert takes_documents(server(is_cimd=True, methods=("client_secret_basic", "none")))
    assert not takes_documents(server(is_cimd=True, methods=("private_key_jwt",)))
    assert not takes_documents(server(methods=("none",)))


def test_a_hub_without_a_redirect_uri_or_with_a_document_nobody_can_trust_is_none() -> None:
    with pytest.raises(ValueError, match="redirect URI"):
        HubClient(())
    with pytest.raises(ValueError, match="https"):
        HubClient((CALLBACK,), document_url="http://hub.example/client.json")


def test_an_app_at_an_address_of_this_machine_is_a_native_one() -> None:
    assert application_type(CALLBACK) == "native"
    assert application_type("https://hub.example/oauth/callback") == "web"


# -- registering


async def test_what_was_registered_once_serves_until_its_secret_ends_or_the_hub_moves() -> None:
    ends = {"client_secret": SECRET, "client_secret_expires_at": NOW + 1000}
    async with Downstream(registered=ends, metadata={"token_endpoint_auth_methods_supported": None}) as there:
        first = (await there.begin("Bearer")).client
        assert (first.method, first.secret, first.expires_at) == ("client_secret_basic", SECRET, NOW + 1000)
        assert SECRET not in repr(first)
        assert (await there.begin("Bearer")).client is first
        there.kept[there.issuer] = replace(first, redirect_uris=("http://127.0.0.1:1/oauth/callback",))
        assert (await there.begin("Bearer")).client.id == "client-2"
        there.clock.now += 1000 - LEAST_S
        assert (await there.begin("Bearer")).client.id == "client-3"


async def test_a_client_that_is_not_known_any_more_is_registered_anew() -> None:
    async with Downstream(token_status=401, tokens={"error": "invalid_client", "access_token": None}) as there:
        login = await there.begin("Bearer")
        with pytest.raises(Refused) as caught:
            await there.logins.finish(login, there.answer(login.begun))
        assert caught.value.error == "invalid_client"
        again = await there.begin("Bearer", refused=login.client)
        assert (login.client.id, again.client.id) == ("client-1", "client-2")


async def test_many_who_log_in_at_a_new_issuer_make_one_registration() -> None:
    async with Downstream() as there:
        logins = await asyncio.gather(*(there.begin("Bearer") for _ in range(20)))
        assert {login.client.id for login in logins} == {"client-1"}
        assert len(there.registrations) == 1
        again = await asyncio.gather(*(there.begin("Bearer", refused=logins[0].client) for _ in range(20)))
        assert {login.client.id for login in again} == {"client-2"}
        assert len(there.registrations) == 2


async def test_what_was_registered_is_found_in_the_store_until_the_issuer_refuses_it() -> None:
    store, clock = MemoryConnections(), Clock()
    kept = Registered(store, SEALER, clock)
    first = Client("https://as.example", "c1", "dynamic", "client_secret_basic", SECRET, NOW + 5, (CALLBACK,))
    second = Client("https://as.example", "c2", "dynamic", redirect_uris=(CALLBACK,))
    await kept.keep(first)
    assert await kept.known("https://as.example") == first
    assert await kept.known("https://as.example/") is None
    clock.now += 1
    await kept.keep(second)
    assert await kept.known("https://as.example") == second
    row = (await store.registrations("local"))[-1]
    await store.put_registration(replace(row, refused_at=NOW, version=row.version + 1), row.version)
    assert await kept.known("https://as.example") == first
    anew = replace(first, id="c2", secret=SECRET + "2")  # the same id given once more
    await kept.keep(anew)
    assert await kept.known("https://as.example") == anew
    assert [row.version for row in await store.registrations("local")] == [1, 3]
    assert SECRET not in repr(await store.registrations("local"))


async def test_a_store_where_others_are_always_faster_is_given_up_on() -> None:
    class Contested(MemoryConnections):
        async def put_registration(self, row: RegistrationRow, expected: int | None) -> None:
            raise Conflict

    client = Client("https://as.example", "c1", "dynamic", redirect_uris=(CALLBACK,))
    with pytest.raises(Unavailable):
        await Registered(Contested(), SEALER).keep(client)


@pytest.mark.parametrize("origin", ["admin", "metadata"])
async def test_a_client_that_only_an_admin_can_mend_is_not_replaced_behind_his_back(origin: Any) -> None:
    async with Downstream() as there:
        there.kept[there.issuer] = Client(there.issuer, "from before", "dynamic", redirect_uris=(CALLBACK,))
        with pytest.raises(Unregistered, match="look at its id"):
            await there.begin("Bearer", refused=Client(there.issuer, "app", origin))
        assert there.registrations == []


async def test_an_issuer_that_registers_nobody_is_told_about_with_what_to_do() -> None:
    async with Downstream(metadata={"registration_endpoint": None}) as there:
        with pytest.raises(Unregistered, match=f"redirect URI {CALLBACK}"):
            await there.begin("Bearer")


async def test_a_registration_names_the_scopes_logins_will_ask_for() -> None:
    async with Downstream() as there:
        await there.begin('Bearer scope="a b"')
        assert there.registrations[0]["scope"] == "a b"
        assert there.registrations[0]["application_type"] == "native"


async def test_refresh_tokens_are_not_registered_for_where_there_are_none() -> None:
    async with Downstream(metadata={"grant_types_supported": ["authorization_code"]}) as there:
        await there.begin("Bearer")
        assert there.registrations[0]["grant_types"] == ["authorization_code"]


@pytest.mark.parametrize(
    "said",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": 7},
        {"client_id": "a\r\nb"},
        {"client_id": "x" * 513},
        {"client_secret": ["x"]},
        {"client_secret": "x" * 2049},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": []},
        {"redirect_uris": ["https://evil.example/callback"]},
        {"redirect_uris": [[]]},
        {"redirect_uris": CALLBACK},
        {"client_secret_expires_at": "never"},
        {"client_secret_expires_at": -1},
        {"client_secret_expires_at": True},
    ],
)
async def test_a_registration_that_cannot_be_used_is_none(said: dict[str, Any]) -> None:
    async with Downstream(registered=said) as there:
        with pytest.raises(Unfit):
            await there.begin("Bearer")
        assert there.kept == {}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_issuer_that_cannot_register_now_is_asked_again_later(status: int) -> None:
    async with Downstream() as there:
        there.idp.answers["/register"] = status, b"busy"
        with pytest.raises(Unavailable):
            await there.begin("Bearer")
        there.metadata["registration_endpoint"] = "http://127.0.0.1:1/register"  # nobody is there
        with pytest.raises(Unavailable):
            await there.begin("Bearer")


@pytest.mark.parametrize(
    ("body", "word"), [(b'{"error": "invalid_redirect_uri"}', "invalid_redirect_uri"), (b"<", "?")]
)
async def test_a_registration_that_is_refused_is_told_by_its_code(body: bytes, word: str) -> None:
    async with Downstream() as there:
        there.idp.answers["/register"] = 400, body
        with pytest.raises(Refused) as caught:
            await there.begin("Bearer")
        assert caught.value.error == word


def test_the_best_way_to_authenticate_that_an_issuer_takes_is_chosen() -> None:
    assert method_at(server()) == "client_secret_basic"  # RFC 8414 §2
    assert method_at(server(methods=("none", "client_secret_post", "private_key_jwt"))) == "client_secret_post"
    with pytest.raises(Unfit):
        method_at(server(methods=("tls_client_auth",)))


def test_a_client_has_a_secret_and_a_way_to_show_it_or_neither() -> None:
    with pytest.raises(ValueError, match="secret"):
        Client("https://as.example", "c", "admin", "client_secret_basic")
    with pytest.raises(ValueError, match="secret"):
        Client("https://as.example", "c", "admin", "none", SECRET)


async def test_an_app_of_another_issuer_is_never_shown() -> None:
    async with Downstream() as there:
        there.entered[there.issuer] = Client("https://other.example", "app", "admin")
        with pytest.raises(ValueError, match="another issuer"):
            await there.begin("Bearer")
        there.entered.clear()
        there.kept[there.issuer] = Client("https://other.example", "app", "dynamic", redirect_uris=(CALLBACK,))
        assert (await there.begin("Bearer")).client.id == "client-1"
