from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from hub.identity.oauth.ports import Settings
from tests.identity.oauth.world import CALLBACK, LOOPBACK, World, bad, good

CURSOR = [
    "http://localhost:8787/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "cursor://anysphere.cursor-mcp/oauth/callback",
]
VSCODE = [
    "http://127.0.0.1:33418/",
    "http://127.0.0.1/",
    "https://vscode.dev/redirect",
    "https://insiders.vscode.dev/redirect",
]
CLAUDE = ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"]


@pytest.mark.parametrize("uris", [CURSOR, VSCODE, CLAUDE, ["com.example.app:/cb"], ["http://[::1]:1/cb"]])
async def test_programs_of_the_field_can_register(world: World, uris: list[str]) -> None:
    reply = await world.register(*uris)
    assert reply.status == 201
    assert reply.body is not None
    assert reply.body["redirect_uris"] == uris
    assert reply.headers["Cache-Control"] == "no-store"
    wish = await world.wish(reply.body["client_id"], redirect_uri=uris[-1])
    assert wish.client.origin == "dynamic"


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://evil.example.com/cb",
        "vbscript:x",
        "about:blank",
        "https://user:pw@client.example.com/cb",
        "https://client.example.com/cb#f",
        "https://client.example.com\\@evil.example.com",
        "https://client.example.com/a/../cb",
        "//client.example.com/cb",
        "/cb",
        "",
        "blob:https://x",
        "intent://x#Intent;end",
    ],
)
async def test_fastmcp_3037_the_rule_for_redirect_uris_holds_at_registration_too(world: World, uri: str) -> None:
    assert bad(await world.register(CALLBACK, uri)) == (400, "invalid_redirect_uri")
    assert await world.store.clients("local") == ()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": CALLBACK}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"{CALLBACK}/{i}" for i in range(33)]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK + "x" * 2048]}, "invalid_redirect_uri"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": ["none"]}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"application_type": "other"}, "invalid_client_metadata"),
        ({"client_name": {"en": "x"}}, "invalid_client_metadata"),
    ],
)
async def test_metadata_that_is_not_in_order_is_refused(world: World, more: dict[str, Any], error: str) -> None:
    reply = await world.register(**more)
    assert bad(reply) == (400, error)
    assert reply.body is not None
    assert reply.body["error_description"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 60_000, b'{"redirect_uris": NaN}'])
async def test_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    assert bad(await world.server.register(body, "192.0.2.1")) == (400, "invalid_client_metadata")


async def test_a_body_has_bounds(world: World) -> None:
    assert bad(await world.server.register(b" " * 65_537, "192.0.2.1")) == (413, "invalid_client_metadata")


async def test_the_same_metadata_gets_the_same_public_client_from_anywhere(world: World) -> None:
    """Claude registers at each connection."""
    replies = await asyncio.gather(*(world.register(CALLBACK, LOOPBACK) for _ in range(5)))
    other_order = await world.register(LOOPBACK, CALLBACK)
    different = await world.register(CALLBACK, LOOPBACK, client_name="Other")
    ids = [reply.body["client_id"] for reply in (*replies, other_order) if reply.body is not None]
    assert len(set(ids)) == 1
    assert different.body is not None
    assert different.body["client_id"] not in ids
    assert len(await world.store.clients("local")) == 2
    await world.start()
    again = await world.register(CALLBACK, LOOPBACK)
    assert again.body is not None
    assert again.body["client_id"] == ids[0]


async def test_each_client_with_a_secret_is_one_of_its_own(world: World) -> None:
    one, other = [await world.register(token_endpoint_auth_method="client_secret_post") for _ in range(2)]
    assert one.body is not None
    assert other.body is not None
    assert one.body["client_id"] != other.body["client_id"]
    assert one.body["client_secret"] != other.body["client_secret"]
    assert one.body["client_secret_expires_at"] == 0


