from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.core.ports import FetchRefused
from hub.identity.oauth.asked import Unfit
from hub.identity.oauth.documents import host_of
from tests.identity.oauth.world import CALLBACK, LOOPBACK, World, good

ID = "https://client.example.com/mcp/client.json"


def document(**more: Any) -> dict[str, Any]:
    return {"client_id": ID, "client_name": "Doc", "redirect_uris": [CALLBACK, LOOPBACK], **more}


async def test_an_address_is_a_client_once_its_document_says_so(world: World) -> None:
    world.web.put(ID, document(token_endpoint_auth_method="none"))
    client = (await world.wish(ID)).client
    assert (client.id, client.name, client.host, client.origin) == (ID, "Doc", "client.example.com", "cimd")
    made = await world.login(ID)
    good(await world.refresh(ID, made["refresh_token"]))
    assert world.web.asked == [ID]


@pytest.mark.parametrize(
    "id",
    [
        "https://client.example.com",
        "https://client.example.com/",
        "http://client.example.com/c",
        "https://u@client.example.com/c",
        "https://u:p@client.example.com/c",
        "https://client.example.com/c#f",
        "https://client.example.com/a/../c",
        "https:/c/d",
        "https://client.example.com/./c",
        "https://client.example.com/%2e%2e/c",
        "https://client.example.com/c\\d",
        "https:c",
        "https://client.example.com/c d",
        "https://client.example.com/c\x00",
        "https://client.example.com/\u0441",
        "https://",
        "https://client.example.com:0/c",
        "https://client.example.com:99999/c",
        "https://client.example.com/%zz",
        "https:///c",
        "https://[::1]/c",
        "https://-x/c",
        "https://x./c",
        "https://client.example.com/" + "c" * 512,
    ],
)
async def test_an_address_that_can_be_read_in_two_ways_is_not_even_asked(world: World, id: str) -> None:
    assert host_of(id) is None
    with pytest.raises(Unfit):
        await world.wish(id)
    assert world.web.asked == []


@pytest.mark.parametrize(
    "page",
    [
        document(client_id=ID + "/"),
        document(client_id=ID.replace("client.e", "CLIENT.e")),
        document(client_id=[ID]),
        {"redirect_uris": [CALLBACK]},
        document(client_secret="x"),
        document(client_secret_expires_at=0),
        document(token_endpoint_auth_method="client_secret_post"),
        document(token_endpoint_auth_method="private_key_jwt"),
        document(redirect_uris=[]),
        document(redirect_uris=CALLBACK),
        document(redirect_uris=["javascript:alert(1)", "http://evil.example.com"]),
        document(redirect_uris=[CALLBACK] * 33),
        document(grant_types=["implicit"]),
        document(response_types=["token"]),
        document(client_name=7),
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}" + b" " * 65_536,
    ],
)
async def test_a_document_that_is_not_in_order_makes_no_client(world: World, page: object) -> None:
    world.web.put(ID, page)
    with pytest.raises(Unfit) as told:
        await world.wish(ID)
    assert ID in str(told.value)


@pytest.mark.parametrize("status", [201, 301, 302, 404, 500])
async def test_only_a_plain_200_counts(world: World, status: int) -> None:
    world.web.put(ID, document(), status=status)
    with pytest.raises(Unfit):
        await world.wish(ID)


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("text/html", False),
        ("", False),
        ("application/json; charset=utf-8", True),
        ("application/cimd+json", True),
        ("text/json", False),
    ],
)
async def test_the_document_is_json_by_its_type(world: World, kind: str, fits: bool) -> None:
    world.web.put(ID, document(), {"content-type": kind})
    if fits:
        await world.wish(ID)
    else:
        with pytest.raises(Unfit):
            await world.wish(ID)


async def test_check_15_an_address_that_the_fetcher_refuses_makes_no_client(world: World) -> None:
    world.web.pages[ID] = FetchRefused("the address is in the hub's own network")
    with pytest.raises(Unfit, match="own network"):
        await world.wish(ID)


