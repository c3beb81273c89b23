"""Tokens that their issuer is asked about, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from hub.downstream.fetch import GuardedFetcher
from hub.identity.bearers import Bearers
from hub.identity.introspection import Introspection, asked_about
from hub.identity.issuers import Claimants, Introspecting, Issuer, Unanswered
from hub.identity.keys import token_hash
from hub.identity.oauth.resources import Resources
from hub.identity.outside import signed_by
from hub.identity.roles import Roles
from tests.identity.idp import HUB, NOW, Asked, Clock, Idp, claims, signed

TOKEN = "opaque_" + "t" * 40
SECRET = "s3cret:with/odd&signs"
ISSUER = Issuer(
    "corp",
    "https://login.corp.example",
    default_roles=("member",),
    introspecting=Introspecting("hub id", lambda: SECRET),
)


def active(**more: Any) -> tuple[int, bytes]:
    said = {"active": True, **claims(ISSUER.issuer, **more)}
    return 200, json.dumps(said).encode()


@asynccontextmanager
async def corp(answer: Any, clock: Clock | None = None) -> AsyncIterator[tuple[Introspection, Idp]]:
    async with Idp(answers={"/introspect": answer}) as idp:

        async def where() -> str:
            return f"{idp.url}/introspect"

        claimants = Claimants(ISSUER, Resources((HUB,), lambda: ("",)), Roles())
        yield Introspection(ISSUER, GuardedFetcher(local=["127.0.0.1"]), where, claimants, clock or Clock()), idp


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0)


async def test_an_active_token_is_the_person_it_names() -> None:
    async with corp(active()) as (asking, idp):
        found = await asking.verify(TOKEN)
        assert found is not None
        assert found.principal.name == "user:corp:s-1"
        assert found.principal.scopes == {"mcp"}
        (asked,) = idp.asked
    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode()) == {"token": [TOKEN], "token_type_hint": ["access_token"]}
    kind, _, pair = asked.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(pair)) == ("Basic", b"hub+id:s3cret%3Awith%2Fodd%26signs")


async def test_the_issuer_is_believed_for_half_a_minute() -> None:
    clock = Clock()
    async with corp(active(), clock) as (asking, _):
        found = await asking.verify(TOKEN)
        assert found is not None
        assert found.expires_at == NOW + 30
    async with corp(active(exp=None, iat=None), clock) as (asking, _):
        found = await asking.verify(TOKEN)
        assert found is not None
        assert found.expires_at == NOW + 30
    async with corp(active(exp=NOW - 50), clock) as (asking, _):
        found = await asking.verify(TOKEN)
        assert found is not None
        assert found.expires_at == NOW + 10


async def test_a_token_that_is_taken_back_is_gone_within_half_a_minute_and_sooner_for_who_is_busy() -> None:
    clock = Clock()
    async with corp(active(), clock) as (asking, idp):
        cached = Bearers([(asked_about(ISSUER), asking)], clock)
        digest = token_hash(TOKEN)
        assert await cached.admit(TOKEN) is not None
        idp.answers["/introspect"] = 200, b'{"active":false}'
        clock.now += 14.9
        assert cached.principal(digest, TOKEN) is not None
        clock.now += 0.1
        assert cached.principal(digest, TOKEN) is not None  # answered once more, and asked about behind it
        await until(lambda: cached._known == {})
        assert cached.principal(digest, TOKEN) is None
        assert await cached.admit(TOKEN) is None
        assert len(idp.asked) == 2


async def test_an_idle_token_that_was_taken_back_is_gone_after_half_a_minute() -> None:
    clock = Clock()
    async with corp(active(), clock) as (asking, idp):
        cached = Bearers([(asked_about(ISSUER), asking)], clock)
        assert await cached.admit(TOKEN) is not None
        idp.answers["/introspect"] = 200, b'{"active":false}'
        clock.now += 30
        assert cached.principal(token_hash(TOKEN), TOKEN) is None
        assert await cached.admit(TOKEN) is None


REFUSED: dict[str, tuple[int, bytes]] = {
    "inactive": (200, b'{"active":false}'),
    "inactive with claims": (200, json.dumps({**claims(ISSUER.issuer), "active": False}).encode()),
    "active in words": active(active="true"),
    "active as a number": active(active=1),
    "no word of active": (200, json.dumps(claims(ISSUER.issuer)).encode()),
    "nothing but active": (200, b'{"active":true}'),
    "no audience": active(aud=None),
    "another audience": active(aud="https://other.example/mcp"),
    "another issuer": active(iss="https://evil.example"),
    "no subject": active(sub=None),
    "ended": active(exp=NOW - 60),
    "an end beyond all numbers": active(exp=10**400),
    "not yet": active(nbf=NOW + 61),
    "bound to a key": active(cnf={"jkt": "x"}),
    "a DPoP token": active(token_type="DPoP"),
    "a refresh token": active(token_type="refresh_token"),
    "a type that is none": active(token_type=7),
}
UNANSWERED: dict[str, tuple[int, bytes]] = {
    "the hub's own secret is refused": (401, b'{"active":true}'),
    "forbidden": (403, b""),
    "broken": (500, json.dumps({**claims(ISSUER.issuer), "active": True}).encode()),
    "created": (201, json.dumps({**claims(ISSUER.issuer), "active": True}).encode()),
    "elsewhere": (302, b""),
    "no JSON": (200, b"active"),
    "no object": (200, b"[true]"),
    "said twice": (200, b'{"active":false,"active":true}'),
    "endless": (200, b'{"active":true,"x":"' + b"x" * 70_000 + b'"}'),
    "empty": (200, b""),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_token_of_which_the_issuer_says_this_is_refused(name: str) -> None:
    async with corp(REFUSED[name]) as (asking, idp):
        assert await asking.verify(TOKEN) is None
        assert len(idp.asked) == 1


@pytest.mark.parametrize("name", UNANSWERED)
async def test_an_answer_that_is_none_lets_nobody_in(name: str) -> None:
    """Also LiteLLM CVE-2026-12773: a 401 of whoever is asked is no principal of nobody in particular."""
    async with corp(UNANSWERED[name]) as (asking, idp):
        with pytest.raises(Unanswered, match="corp") as raised:
            await asking.verify(TOKEN)
        assert len(idp.asked) == 1
        assert TOKEN not in str(raised.value)
        assert SECRET not in str(raised.value)
        assert await Bearers([(asked_about(ISSUER), asking)], Clock()).admit(TOKEN) is None


async def test_an_issuer_without_an_iss_in_its_answer_is_still_the_one_that_was_asked() -> None:
    async with corp(active(iss=None)) as (asking, _):
        found = await asking.verify(TOKEN)
        assert found is not None
        assert found.issuer == ISSUER.issuer


async def test_an_issuer_that_is_away_keeps_known_callers_for_what_was_left_of_their_half_minute() -> None:
    clock = Clock()
    async with corp(active(), clock) as (asking, idp):
        cached = Bearers([(asked_about(ISSUER), asking)], clock)
        assert await cached.admit(TOKEN) is not None
        idp.down()
        clock.now += 29
        assert cached.principal(token_hash(TOKEN), TOKEN) is not None
        await until(lambda: not cached._behind)
        assert cached.principal(token_hash(TOKEN), TOKEN) is not None
        clock.now += 1
        assert cached.principal(token_hash(TOKEN), TOKEN) is None
        assert await cached.admit(TOKEN) is None


async def test_fifty_callers_with_one_token_ask_once() -> None:
    def answer(asked: Asked) -> tuple[int, bytes]:
        return active()

    async with corp(answer) as (asking, idp):
        idp.held = asyncio.Event()
        cached = Bearers([(asked_about(ISSUER), asking)], Clock())
        callers = [asyncio.create_task(cached.admit(TOKEN)) for _ in range(50)]
        await until(lambda: len(idp.asked) == 1)
        idp.held.set()
        found = await asyncio.gather(*callers)
        assert len({id(who) for who in found}) == 1
        assert len(idp.asked) == 1


@pytest.mark.parametrize(
    ("token", "asked"),
    [
        (TOKEN, True),
        ("a.b.c.d.e" * 4, True),
        (signed(claims(ISSUER.issuer)), True),
        (signed(claims("https://other.example")), False),
        (signed(claims(HUB)), False),
        (signed(b'{"iss":"https://login.corp.example","iss":"https://other.example"}'), False),
        ("mhk_" + "a" * 43, False),  # a key of the hub, mistyped or ended
        ("mhr_" + "a" * 43, False),  # a refresh token of the hub
        ("short", False),
        ("t" * 20_000, False),
        ("t" * 20 + "\n", False),
        ("t" * 20 + "&token=x", False),
        ("t" * 20 + "é", False),
        ("", False),
    ],
)
def test_an_issuer_is_told_no_token_that_is_somebody_elses(token: str, asked: bool) -> None:
    assert asked_about(ISSUER)(token) is asked
    assert not asked_about(replace(ISSUER, introspecting=None))(TOKEN)
    assert not signed_by(ISSUER.issuer)(TOKEN)


def test_an_issuer_that_gives_no_opaque_tokens_is_asked_about_none() -> None:
    signing = replace(ISSUER, introspecting=Introspecting("hub", lambda: SECRET, opaque=False))
    assert not asked_about(signing)(TOKEN)
    assert asked_about(signing)(signed(claims(ISSUER.issuer)))


def test_an_issuer_without_introspection_is_not_asked() -> None:
    async def where() -> str:
        return ""

    claimants = Claimants(ISSUER, Resources((HUB,), lambda: ("",)), Roles())
    with pytest.raises(ValueError, match="no introspection"):
        Introspection(replace(ISSUER, introspecting=None), GuardedFetcher(), where, claimants)