async def test_what_a_client_leaves_open_is_told_to_it(world: World) -> None:
    reply = await world.server.register(
        json.dumps({"redirect_uris": [CALLBACK], "jwks": {}, "scope": "x"}).encode(), "::1"
    )
    assert reply.body is not None
    kept = {name: reply.body[name] for name in ("grant_types", "response_types", "token_endpoint_auth_method")}
    assert kept == {
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    assert not {"jwks", "scope"} & reply.body.keys()


async def test_a_name_hides_nothing(world: World) -> None:
    client = await world.client(client_name="\u202eevil\u200b\x00\n" + "x" * 500)
    name = (await world.wish(client)).client.name
    assert name == "evil" + "x" * 196


async def test_an_address_registers_ten_times_a_minute(world: World) -> None:
    replies = [await world.register(address=f"2001:db8::{i}", client_name=str(i)) for i in range(11)]
    assert [reply.status for reply in replies] == [201] * 10 + [429]
    assert int(replies[-1].headers["Retry-After"]) <= 7
    assert (await world.register(address="2001:db8:0:1::1")).status == 201
    world.clock.go(6)
    assert (await world.register(address="2001:db8::1")).status == 201


async def test_registration_can_be_closed(world: World) -> None:
    world.settings = Settings(registration=False)
    await world.start()
    assert bad(await world.register()) == (403, "access_denied")
    assert "registration_endpoint" not in world.server.metadata()


async def test_a_full_house_makes_room_by_whoever_was_not_seen_longest_and_holds_no_grant(world: World) -> None:
    world.settings = Settings(max_clients=3)
    await world.start()
    held = await world.client(client_name="held")
    await world.login(held)
    world.clock.go(3600)
    idle, used = await world.client(client_name="idle"), await world.client(client_name="used")
    world.clock.go(7200)
    await world.wish(used)
    new = await world.client(client_name="new")
    assert {row.id for row in await world.store.clients("local")} == {held, used, new}
    assert idle not in (held, used, new)


async def test_a_house_full_of_held_clients_takes_no_more(world: World) -> None:
    world.settings = Settings(max_clients=1)
    await world.start()
    await world.login(await world.client())
    assert bad(await world.register(client_name="more")) == (503, "temporarily_unavailable")


async def test_a_client_that_is_not_used_goes_and_one_that_is_used_stays(world: World) -> None:
    world.settings = Settings(client_ttl_s=10 * 86_400.0)
    await world.start()
    idle, used, held = [await world.client(client_name=name) for name in ("idle", "used", "held")]
    await world.login(held)
    world.clock.go(6 * 86_400)
    await world.wish(used)
    world.clock.go(6 * 86_400)
    await world.server.tend()
    assert {row.id for row in await world.store.clients("local")} == {used, held}
    assert idle not in (used, held)


async def test_a_client_of_the_admin_never_goes_by_itself(world: World) -> None:
    client = await world.client()
    (row,) = await world.store.clients("local")
    await world.store.put_client(replace(row, origin="admin"))
    await world.start()
    world.clock.go(365 * 86_400)
    await world.server.tend()
    assert (await world.wish(client)).client.origin == "admin"


async def test_a_use_is_written_down_once_an_hour(world: World) -> None:
    client = await world.client()
    world.clock.go(3599)
    await world.wish(client)
    assert (await world.store.clients("local"))[0].used_at == world.clock() - 3599
    world.clock.go(1)
    await world.wish(client)
    assert (await world.store.clients("local"))[0].used_at == world.clock()


async def test_many_registrations_at_once_stay_within_the_house(world: World) -> None:
    world.settings = Settings(max_clients=5)
    await world.start()
    await asyncio.gather(*(world.register(client_name=str(i)) for i in range(30)))
    assert len(await world.store.clients("local")) == 5


async def test_a_registered_client_can_log_in_and_renew(world: World) -> None:
    client = await world.client()
    good(await world.refresh(client, (await world.login(client))["refresh_token"]))
