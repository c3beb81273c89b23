"""Programs without a browser (RFC 8628): from their first question to their tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from hub.core.accounts import GrantRow
from hub.identity.oauth import device
from hub.identity.oauth.asked import Login, OAuthClient, Reply, Wish
from hub.identity.oauth.device import Asked, Devices, NotFound
from hub.identity.oauth.metadata import DEVICE
from hub.identity.oauth.ports import Settings
from tests.identity.oauth.world import CALLBACK, ISSUER, MCP, Clock, Disk, World, bad, basic, good

DOCUMENT = "https://client.example.com/mcp/client.json"
PHONE = "198.51.100.4"


async def television(world: World, **more: Any) -> str:
    return await world.client(**{"grant_types": [DEVICE, "refresh_token"], **more})


async def begin(world: World, client: str, address: str = "192.0.2.1", **more: str) -> Reply:
    return await world.server.device_authorization([("client_id", client), *more.items()], None, address)


async def ask(world: World, client: str, code: str, authorization: str | None = None, **more: str) -> Reply:
    form = {"grant_type": DEVICE, "client_id": client, "device_code": code, **more}
    return await world.server.token(list(form.items()), authorization)


def typed(world: World, code: str, address: str = PHONE) -> Asked:
    found = world.server.device_typed(code, address)
    assert isinstance(found, Asked)
    return found


async def allow(world: World, code: str) -> None:
    assert await world.server.device_granted(typed(world, code), Login(world.ann, world.clock(), "otp")) is None


async def test_a_person_types_the_code_and_the_program_gets_the_tokens_of_that_person(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client, resource=MCP, scope="mcp:server:files"))
    assert (told["verification_uri"], told["expires_in"], told["interval"]) == (f"{ISSUER}/oauth/device", 600, 5)
    assert told["verification_uri_complete"] == f"{ISSUER}/oauth/device?user_code={told['user_code']}"
    assert bad(await ask(world, client, told["device_code"])) == (400, "authorization_pending")
    asked = typed(world, told["user_code"])
    assert (asked.wish.client.name, asked.wish.resource, asked.wish.scopes) == ("Tester", MCP, ("mcp:server:files",))
    await allow(world, told["user_code"])
    world.clock.go(5)
    made = good(await ask(world, client, told["device_code"]))
    verified = await world.server.verifier.verify(made["access_token"])
    assert verified is not None
    assert (verified.principal.name, verified.principal.strength) == ("user:ann", "otp")
    assert made["scope"] == "mcp:server:files"
    good(await world.refresh(client, made["refresh_token"]))
    (grant,) = world.server.grants_of(world.ann.id)
    assert (grant.client_name, grant.resource) == ("Tester", MCP)


async def test_the_code_is_eight_letters_that_make_no_word_and_are_read_in_one_way(world: World) -> None:
    client, seen = await television(world), set()
    for _ in range(20):
        code = good(await begin(world, client))["user_code"]
        assert len(code) == 9
        assert code[4] == "-"
        assert set(code) <= set("BCDFGHJKLMNPQRSTVWXZ-")
        seen.add(code)
    assert len(seen) == 20


async def test_people_may_type_the_code_in_their_own_way(world: World) -> None:
    code = good(await begin(world, await television(world)))["user_code"]
    asked = typed(world, code)
    for way in (code.lower(), code.replace("-", ""), f"  {code[:2]} {code[2:]} . ", code + "\u0130\u2028"):
        assert typed(world, way) is asked


async def test_who_asks_too_often_is_slowed_down_for_good(world: World) -> None:
    client = await television(world)
    code = good(await begin(world, client))["device_code"]
    outcomes = []
    for pause in (0, 5, 1, 5, 10, 9.5):  # the second answer too early makes it ten seconds, the third fifteen
        world.clock.go(pause)
        outcomes.append(bad(await ask(world, client, code))[1])
    waits, slow = "authorization_pending", "slow_down"
    assert outcomes == [waits, waits, slow, slow, slow, slow]
    world.clock.go(30)
    assert bad(await ask(world, client, code))[1] == waits


async def test_a_denial_is_told(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    assert world.server.device_refused(typed(world, told["user_code"]))
    assert bad(await ask(world, client, told["device_code"])) == (400, "access_denied")
    assert isinstance(world.server.device_typed(told["user_code"], PHONE), NotFound)


async def test_after_ten_minutes_nobody_can_say_yes_and_the_program_is_told(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    asked = typed(world, told["user_code"])
    world.clock.go(600)
    assert isinstance(world.server.device_typed(told["user_code"], PHONE), NotFound)
    assert await world.server.device_granted(asked, Login(world.ann, world.clock(), "password")) is not None
    assert not world.server.device_refused(asked)
    assert bad(await ask(world, client, told["device_code"])) == (400, "expired_token")
    assert world.server.grants_of(world.ann.id) == ()


async def test_a_yes_in_the_last_second_is_still_fetched(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    world.clock.go(599)
    await allow(world, told["user_code"])
    world.clock.go(59)
    assert await world.is_good(good(await ask(world, client, told["device_code"]))["access_token"])


async def test_a_yes_that_nobody_fetches_ends(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    await allow(world, told["user_code"])
    world.clock.go(600)
    assert bad(await ask(world, client, told["device_code"])) == (400, "expired_token")
    assert world.server.grants_of(world.ann.id) == ()


async def test_a_device_code_that_comes_again_ends_what_came_of_it(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    await allow(world, told["user_code"])
    made = good(await ask(world, client, told["device_code"]))
    assert bad(await ask(world, client, told["device_code"])) == (400, "invalid_grant")
    assert not await world.is_good(made["access_token"])
    assert bad(await world.refresh(client, made["refresh_token"])) == (400, "invalid_grant")
    assert [grant.client for grant in world.reused] == [client]


async def test_of_two_at_once_at_most_one_gets_tokens_and_they_are_worth_nothing(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    await allow(world, told["user_code"])
    replies = await asyncio.gather(*(ask(world, client, told["device_code"]) for _ in range(5)))
    made = [reply.body["access_token"] for reply in replies if reply.status == 200 and reply.body is not None]
    assert len(made) <= 1
    assert not any([await world.is_good(token) for token in made])


async def test_of_two_people_one_answers(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    eve = world.people.add("eve")
    add = world.store.add

    async def slow(grant: GrantRow) -> None:
        await checkpoint()  # as a disk: others get their turn
        await add(grant)

    world.store.add = slow  # type: ignore[method-assign]
    one, other = typed(world, told["user_code"]), typed(world, told["user_code"])
    logins = [Login(user, world.clock(), "password") for user in (world.ann, eve)]
    outcomes = await asyncio.gather(
        world.server.device_granted(one, logins[0]), world.server.device_granted(other, logins[1])
    )
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    assert not world.server.device_refused(other)
    made = good(await ask(world, client, told["device_code"]))
    verified = await world.server.verifier.verify(made["access_token"])
    assert verified is not None
    assert verified.principal.name == "user:ann"
    assert world.server.grants_of(eve.id) == ()


async def test_another_program_gets_nothing_for_the_code_and_does_not_spoil_it(world: World) -> None:
    client, thief = await television(world), await television(world, client_name="Thief")
    told = good(await begin(world, client))
    await allow(world, told["user_code"])
    assert bad(await ask(world, thief, told["device_code"])) == (400, "invalid_grant")
    assert await world.is_good(good(await ask(world, client, told["device_code"]))["access_token"])


async def test_neither_code_works_in_the_place_of_another(world: World) -> None:
    client = await world.client(grant_types=["authorization_code", DEVICE])
    told = good(await begin(world, client))
    await allow(world, told["user_code"])
    assert bad(await ask(world, client, told["user_code"])) == (400, "invalid_grant")
    assert bad(await world.redeem(client, told["device_code"])) == (400, "invalid_grant")
    code = await world.code(client)
    assert bad(await ask(world, client, code)) == (400, "invalid_grant")
    assert isinstance(world.server.device_typed(told["device_code"], PHONE), NotFound)


async def test_who_guesses_codes_is_held_up_and_nobody_else(world: World) -> None:
    code = good(await begin(world, await television(world)))["user_code"]
    for number in range(10):
        guessed = world.server.device_typed(f"BCDF-GHJ{'KLMNPQRSTV'[number]}", PHONE)
        assert guessed == NotFound()
    held = world.server.device_typed(code, PHONE)
    assert isinstance(held, NotFound)
    assert 0 < held.wait_s <= 60
    assert typed(world, code, "203.0.113.9") is not None
    world.clock.go(held.wait_s)
    assert typed(world, code) is not None


async def test_one_code_sent_to_many_people_is_void(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    for number in range(device.OPENED):
        typed(world, told["user_code"], f"203.0.113.{number}")
    assert isinstance(world.server.device_typed(told["user_code"], "203.0.113.99"), NotFound)
    assert bad(await ask(world, client, told["device_code"])) == (400, "access_denied")


async def test_who_begins_too_often_is_told_when_to_come_again(world: World) -> None:
    client = await television(world)
    for _ in range(20):
        good(await begin(world, client))
    reply = await begin(world, client)
    assert bad(reply) == (429, "temporarily_unavailable")
    assert 1 <= int(reply.headers["Retry-After"]) <= 4
    good(await begin(world, client, "192.0.2.2"))


async def test_where_it_is_turned_off_nothing_names_it_and_nobody_begins(world: World) -> None:
    client = await television(world)
    world.settings = Settings(device=False)
    await world.start()
    assert "device" not in repr(world.server.metadata())
    assert bad(await begin(world, client)) == (403, "access_denied")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"scope": "everything"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
    ],
)
async def test_a_request_that_is_not_in_order_is_refused(world: World, more: dict[str, str], error: str) -> None:
    assert bad(await begin(world, await television(world), **more)) == (400, error)


async def test_a_program_that_did_not_name_this_way_does_not_get_it(world: World) -> None:
    assert bad(await begin(world, await world.client())) == (400, "unauthorized_client")
    assert bad(await begin(world, "nobody")) == (401, "invalid_client")
    assert bad(await world.server.device_authorization([], None, PHONE)) == (401, "invalid_client")


async def test_a_program_that_has_no_browser_needs_no_address_to_send_one_to(world: World) -> None:
    reply = await world.register(redirect_uris=None, grant_types=[DEVICE])
    assert reply.status == 201
    assert reply.body is not None
    assert (reply.body["redirect_uris"], reply.body["grant_types"], reply.body["response_types"]) == ([], [DEVICE], [])
    told = good(await begin(world, reply.body["client_id"]))
    await allow(world, told["user_code"])
    made = good(await ask(world, reply.body["client_id"], told["device_code"]))
    assert "refresh_token" not in made
    assert bad(await world.register(redirect_uris=None)) == (400, "invalid_redirect_uri")
    assert bad(await world.register("ftp://x/cb", grant_types=[DEVICE]))[1] == "invalid_redirect_uri"


async def test_a_program_with_a_secret_proves_it_at_both_ends(world: World) -> None:
    reply = await world.register(token_endpoint_auth_method="client_secret_basic", grant_types=[DEVICE])
    assert reply.body is not None
    client, secret = reply.body["client_id"], reply.body["client_secret"]
    assert bad(await begin(world, client)) == (401, "invalid_client")
    right, wrong = basic(client, secret), basic(client, "guess")
    assert bad(await world.server.device_authorization([], wrong, PHONE)) == (401, "invalid_client")
    told = good(await world.server.device_authorization([], right, PHONE))
    await allow(world, told["user_code"])
    assert bad(await ask(world, client, told["device_code"], wrong)) == (401, "invalid_client")
    assert bad(await ask(world, client, told["device_code"])) == (401, "invalid_client")
    good(await ask(world, client, told["device_code"], right))


async def test_a_document_may_name_this_way_and_its_address_may_be_all_it_has(world: World) -> None:
    world.web.put(DOCUMENT, {"client_id": DOCUMENT, "client_name": "Doc", "grant_types": [DEVICE, "refresh_token"]})
    told = good(await begin(world, DOCUMENT))
    await allow(world, told["user_code"])
    made = good(await ask(world, DOCUMENT, told["device_code"]))
    good(await world.refresh(DOCUMENT, made["refresh_token"]))
    world.web.put(DOCUMENT + "2", {"client_id": DOCUMENT + "2", "redirect_uris": [CALLBACK]})
    assert bad(await begin(world, DOCUMENT + "2")) == (400, "unauthorized_client")
    assert bad(await begin(world, DOCUMENT + "3")) == (401, "invalid_client")


async def test_what_no_role_allows_is_a_denial_in_words(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client, scope="admin", resource=f"{ISSUER}/api/v1"))
    why = await world.server.device_granted(typed(world, told["user_code"]), Login(world.ann, world.clock(), "otp"))
    assert why == "no role of the user allows any of this"
    assert bad(await ask(world, client, told["device_code"])) == (400, "access_denied")


async def test_who_is_disabled_or_ended_before_the_tokens_are_fetched_gets_none(world: World) -> None:
    client = await television(world)
    first, second = [good(await begin(world, client)) for _ in range(2)]
    await allow(world, first["user_code"])
    await world.server.end_user(world.ann.id, "password")
    assert bad(await ask(world, client, first["device_code"])) == (400, "invalid_grant")
    await allow(world, second["user_code"])
    world.people.disable(world.ann.id)
    assert bad(await ask(world, client, second["device_code"])) == (400, "invalid_grant")


async def test_a_yes_that_could_not_be_written_down_can_be_said_again(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    asked, login = typed(world, told["user_code"]), Login(world.ann, world.clock(), "password")
    add = world.store.add

    async def full(grant: object) -> None:
        raise TimeoutError

    world.store.add = full  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        await world.server.device_granted(asked, login)
    assert bad(await ask(world, client, told["device_code"])) == (400, "authorization_pending")
    world.store.add = add  # type: ignore[method-assign]
    assert await world.server.device_granted(asked, login) is None
    good(await ask(world, client, told["device_code"]))


async def test_tokens_that_could_not_be_written_down_are_asked_for_again(world: World) -> None:
    client = await television(world)
    told = good(await begin(world, client))
    await allow(world, told["user_code"])

    async def full() -> None:
        raise TimeoutError

    assert isinstance(world.store, Disk)
    world.store.rotating = full
    assert bad(await ask(world, client, told["device_code"])) == (503, "temporarily_unavailable")
    world.store.rotating = None
    assert await world.is_good(good(await ask(world, client, told["device_code"]))["access_token"])
    assert world.reused == []


def wish(name: str = "TV") -> Wish:
    return Wish(OAuthClient("tv", name, (), "dynamic"), "", MCP, ("mcp",), "")


def test_a_network_that_floods_drops_its_own_and_what_is_over_is_forgotten() -> None:
    clock = Clock()
    devices = Devices(clock, most=10)
    mine, code = devices.begin(wish(), "192.0.2.1")
    flood = [devices.begin(wish(), f"2001:db8::{number}")[1] for number in range(50)]
    assert len(devices) == 10
    assert devices.of(code, "tv") is mine
    assert devices.of(flood[0], "tv") is None
    clock.go(device.LASTS_S)
    assert devices.poll(mine) == "expired"
    clock.go(device.TOLD_S)
    devices.begin(wish(), "192.0.2.1")
    assert len(devices) == 1


def test_neither_code_is_shown_where_a_request_is_written_out() -> None:
    devices = Devices(Clock())
    asked, code = devices.begin(wish(), "192.0.2.1")
    assert asked.user_code not in repr(asked)
    assert code not in repr(asked)
