from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hub.stores.sqlite.database import DatabaseUnavailable
from tests.identity.oauth.world import CALLBACK, ISSUER, MCP, VERIFIER, World, bad, basic, good

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def test_a_code_becomes_tokens_for_its_resource(world: World) -> None:
    client = await world.client()
    reply = await world.redeem(client, await world.code(client))
    made = good(reply)
    assert (made["token_type"], made["expires_in"], made["scope"]) == ("Bearer", 600, "mcp")
    assert reply.headers == NO_STORE
    verified = await world.server.verifier.verify(made["access_token"])
    assert verified is not None
    assert (verified.issuer, verified.subject, verified.client) == (ISSUER, world.ann.id, client)
    assert verified.principal.endpoints == frozenset({""})
    assert [row.id for row in world.server.grants_of(world.ann.id)] == [verified.family]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": None}, "invalid_request"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": CALLBACK + "/"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "w" * 50}, "invalid_grant"),
        ({"code_verifier": VERIFIER + "\n"}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"resource": ISSUER + "/dev/mcp"}, "invalid_target"),
        ({"resource": "https://evil.example.com"}, "invalid_target"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": 'client_credentials"\\'}, "unsupported_grant_type"),
    ],
)
async def test_what_does_not_fit_the_code_gets_nothing(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    client = await world.client()
    code = await world.code(client)
    reply = await world.redeem(client, **{"code": code, **changes})
    assert bad(reply) == (400, error)
    assert reply.headers == NO_STORE
    assert world.server.grants_of(world.ann.id) == ()


async def test_the_resource_may_be_left_out_or_written_otherwise(world: World) -> None:
    client = await world.client()
    for resource in (None, "https://HUB.example.com:443/mcp/"):
        good(await world.redeem(client, await world.code(client), resource=resource))


async def test_a_parameter_sent_twice_is_refused(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    form = [("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("code", code)]
    assert bad(await world.server.token(form, None)) == (400, "invalid_request")


@pytest.mark.parametrize("form", [[("a", "b")] * 65, [("a", "b" * 9000)], [("b" * 9000, "")]])
async def test_a_form_has_bounds(world: World, form: list[tuple[str, str]]) -> None:
    assert bad(await world.server.token(form, None)) == (400, "invalid_request")


async def test_a_code_is_good_for_a_minute(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    world.clock.go(60.0)
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")


async def test_check_12_a_code_used_twice_ends_everything_that_came_of_it(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    made = good(await world.redeem(client, code))
    assert await world.is_good(made["access_token"])
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")
    assert not await world.is_good(made["access_token"])
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")
    assert [row.id for row in world.reused] == world.ended != []
    assert await world.store.grants("local") == ()


async def test_check_12_of_many_at_once_with_one_code_none_keeps_tokens(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    replies = await asyncio.gather(*(world.redeem(client, code) for _ in range(8)))
    assert sum(reply.status == 200 for reply in replies) <= 1
    assert world.server.grants_of(world.ann.id) == ()


async def test_a_code_of_another_client_gets_nothing(world: World) -> None:
    client, other = await world.client(), await world.client(client_name="Other")
    assert bad(await world.redeem(other, await world.code(client))) == (400, "invalid_grant")


async def test_a_wrong_verifier_costs_the_code(world: World) -> None:
    """Whoever has a code without its verifier has it from somewhere it should not be."""
    client = await world.client()
    code = await world.code(client)
    await world.redeem(client, code, code_verifier="w" * 50)
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")


async def test_a_user_who_was_disabled_since_gets_nothing(world: World) -> None:
    client = await world.client()
    code, made = await world.code(client), await world.login(client)
    world.people.disable(world.ann.id)
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")


async def test_a_grant_that_is_ended_before_its_code_is_redeemed_gives_nothing(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    await world.server.end_user(world.ann.id, "admin")
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")


async def test_a_grant_that_is_ended_while_its_code_is_redeemed_gives_nothing(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    world.store.rotating = lambda: world.server.end_user(world.ann.id, "admin")
    assert bad(await world.redeem(client, code)) == (400, "invalid_grant")
    assert world.server.grants_of(world.ann.id) == ()


async def test_a_deleted_client_is_told_to_register_again(world: World) -> None:
    """Claude registers anew at 401 invalid_client, and at nothing else."""
    client = await world.client()
    made = await world.login(client)
    await world.store.remove_clients("local", [client])
    await world.start()
    assert bad(await world.refresh(client, made["refresh_token"])) == (401, "invalid_client")
    assert bad(await world.redeem(client, "x")) == (401, "invalid_client")
    assert bad(await world.server.token([("grant_type", "refresh_token")], None)) == (401, "invalid_client")


async def with_secret(world: World, method: str) -> tuple[str, str]:
    reply = await world.register(token_endpoint_auth_method=method)
    assert reply.body is not None
    return reply.body["client_id"], reply.body["client_secret"]


async def test_a_client_with_a_secret_shows_it_the_way_it_registered(world: World) -> None:
    client, secret = await with_secret(world, "client_secret_basic")
    good(await world.redeem(client, await world.code(client), basic(client, secret)))
    good(await world.redeem(client, await world.code(client), basic(client, secret), client_id=None))
    for attempt in (
        world.redeem(client, await world.code(client)),
        world.redeem(client, await world.code(client), basic(client, secret + "x")),
        world.redeem(client, await world.code(client), client_secret=secret),
    ):
        assert bad(await attempt) == (401, "invalid_client")
    client, secret = await with_secret(world, "client_secret_post")
    good(await world.redeem(client, await world.code(client), client_secret=secret))
    for attempt in (
        world.redeem(client, await world.code(client)),
        world.redeem(client, await world.code(client), client_secret="x"),
        world.redeem(client, await world.code(client), basic(client, secret)),
    ):
        assert bad(await attempt) == (401, "invalid_client")


async def test_a_public_client_that_shows_a_secret_is_not_believed(world: World) -> None:
    client = await world.client()
    code = await world.code(client)
    assert bad(await world.redeem(client, code, client_secret="x")) == (401, "invalid_client")
    assert bad(await world.redeem(client, code, basic(client, "x"))) == (401, "invalid_client")


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic ", "Basic !!", "Basic /w==", "Bearer abc", "Basic " + "A" * 9000, "\n"]
)
async def test_a_header_that_is_none_is_refused_in_words(world: World, header: str) -> None:
    client = await world.client()
    reply = await world.redeem(client, await world.code(client), header)
    assert bad(reply) == (401, "invalid_client")
    assert reply.headers["WWW-Authenticate"].startswith("Basic")


async def test_two_ways_to_say_who_one_is_are_refused(world: World) -> None:
    client, secret = await with_secret(world, "client_secret_basic")
    other = await world.client()
    code = await world.code(client)
    for changes in ({"client_secret": secret}, {"client_id": other}):
        assert bad(await world.redeem(client, code, basic(client, secret), **changes)) == (400, "invalid_request")


async def test_a_client_that_wants_no_refresh_token_gets_none(world: World) -> None:
    client = await world.client(grant_types=["authorization_code"])
    made = await world.login(client)
    assert "refresh_token" not in made
    world.clock.go(599)
    assert await world.is_good(made["access_token"])
    world.clock.go(1)
    assert world.server.grants_of(world.ann.id) == ()


async def test_no_secret_is_stored_or_shown_in_plain(world: World) -> None:
    client, secret = await with_secret(world, "client_secret_post")
    code = await world.code(client)
    made = good(await world.redeem(client, code, client_secret=secret))
    again = good(await world.refresh(client, made["refresh_token"], client_secret=secret))
    kept = repr((vars(world.store), vars(world.server), world.server.grants_of(world.ann.id)))
    for hidden in (secret, code, made["refresh_token"], again["refresh_token"], made["access_token"]):
        assert hidden not in kept


async def full() -> None:
    raise DatabaseUnavailable("the hub's database cannot be written: disk full")


async def test_a_disk_that_fails_is_told_as_such_and_not_as_a_bad_token(world: World) -> None:
    """Clients throw a login away at `invalid_grant`."""
    client = await world.client()
    made = await world.login(client)
    world.store.rotating = full
    reply = await world.refresh(client, made["refresh_token"])
    assert bad(reply) == (503, "temporarily_unavailable")
    assert "disk" not in repr(reply)
    world.store.rotating = None
    good(await world.refresh(client, made["refresh_token"]))


async def test_an_end_that_cannot_be_written_down_counts_at_once_and_is_written_later(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    world.store.revoking = full
    with pytest.raises(DatabaseUnavailable):
        await world.server.end([row.id for row in world.server.grants_of(world.ann.id)], "admin")
    assert not await world.is_good(made["access_token"])
    world.store.revoking = None
    await world.server.tend()
    await world.start()
    assert not await world.is_good(made["access_token"])


async def test_a_user_holds_a_bounded_number_of_grants(world: World) -> None:
    client = await world.client()
    first = await world.login(client)
    (row,) = world.server.grants_of(world.ann.id)
    for number in range(199):
        world.clock.now = row.created_at + 1 + number / 1000
        await world.code(client)
    assert await world.is_good(first["access_token"])
    await world.code(client)
    assert not await world.is_good(first["access_token"])
    assert world.ended == [row.id]


async def test_tokens_of_a_grant_end_with_it(world: World) -> None:
    client = await world.client()
    world.settings = replace(world.settings, refresh_s=900.0)
    await world.start()
    made = await world.login(client, resource=MCP)
    world.clock.go(700)
    made = good(await world.refresh(client, made["refresh_token"]))
    assert made["expires_in"] == 200
    world.clock.go(200)
    assert not await world.is_good(made["access_token"])
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")
