from __future__ import annotations

import asyncio
import base64
from hashlib import sha256

import pytest

from hub.identity.oauth.families import PREFIX
from tests.identity.oauth.world import ISSUER, MCP, Sealed, World, bad, good


async def test_each_refresh_gives_a_new_token_and_a_new_access_token(world: World) -> None:
    client = await world.client()
    first = await world.login(client)
    second = good(await world.refresh(client, first["refresh_token"]))
    third = good(await world.refresh(client, second["refresh_token"]))
    assert len({made["refresh_token"] for made in (first, second, third)}) == 3
    assert len({made["access_token"] for made in (first, second, third)}) == 3
    assert (third["scope"], third["expires_in"]) == ("mcp", 600)


async def test_the_store_knows_tokens_by_their_hash_only(world: World) -> None:
    client = await world.client()
    made = good(await world.refresh(client, (await world.login(client))["refresh_token"]))
    (row,) = await world.store.grants("local")
    assert row.refresh_sha256 == sha256(made["refresh_token"].encode()).hexdigest()
    assert made["refresh_token"].encode() not in (row.successor or b"")


async def test_the_token_before_gets_the_same_successor_within_the_grace(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]
    second = good(await world.refresh(client, first))
    world.clock.go(30)
    again = good(await world.refresh(client, first))
    assert again["refresh_token"] == second["refresh_token"]
    assert again["access_token"] != second["access_token"]
    assert await world.is_good(again["access_token"])
    good(await world.refresh(client, second["refresh_token"]))
    assert world.reused == []


async def test_check_13_reuse_after_the_grace_ends_the_family_and_is_told(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]
    second = good(await world.refresh(client, first))
    world.clock.go(30.1)
    assert bad(await world.refresh(client, first)) == (400, "invalid_grant")
    assert not await world.is_good(second["access_token"])
    assert bad(await world.refresh(client, second["refresh_token"])) == (400, "invalid_grant")
    assert [row.id for row in world.reused] == world.ended
    assert (len(world.ended), await world.store.grants("local")) == (1, ())


async def test_check_13_a_thief_who_renews_twice_is_found_out_too(world: World) -> None:
    """The row remembers two tokens. With those alone, the owner's token of three turns ago would be merely unknown."""
    client = await world.client()
    stolen = (await world.login(client))["refresh_token"]
    thief = stolen
    for _ in range(3):
        thief = good(await world.refresh(client, thief))["refresh_token"]
        world.clock.go(40)
    await world.start()
    assert bad(await world.refresh(client, stolen)) == (400, "invalid_grant")
    assert bad(await world.refresh(client, thief)) == (400, "invalid_grant")
    assert len(world.reused) == 1