async def test_a_redirect_uri_that_is_not_taken_does_not_spoil_the_others(world: World) -> None:
    world.web.put(ID, document(redirect_uris=["strange://x", CALLBACK]))
    assert (await world.wish(ID)).client.redirect_uris == (CALLBACK,)


@pytest.mark.parametrize(
    ("header", "kept_s"),
    [
        ("", 60),
        ("max-age=5", 60),
        ("public, max-age=600", 600),
        ("max-age=999999999", 86_400),
        ("no-store, max-age=600", 60),
        ("max-age=abc", 60),
        ("s-maxage=600", 60),
        ('max-age="600"', 600),
    ],
)
async def test_a_document_is_kept_as_long_as_it_says_within_bounds(world: World, header: str, kept_s: int) -> None:
    world.web.put(ID, document(), {"cache-control": header} if header else {})
    await world.wish(ID)
    world.clock.go(kept_s - 1)
    await world.wish(ID)
    assert len(world.web.asked) == 1
    world.clock.go(1)
    await world.wish(ID)
    assert len(world.web.asked) == 2


async def test_what_failed_is_not_tried_again_for_a_minute(world: World) -> None:
    for _ in range(3):
        with pytest.raises(Unfit):
            await world.wish(ID)
    assert len(world.web.asked) == 1
    world.clock.go(60)
    world.web.put(ID, document())
    await world.wish(ID)


async def test_a_changed_document_counts_from_its_next_reading_on(world: World) -> None:
    world.web.put(ID, document())
    await world.wish(ID)
    world.clock.go(60)
    world.web.put(ID, document(redirect_uris=[LOOPBACK]))
    with pytest.raises(Unfit):
        await world.wish(ID)


async def test_many_at_once_ask_once(world: World) -> None:
    world.web.put(ID, document())
    gate, inside = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        inside.set()
        await gate.wait()

    world.web.before = wait
    asking = [asyncio.create_task(world.wish(ID)) for _ in range(20)]
    await asyncio.wait_for(inside.wait(), 5)
    asking[0].cancel()  # the one that asks: another takes its place
    gate.set()
    done = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    assert sum(isinstance(one, BaseException) for one in done) == 1
    assert len(world.web.asked) <= 2


async def test_strangers_cannot_make_the_hub_ask_without_end(world: World) -> None:
    gate = asyncio.Event()
    world.web.before = gate.wait
    told: list[str] = []

    async def ask(number: int) -> None:
        with pytest.raises(Unfit) as refused:
            await world.wish(f"https://x{number}.example.com/c")
        told.append(str(refused.value))
        if len(told) == 36:  # everybody else waits at the gate
            gate.set()

    await asyncio.wait_for(asyncio.gather(*(ask(number) for number in range(100))), 5)
    assert all("too many" in words for words in told[:36])
    assert len(world.web.asked) == 64
    world.web.put(ID, document())
    await world.wish(ID)


async def test_the_cache_has_bounds_and_forgets_the_longest_unused(world: World) -> None:
    for number in range(101):
        id = f"https://c{number}.example.com/c"
        world.web.put(id, document(client_id=id), {"cache-control": "max-age=3600"})
        await world.wish(id)
        if number == 50:
            await world.wish("https://c0.example.com/c")
    await world.wish("https://c0.example.com/c")
    assert len(world.web.asked) == 101
    await world.wish("https://c1.example.com/c")
    assert len(world.web.asked) == 102


async def test_nobody_is_logged_out_while_the_clients_site_is_down(world: World) -> None:
    world.web.put(ID, document())
    made = await world.login(ID)
    world.web.pages.clear()
    world.clock.go(3600)
    await world.start()
    good(await world.refresh(ID, made["refresh_token"]))


async def test_a_document_without_refresh_tokens_gets_none(world: World) -> None:
    world.web.put(ID, document(grant_types=["authorization_code"]))
    assert "refresh_token" not in await world.login(ID)


async def test_an_address_that_nobody_asked_about_has_no_tokens(world: World) -> None:
    reply = await world.refresh("https://other.example.com/c", "x")
    assert (reply.status, world.web.asked) == (400, [])
