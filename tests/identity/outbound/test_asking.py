"""What a browser is sent to an issuer with: which scopes, bound to what, and how often."""

from __future__ import annotations

import pytest

from hub.identity.outbound.asking import MOST_LOGINS, MOST_PLACES, WITHIN_S, Attempts, begin, wanted
from hub.identity.outbound.challenge import Challenge, challenge
from hub.identity.outbound.errors import Exhausted, Unfit
from hub.identity.outbound.parties import MAX_SCOPES, Client, Place
from tests.identity.idp import Clock
from tests.identity.outbound.downstream import CALLBACK, Downstream, query_of, s256, server

PLACE = Place("https://s.example/mcp", ("https://as.example",), ("mcp:basic", "mcp:read", "mcp:write"))
SILENT = Place("https://s.example/mcp", ("https://as.example",))
CLIENT = Client("https://as.example", "hub", "dynamic")
DENIED = Challenge(None, ("mcp:admin",), "insufficient_scope")


# -- the scenarios of the official suite


async def test_scope_from_www_authenticate_is_what_is_asked_for() -> None:
    async with Downstream(prm={"scopes_supported": ["mcp:other"]}) as there:
        login = await there.begin('Bearer scope="mcp:basic"')
        assert there.asked(login.begun)["scope"] == "mcp:basic"


async def test_scope_from_scopes_supported_is_all_of_them_where_the_challenge_names_none() -> None:
    async with Downstream(prm={"scopes_supported": list(PLACE.scopes or ())}) as there:
        login = await there.begin("Bearer")
        assert there.asked(login.begun)["scope"] == "mcp:basic mcp:read mcp:write"


async def test_scope_omitted_when_undefined_by_challenge_and_metadata() -> None:
    async with Downstream() as there:
        login = await there.begin("Bearer")
        assert "scope" not in there.asked(login.begun)
        assert "scope" not in there.registrations[0]


async def test_scope_step_up_asks_for_the_new_scope_beside_those_held() -> None:
    async with Downstream(prm={"scopes_supported": ["mcp:profile"]}) as there:
        tokens = await there.log_in('Bearer scope="mcp:basic"')
        assert tokens.scopes == ("mcp:basic",)
        again = await there.begin('Bearer scope="mcp:write", error="insufficient_scope"', *tokens.scopes)
        assert there.asked(again.begun)["scope"] == "mcp:basic mcp:write"


async def test_scope_retry_limit_ends_after_three_logins_that_were_not_enough() -> None:
    attempts = Attempts(Clock())
    async with Downstream() as there:
        for made in range(MOST_LOGINS):
            attempts.check("ann at s", DENIED)
            await there.log_in('Bearer scope="mcp:admin", error="insufficient_scope"')
            attempts.logged_in("ann at s")
            assert len(there.forms) == made + 1
        with pytest.raises(Exhausted):
            attempts.check("ann at s", DENIED)


async def test_offline_access_scope_is_asked_for_where_the_issuer_knows_it() -> None:
    async with Downstream(
        prm={"scopes_supported": ["mcp:basic"]}, metadata={"scopes_supported": ["mcp:basic", "offline_access"]}
    ) as there:
        login = await there.begin("Bearer")
        assert there.asked(login.begun)["scope"] == "mcp:basic offline_access"
        assert there.registrations[0]["grant_types"] == ["authorization_code", "refresh_token"]


async def test_offline_access_not_supported_is_never_asked_for() -> None:
    async with Downstream(
        prm={"scopes_supported": ["mcp:basic"]}, metadata={"scopes_supported": ["mcp:basic"]}
    ) as there:
        login = await there.begin("Bearer", "mcp:basic", "offline_access")  # held at an issuer there was before
        assert there.asked(login.begun)["scope"] == "mcp:basic"


# -- scopes


def test_offline_access_is_no_scope_of_its_own_and_of_no_use_without_refresh_tokens() -> None:
    knows = frozenset({"offline_access"})
    assert wanted(SILENT, server(scopes=knows), Challenge()) == ()
    never = server(scopes=knows, grants=frozenset({"authorization_code"}))
    assert wanted(PLACE, never, Challenge()) == PLACE.scopes


def test_a_server_that_asks_for_very_many_scopes_gets_no_login() -> None:
    held = tuple(f"s{number}" for number in range(MAX_SCOPES))
    assert len(wanted(SILENT, server(), Challenge(None, ("s1",)), held)) == MAX_SCOPES
    with pytest.raises(Unfit, match="scopes"):
        wanted(SILENT, server(), Challenge(None, ("new",)), held)


# -- the request


def test_a_login_is_bound_by_pkce_state_and_resource_that_never_come_twice() -> None:
    at = server(authorization_endpoint="https://as.example/a?tenant=7", is_naming=True)
    first, second = (begin(at, CLIENT, PLACE, ("a", "b"), CALLBACK, "k" * 22) for _ in range(2))
    assert first.location.startswith("https://as.example/a?tenant=7&")
    assert query_of(first.location) == {
        "tenant": "7",
        "response_type": "code",
        "client_id": "hub",
        "redirect_uri": CALLBACK,
        "state": first.state,
        "code_challenge": s256(first.verifier),
        "code_challenge_method": "S256",
        "resource": PLACE.resource,
        "scope": "a b",
    }
    assert first.state.partition(".")[0] == "k" * 22
    assert (first.issuer, first.is_naming, first.scopes) == (at.issuer, True, ("a", "b"))
    for name in ("state", "verifier"):
        assert len(getattr(first, name)) >= 43
        assert getattr(first, name) != getattr(second, name)
        assert getattr(first, name) not in repr(first)


def test_a_client_of_one_issuer_is_shown_to_no_other() -> None:
    with pytest.raises(ValueError, match="another"):
        begin(server(issuer="https://other.example"), CLIENT, PLACE, (), CALLBACK)


@pytest.mark.parametrize("said", [{"authorization_endpoint": None}, {"is_s256": False}])
def test_no_login_is_begun_where_there_is_none_or_a_stolen_code_would_do(said: dict[str, object]) -> None:
    with pytest.raises(Unfit):
        begin(server(**said), CLIENT, PLACE, (), CALLBACK)


# -- attempts


def test_a_token_that_has_every_scope_and_is_not_enough_is_not_asked_for_again() -> None:
    attempts = Attempts(Clock())
    with pytest.raises(Exhausted, match="every scope"):
        attempts.check("k", DENIED, ("mcp:basic", "mcp:admin"))
    attempts.check("k", DENIED, ("mcp:basic",))
    attempts.check("k", challenge('Bearer error="invalid_token", scope="mcp:admin"'), ("mcp:admin",))


def test_attempts_are_forgotten_when_the_server_serves_and_after_an_hour() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(MOST_LOGINS):
        attempts.logged_in("k")
    attempts.check("other", DENIED)
    with pytest.raises(Exhausted):
        attempts.check("k", DENIED)
    clock.now += WITHIN_S
    attempts.check("k", DENIED)
    for _ in range(MOST_LOGINS):
        attempts.logged_in("k")
    attempts.served("k")
    attempts.check("k", DENIED)


def test_attempts_at_very_many_places_are_not_all_remembered() -> None:
    attempts = Attempts(Clock())
    for place in range(MOST_PLACES + 1):
        for _ in range(MOST_LOGINS):
            attempts.logged_in(place)
    attempts.check(0, DENIED)
    with pytest.raises(Exhausted):
        attempts.check(MOST_PLACES, DENIED)