async def test_a_token_that_was_made_up_ends_nothing(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    (row,) = world.server.grants_of(world.ann.id)
    forged = PREFIX + base64.urlsafe_b64encode(bytes.fromhex(row.id[1:]) + bytes(48)).decode().rstrip("=")
    for token in (forged, forged + "=", PREFIX, "é" * 75, "\udc80", "x" * 8000, made["refresh_token"][:-1]):
        assert bad(await world.refresh(client, token)) == (400, "invalid_grant")
    assert await world.is_good(made["access_token"])
    assert world.reused == []


async def test_twenty_at_once_with_one_token_get_one_successor(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]
    replies = [good(reply) for reply in await asyncio.gather(*(world.refresh(client, first) for _ in range(20)))]
    assert len({made["refresh_token"] for made in replies}) == 1
    assert len({made["access_token"] for made in replies}) == 20
    assert all([await world.is_good(made["access_token"]) for made in replies])
    assert world.ended == []


async def test_two_servers_on_one_store_give_one_successor(world: World) -> None:
    """The rows are compared and swapped, so that it does not take one memory to be right."""
    client = await world.client()
    first, here = (await world.login(client))["refresh_token"], world.server
    await world.start()
    there = world.server
    form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", first)]
    replies = [good(reply) for reply in await asyncio.gather(*(s.token(form, None) for s in (here, there) * 5))]
    assert len({made["refresh_token"] for made in replies}) == 1


async def test_a_refresh_that_another_server_did_is_no_theft(world: World) -> None:
    client = await world.client()
    first, here = (await world.login(client))["refresh_token"], world.server
    await world.start()
    second = good(await world.refresh(client, first))["refresh_token"]
    form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", second)]
    assert good(await here.token(form, None))["refresh_token"] != second
    assert world.reused == []


async def test_a_kill_between_turn_and_answer_logs_nobody_out(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]

    async def killed() -> None:
        raise asyncio.CancelledError

    world.store.rotated = killed
    with pytest.raises(asyncio.CancelledError):
        await world.refresh(client, first)
    world.store.rotated = None
    await world.start()
    (row,) = await world.store.grants("local")
    second = good(await world.refresh(client, first))["refresh_token"]
    assert row.refresh_sha256 == sha256(second.encode()).hexdigest()
    world.clock.go(3600)
    good(await world.refresh(client, second))


async def test_a_caller_that_goes_away_between_turn_and_answer_is_not_logged_out(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]

    async def gone() -> None:
        raise asyncio.CancelledError

    world.store.rotated = gone
    with pytest.raises(asyncio.CancelledError):
        await world.refresh(client, first)
    world.store.rotated = None
    second = good(await world.refresh(client, first))["refresh_token"]
    assert (await world.store.grants("local"))[0].refresh_sha256 == sha256(second.encode()).hexdigest()
    good(await world.refresh(client, second))


async def test_a_token_stays_good_over_a_restart(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    await world.start()
    assert await world.is_good(made["access_token"])
    good(await world.refresh(client, made["refresh_token"]))


async def test_a_client_that_renews_twice_within_the_grace_does_not_lose_its_twin(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]
    second = good(await world.refresh(client, first))["refresh_token"]
    third = good(await world.refresh(client, second))["refresh_token"]
    assert good(await world.refresh(client, first))["refresh_token"] == third
    assert world.reused == []


async def test_a_successor_that_cannot_be_read_ends_nothing(world: World) -> None:
    client = await world.client()
    first = (await world.login(client))["refresh_token"]
    second = good(await world.refresh(client, first))["refresh_token"]
    world.sealer = Sealed()
    await world.start()
    assert bad(await world.refresh(client, first)) == (400, "invalid_grant")
    good(await world.refresh(client, second))


async def test_a_grants_sealed_successor_opens_for_that_grant_only(world: World) -> None:
    client = await world.client()
    for _ in range(2):
        good(await world.refresh(client, (await world.login(client))["refresh_token"]))
    one, other = await world.store.grants("local")
    assert one.successor is not None
    assert world.sealer.open(one.successor, f"refresh:local:{one.id}".encode()) is not None
    assert world.sealer.open(one.successor, f"refresh:local:{other.id}".encode()) is None


async def test_a_token_of_another_client_gets_nothing_and_ends_nothing(world: World) -> None:
    client, other = await world.client(), await world.client(client_name="Other")
    made = await world.login(client)
    assert bad(await world.refresh(other, made["refresh_token"])) == (400, "invalid_grant")
    good(await world.refresh(client, made["refresh_token"]))


@pytest.mark.parametrize("resource", [ISSUER + "/dev/mcp", "https://evil.example.com/mcp"])
async def test_a_refresh_does_not_change_the_resource(world: World, resource: str) -> None:
    client = await world.client()
    made = await world.login(client)
    assert bad(await world.refresh(client, made["refresh_token"], resource=resource)) == (400, "invalid_target")
    again = good(await world.refresh(client, made["refresh_token"], resource=MCP))
    verified = await world.server.verifier.verify(again["access_token"])
    assert verified is not None
    assert verified.principal.endpoints == frozenset({""})


async def test_a_refresh_narrows_the_access_token_and_not_the_grant(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    narrow = good(await world.refresh(client, made["refresh_token"], scope="mcp:server:wiki"))
    assert narrow["scope"] == "mcp:server:wiki"
    wide = good(await world.refresh(client, narrow["refresh_token"]))
    assert wide["scope"] == "mcp"
    one, other = [await world.server.verifier.verify(made["access_token"]) for made in (narrow, wide)]
    assert one is not None
    assert other is not None
    assert one.principal.grants.servers == frozenset({"wiki"})
    assert one.principal.credential != other.principal.credential


@pytest.mark.parametrize(
    "scope", ["mcp admin", "mcp:server:other", "mcp", "mcp:server:wiki", "mcp:tool:wiki__*", "openid"]
)
async def test_a_refresh_never_widens(world: World, scope: str) -> None:
    """Left out, a scope that narrows would widen what the others reach."""
    client = await world.client()
    made = await world.login(client, scope="mcp:server:wiki mcp:tool:wiki__get")
    reply = await world.refresh(client, made["refresh_token"], scope=scope)
    assert bad(reply) == (400, "invalid_scope")
    good(await world.refresh(client, made["refresh_token"], scope="mcp:tool:wiki__get mcp:server:wiki"))


async def test_the_whole_ends_after_its_time_whatever_was_renewed(world: World) -> None:
    client = await world.client()
    token = (await world.login(client))["refresh_token"]
    for _ in range(29):
        world.clock.go(86_400)
        token = good(await world.refresh(client, token))["refresh_token"]
    world.clock.go(86_400)
    assert bad(await world.refresh(client, token)) == (400, "invalid_grant")
    await world.server.tend()
    assert world.server.grants_of(world.ann.id) == ()
