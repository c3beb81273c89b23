from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from mcp.client.auth.utils import validate_authorization_response_iss
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthMetadata, OAuthToken
from pydantic import AnyUrl

from hub.core.accounts import ClientRow, GrantStore
from hub.core.ports import Fetcher
from hub.identity.oauth.asked import Login, Reply
from hub.identity.oauth.families import digest
from hub.identity.oauth.ports import Accounts, Addresses, Sealer
from hub.identity.oauth.resources import Resources
from hub.identity.verified import Verifier
from tests.identity.oauth.world import CALLBACK, ISSUER, MCP, People, Sealed, Web, World, answer, bad, basic, good

SECRET = "s" * 43


async def resource_server(world: World) -> str:
    """A client that an admin registered, header for the Authorization."""
    metadata = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic"}
    await world.store.put_client(ClientRow("local", "mhc_rs", metadata, "0", 0.0, 0.0, digest(SECRET), "admin"))
    await world.start()
    return basic("mhc_rs", SECRET)


async def revoke(world: World, client: str, token: str, **more: str) -> Reply:
    return await world.server.revoke([("client_id", client), ("token", token), *more.items()], None)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_either_token_ends_the_whole_grant(world: World, kind: str) -> None:
    client = await world.client()
    made = await world.login(client)
    (grant,) = world.server.grants_of(world.ann.id)
    reply = await revoke(world, client, made[kind], token_type_hint="nonsense")
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    assert world.ended == [grant.id]
    assert not await world.is_good(made["access_token"])
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")
    await world.start()
    assert not await world.is_good(made["access_token"])


async def test_a_token_that_is_none_is_revoked_without_a_word(world: World) -> None:
    client = await world.client()
    assert good(await revoke(world, client, "made-up")) == {}
    assert bad(await revoke(world, client, "")) == (400, "invalid_request")


async def test_nobody_revokes_the_tokens_of_another_client(world: World) -> None:
    client, other = await world.client(), await world.client(client_name="Other")
    made = await world.login(client)
    assert bad(await revoke(world, other, made["refresh_token"])) == (400, "invalid_grant")
    assert bad(await revoke(world, "mhc_none", made["refresh_token"])) == (401, "invalid_client")
    assert await world.is_good(made["access_token"])


async def test_introspection_tells_a_resource_server_what_a_token_is(world: World) -> None:
    header, client = await resource_server(world), await world.client()
    made = await world.login(client)
    told = good(await world.server.introspect([("token", made["access_token"])], header))
    assert told | {"jti": ""} == {
        "active": True,
        "iss": ISSUER,
        "sub": world.ann.id,
        "username": "ann",
        "client_id": client,
        "aud": MCP,
        "scope": "mcp",
        "token_type": "Bearer",
        "exp": int(world.clock()) + 600,
        "iat": int(world.clock()),
        "auth_time": int(world.clock()),
        "acr": "password",
        "jti": "",
    }
    about = good(await world.server.introspect([("token", made["refresh_token"])], header))
    assert (about["active"], about["exp"]) == (True, int(world.clock() + 30 * 86_400))


async def test_introspection_says_no_to_whatever_is_not_good(world: World) -> None:
    header, client = await resource_server(world), await world.client()
    made = await world.login(client)
    second = good(await world.refresh(client, made["refresh_token"]))
    world.clock.go(31)
    for token in ("x", made["refresh_token"], "a.b.c"):
        assert good(await world.server.introspect([("token", token)], header)) == {"active": False}
    assert world.reused == [], "a question is no use"
    world.people.disable(world.ann.id)
    for token in (second["access_token"], second["refresh_token"]):
        assert good(await world.server.introspect([("token", token)], header)) == {"active": False}


async def test_introspection_is_for_clients_with_a_secret(world: World) -> None:
    header, client = await resource_server(world), await world.client()
    token = (await world.login(client))["access_token"]
    for form, authorization in (
        ([("client_id", client)], None),
        ([], None),
        ([], header + "x"),
        ([], basic("mhc_rs", "wrong")),
    ):
        assert bad(await world.server.introspect([*form, ("token", token)], authorization)) == (401, "invalid_client")
    assert bad(await world.server.introspect([], header)) == (400, "invalid_request")


async def test_a_client_that_registered_itself_learns_of_its_own_tokens_only(world: World) -> None:
    token = (await world.login(await world.client()))["access_token"]
    reply = await world.register(token_endpoint_auth_method="client_secret_post")
    assert reply.body is not None
    own = [("client_id", reply.body["client_id"]), ("client_secret", reply.body["client_secret"])]
    assert good(await world.server.introspect([*own, ("token", token)], None)) == {"active": False}
    code = await world.code(reply.body["client_id"])
    made = good(await world.redeem(reply.body["client_id"], code, client_secret=reply.body["client_secret"]))
    assert good(await world.server.introspect([*own, ("token", made["access_token"])], None))["active"] is True


