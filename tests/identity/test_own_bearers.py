"""Tokens of the hub's own authorization server, as the resource server takes them and has them taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.call import Principal
from hub.identity.bearers import Bearers
from hub.identity.introspection import asked_about
from hub.identity.issuers import Introspecting, Issuer
from hub.identity.keys import token_hash
from hub.identity.outside import signed_by
from hub.identity.verified import Verified
from tests.identity.idp import RSA, claims, signed
from tests.identity.oauth.world import ISSUER, MCP, World


class Nobody:
    """An issuer that must not be shown a token."""

    async def verify(self, token: str) -> Verified | None:
        raise AssertionError("a token of ours was shown to another issuer")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await World(tmp_path).start()


def wired(world: World) -> Bearers:
    corp = Issuer("corp", "https://login.corp.example", introspecting=Introspecting("hub", lambda: "s"))
    cached = Bearers([(signed_by(ISSUER), world.server.verifier), (asked_about(corp), Nobody())], world.clock)

    def revoked(grant: str) -> None:
        cached.forget(family=grant)

    world.server.watch(revoked)
    return cached


def known(cached: Bearers, token: str) -> Principal | None:
    return cached.principal(token_hash(token), token)


async def test_a_login_opens_the_endpoint_it_was_for_and_no_other(world: World) -> None:
    cached = wired(world)
    token = (await world.login(await world.client(), resource=f"{ISSUER}/dev/mcp"))["access_token"]
    who = await cached.admit(token)
    assert who is not None
    assert (who.name, who.user, who.endpoints) == ("user:ann", world.ann.id, frozenset({"dev"}))
    assert known(cached, token) is who


async def test_a_grant_that_is_revoked_ends_its_tokens_at_once(world: World) -> None:
    cached = wired(world)
    client = await world.client()
    first, second = (await world.login(client))["access_token"], (await world.login(client))["access_token"]
    assert await cached.admit(first) is not None
    kept = await cached.admit(second)
    credential = _credential(cached, first)
    (ended,) = [row.id for row in world.server.grants_of(world.ann.id) if row.id in credential]
    await world.server.end([ended], "user")
    assert known(cached, first) is None
    assert await cached.admit(first) is None
    assert known(cached, second) is kept


async def test_a_user_who_is_disabled_is_nobody_at_once(world: World) -> None:
    cached = wired(world)
    token = (await world.login(await world.client()))["access_token"]
    assert await cached.admit(token) is not None
    world.people.disable(world.ann.id)
    cached.forget(user=world.ann.id)
    assert known(cached, token) is None
    assert await cached.admit(token) is None


async def test_a_user_whose_roles_change_is_somebody_else_at_the_next_request(world: World) -> None:
    cached = wired(world)
    token = (await world.login(await world.client()))["access_token"]
    before = await cached.admit(token)
    world.people.rows[world.ann.id] = replace(world.ann, roles=("auditor",))
    cached.forget(user=world.ann.id)
    after = await cached.admit(token)
    assert before is not None
    assert after is not None
    assert "mcp" in before.scopes
    assert after.scopes == frozenset()


async def test_nobody_else_signs_in_the_name_of_the_hub(world: World) -> None:
    cached = wired(world)
    token = (await world.login(await world.client()))["access_token"]
    header, _, signature = token.split(".")
    forged = signed(claims(ISSUER, aud=MCP, sub=world.ann.id, fam="g0123456789abcdef"), RSA)
    assert await cached.admit(forged) is None
    assert await cached.admit(f"{header}.{forged.split('.')[1]}.{signature}") is None


async def test_a_refresh_token_is_no_access_token_and_is_shown_to_nobody(world: World) -> None:
    cached = wired(world)
    refresh = (await world.login(await world.client()))["refresh_token"]
    assert await cached.admit(refresh) is None
    assert cached._logged_at == float("-inf")  # no verifier was asked, so none complained


def _credential(cached: Bearers, token: str) -> str:
    who = known(cached, token)
    assert who is not None
    return who.credential