async def test_grants_are_listed_and_ended_by_user(world: World) -> None:
    client, bob = await world.client(), world.people.add("bob")
    mine = [await world.login(client) for _ in range(2)]
    theirs = await world.login(client, bob)
    await world.code(client)  # waits for its client, and is no login yet
    first, second = world.server.grants_of(world.ann.id)
    assert (first.client_name, first.scopes, first.resource) == ("Tester", ("mcp",), MCP)
    await world.server.end([first.id], "user")
    await world.server.end([first.id, "g-unknown"], "admin")
    assert world.ended == [first.id]
    assert [row.id for row in world.server.grants_of(world.ann.id)] == [second.id]
    await world.server.end_user(world.ann.id, "disabled")
    assert world.server.grants_of(world.ann.id) == ()
    assert [await world.is_good(made["access_token"]) for made in (*mine, theirs)] == [False, False, True]


async def test_a_grant_that_is_ended_while_it_is_renewed_stays_ended(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    world.store.rotated = lambda: world.server.end_user(world.ann.id, "admin")
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")
    assert world.server.grants_of(world.ann.id) == ()
    await world.start()
    assert world.server.grants_of(world.ann.id) == ()


async def test_a_cancelled_end_is_written_down_when_the_server_is_tended(world: World) -> None:
    await world.login(await world.client())
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started.set()
        await go_on.wait()

    world.store.revoking = slow
    ending = asyncio.create_task(world.server.end_user(world.ann.id, "admin"))
    await asyncio.wait_for(started.wait(), 5)
    ending.cancel()
    await asyncio.wait({ending}, timeout=5)
    go_on.set()
    assert world.server.grants_of(world.ann.id) == ()
    await world.server.tend()
    assert await world.store.grants("local") == ()


async def test_metadata_says_what_clients_look_for(world: World) -> None:
    told = world.server.metadata()
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert "none" in told["token_endpoint_auth_methods_supported"], "without it Claude takes no document"
    assert told["client_id_metadata_document_supported"] is True
    assert told["grant_types_supported"] == [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ]
    assert told["device_authorization_endpoint"] == f"{ISSUER}/oauth/device_authorization"
    assert "offline_access" not in told["scopes_supported"]
    for name in ("authorization", "token", "revocation", "introspection", "registration"):
        assert told[f"{name}_endpoint"].startswith(ISSUER + "/oauth/")


async def test_the_official_client_reads_every_answer(world: World) -> None:
    metadata = OAuthMetadata.model_validate(world.server.metadata())
    asked = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], client_name="SDK", token_endpoint_auth_method="none")
    reply = await world.server.register(asked.model_dump_json(exclude_none=True).encode(), "192.0.2.1")
    client = OAuthClientInformationFull.model_validate(reply.body)
    assert [str(uri) for uri in client.redirect_uris or ()] == [CALLBACK]
    wish = await world.wish(client.client_id)
    for location in (
        await world.server.granted(wish, Login(world.ann, world.clock(), "password"), wish.scopes),
        world.server.refused(wish),
    ):
        validate_authorization_response_iss(answer(location)["iss"], metadata)
    made = OAuthToken.model_validate(await world.login(client.client_id))
    assert (made.expires_in, made.scope) == (600, "mcp")


async def test_nothing_shows_a_token_in_its_repr(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    families = vars(world.server)["_families"]
    second = good(await world.refresh(client, made["refresh_token"]))
    assert second["refresh_token"] not in repr(await families.look(made["refresh_token"]))


async def test_what_was_swept_from_the_store_is_forgotten_here_too(world: World) -> None:
    client = await world.client()
    await world.login(client)
    await world.code(client)
    world.clock.go(32 * 86_400)
    await world.server.tend()
    assert vars(vars(world.server)["_families"])["_rows"] == {}
    world.settings = replace(world.settings)
    await world.start()
    assert world.server.grants_of(world.ann.id) == ()


async def test_the_parts_are_what_the_server_asks_for(world: World) -> None:
    accounts: Accounts = People()
    addresses: Addresses = Resources((ISSUER,), lambda: ())
    fetcher: Fetcher = Web()
    sealer: Sealer = Sealed()
    store: GrantStore = world.store
    verifier: Verifier = world.server.verifier
    assert all((accounts, addresses, fetcher, sealer, store, verifier))
