"""The keys of an issuer: which are taken, how often it is asked, and what holds while it is away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc.jwk import ECKey, OctKey, OKPKey
from joserfc.util import int_to_base64

from hub.core.ports import Fetched, FetchRefused
from hub.downstream.fetch import GuardedFetcher
from hub.identity.bearers import Bearers
from hub.identity.issuers import ALGORITHMS, DEFAULT_ALGORITHMS, Claimants, Issuer, Unanswered
from hub.identity.jwks import Jwks, Metadata, keys_of, metadata_urls, strict
from hub.identity.oauth.resources import Resources
from hub.identity.outside import Outside, signed_by
from hub.identity.roles import Roles
from tests.identity.idp import EC, ED, HUB, OTHER_RSA, RSA, Clock, Idp, claims, public, signed

ISSUER = Issuer("corp", "https://login.corp.example", default_roles=("member",))
WITHIN_S = 5.0


@asynccontextmanager
async def keys(clock: Clock, **published: Any) -> AsyncIterator[tuple[Jwks, Idp]]:
    async with Idp() as idp:
        idp.publish(**published)

        async def where() -> str:
            return f"{idp.url}/jwks"

        jwks = Jwks(ISSUER, GuardedFetcher(local=["127.0.0.1"], total_s=2.0), where, clock)
        yield jwks, idp
        await jwks.aclose()


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not claim():
            await asyncio.sleep(0)


async def settled(jwks: Jwks) -> None:
    await until(lambda: jwks._fetching is None)


def rsa(bits: int) -> dict[str, Any]:
    numbers = generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "kid": "k", "n": int_to_base64(numbers.n), "e": int_to_base64(numbers.e)}


# --- which keys are taken ---


@pytest.mark.parametrize(
    ("jwk", "taken"),
    [
        (public(RSA, "k", use="sig"), {"RS256", "PS256"}),
        (public(RSA, "k", alg="PS256"), {"PS256"}),
        (public(RSA, "k", key_ops=["verify"]), {"RS256", "PS256"}),
        (public(RSA, None), {"RS256", "PS256"}),
        (public(EC, "k"), {"ES256"}),
        (public(ED, "k"), {"EdDSA"}),
        ({**RSA.as_dict(private=True), "kid": "k"}, {"RS256", "PS256"}),  # the private half is not looked at
        (public(RSA, "k", x5c=[7], x5u={}, x5t=False), {"RS256", "PS256"}),
        (public(RSA, "k", use="enc"), None),
        (public(RSA, "k", key_ops=["encrypt"]), None),
        (public(RSA, "k", key_ops="verify"), None),
        (public(RSA, "k", alg="HS256"), None),
        (public(RSA, "k", alg="none"), None),
        (public(RSA, "k", alg=["RS256"]), None),
        (public(RSA, "k", alg="RS512"), None),  # not in the issuer's list
        (public(RSA, "k", kty="EC"), None),
        (public(RSA, "k", kty="oct", k="AAAA"), None),
        (OctKey.generate_key(256).as_dict(private=True), None),
        (public(RSA, "k", n="AQAB"), None),
        (public(RSA, "k", n="A" * 4000), None),
        (public(RSA, "k", n=7), None),
        (public(RSA, "k", n="!"), None),
        (public(RSA, "k", e="AA"), None),
        (public(RSA, "k", e="AQ"), None),
        (public(RSA, "k", e="_" * 40), None),
        (public(RSA, 7), None),  # type: ignore[arg-type]
        (public(RSA, "k" * 256), None),
        (rsa(1024), None),
        (rsa(2047), None),
        (public(ECKey.generate_key("secp256k1"), "k"), None),
        (public(ECKey.generate_key("P-384"), "k"), None),
        (public(EC, "k", x="AAAA"), None),
        (public(EC, "k", y=public(EC, "k")["x"]), None),  # a point that is not on the curve
        (public(OKPKey.generate_key("X25519"), "k"), None),
        (public(OKPKey.generate_key("Ed448"), "k"), None),
        (public(ED, "k", x="AAAA"), None),
        ({"kid": "k"}, None),
        ({}, None),
    ],
)
def test_only_public_keys_for_signatures_are_taken(jwk: dict[str, Any], taken: set[str] | None) -> None:
    found = keys_of({"keys": [jwk, public(OTHER_RSA, "good")]}, DEFAULT_ALGORITHMS)
    assert found[-1].kid == "good"  # what cannot be used spoils nothing else
    assert [set(key.algorithms) for key in found[:-1]] == ([] if taken is None else [taken])
    assert not any(key.public.is_private for key in found)


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": {}}, {"keys": None}, {"keys": "x"}, {"keys": [public(EC, str(n)) for n in range(101)]}],
)
def test_a_set_that_is_none_or_too_large_is_refused_whole(document: dict[str, Any]) -> None:
    with pytest.raises(Unanswered, match="100 keys"):
        keys_of(document, DEFAULT_ALGORITHMS)


def test_no_algorithm_with_a_shared_secret_is_known_at_all() -> None:
    assert not [name for name in ALGORITHMS if name.startswith(("HS", "none", "dir"))]


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b'[{"a":{"b":1,"b":1}}]', b"[" * 100_000, b"NaN", b"\xff", b""])
def test_json_with_two_readings_or_none_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        strict(text)


async def test_a_key_without_a_name_is_found_only_where_one_fits() -> None:
    clock = Clock()
    async with keys(clock, a=RSA, b=EC) as (jwks, idp):
        assert await jwks.key(None, "ES256") is not None
        assert await jwks.key("a", "ES256") is None
        idp.publish(a=RSA, b=OTHER_RSA)
        clock.now += 31
        assert await jwks.key("b", "RS256") is not None
        assert await jwks.key(None, "RS256") is None


async def test_of_two_keys_with_one_name_none_is_taken() -> None:
    async with keys(Clock()) as (jwks, idp):
        idp.answers["/jwks"] = 200, json.dumps({"keys": [public(RSA, "a"), public(OTHER_RSA, "a")]}).encode()
        assert await jwks.key("a", "RS256") is None


# --- how often the issuer is asked ---


async def test_callers_who_come_together_cause_one_fetch() -> None:
    async with keys(Clock(), a=RSA) as (jwks, idp):
        idp.held = asyncio.Event()
        callers = [asyncio.create_task(jwks.key("a", "RS256")) for _ in range(50)]
        await until(lambda: idp.count("/jwks") == 1)
        callers[0].cancel()  # who came first goes away: the others still get their key
        idp.held.set()
        found = await asyncio.wait_for(asyncio.gather(*callers[1:]), WITHIN_S)
        assert None not in found
        assert idp.count("/jwks") == 1


async def test_a_flood_of_unknown_keys_is_one_fetch_in_half_a_minute() -> None:
    clock = Clock()
    async with keys(clock, a=RSA) as (jwks, idp):
        assert await jwks.key("a", "RS256") is not None
        for n in range(600):
            clock.now += 0.1
            found = await asyncio.gather(*(jwks.key(f"unknown-{n}-{each}", "RS256") for each in range(5)))
            assert found == [None] * 5
            assert await jwks.key("a", "RS256") is not None
        assert idp.count("/jwks") <= 1 + 60 / 30


async def test_a_flood_costs_no_more_while_the_issuer_fails() -> None:
    clock = Clock()
    async with keys(clock) as (jwks, idp):
        idp.answers["/jwks"] = 500, b""
        for n in range(100):
            clock.now += 0.1
            with pytest.raises(Unanswered, match=r"corp .* status 500"):
                await jwks.key(f"unknown-{n}", "RS256")
        assert idp.count("/jwks") <= 1 + 10 / 5


async def test_a_new_key_is_found_when_it_signs_and_the_old_one_goes_when_it_is_withdrawn() -> None:
    clock = Clock()
    async with keys(clock, old=RSA) as (jwks, idp):
        assert await jwks.key("old", "RS256") is not None
        idp.publish(old=RSA, new=EC)
        clock.now += 31
        assert await jwks.key("new", "ES256") is not None
        assert await jwks.key("old", "RS256") is not None
        idp.publish(new=EC)
        clock.now += 600
        await jwks.key("new", "ES256")  # nobody waits for this look
        await settled(jwks)
        assert await jwks.key("old", "RS256") is None
        assert idp.count("/jwks") == 3


async def test_a_name_that_moves_to_another_key_means_the_other_key() -> None:
    clock = Clock()
    async with keys(clock, a=RSA) as (jwks, idp):
        assert await jwks.key("a", "RS256") is not None
        idp.publish(a=OTHER_RSA)
        clock.now += 601
        await jwks.key("a", "RS256")
        await settled(jwks)
        found = await jwks.key("a", "RS256")
        assert found is not None
        assert found.public.as_dict()["n"] == OTHER_RSA.as_dict()["n"]


# --- while the issuer is away ---


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (401, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys":7}'),
        (200, b'{"keys":[],"keys":[]}'),
        (200, b'{"keys":[' + b" " * 70_000 + b"]}"),
        (200, b"[" * 60_000),
    ],
    ids=lambda answer: repr(answer)[:24],
)
async def test_an_answer_that_is_none_changes_nothing(answer: tuple[int, bytes]) -> None:
    clock = Clock()
    async with keys(clock, a=RSA) as (jwks, idp):
        assert await jwks.key("a", "RS256") is not None
        idp.answers["/jwks"] = answer
        for _ in range(20):
            clock.now += 600
            assert await jwks.key("a", "RS256") is not None
            await settled(jwks)
        assert idp.count("/jwks") == 21


async def test_tokens_of_an_issuer_that_is_down_are_good_for_a_day_and_new_keys_are_not() -> None:
    clock = Clock()
    async with keys(clock, a=RSA) as (jwks, idp):
        verifier = Outside(ISSUER, jwks, Claimants(ISSUER, Resources((HUB,), lambda: ("",)), Roles()), clock)
        cached = Bearers([(signed_by(ISSUER.issuer), verifier)], clock)
        first = await cached.admit(signed(claims(ISSUER.issuer), kid="a"))
        assert first is not None
        idp.down()
        began = clock.now
        for hours in (1, 6, 12, 23.9):
            clock.now = began + hours * 3600
            later = signed(claims(ISSUER.issuer, exp=clock.now + 600, iat=clock.now), kid="a")
            assert await cached.admit(later) is not None
            await settled(jwks)
            assert await cached.admit(signed(claims(ISSUER.issuer, exp=clock.now + 600), EC, "ES256", kid="b")) is None
        clock.now = began + 86_400
        assert await cached.admit(signed(claims(ISSUER.issuer, exp=clock.now + 600), kid="a")) is None
        await cached.aclose()


async def test_an_issuer_that_was_away_at_first_is_asked_again_soon() -> None:
    clock = Clock()
    async with keys(clock) as (jwks, idp):
        idp.answers["/jwks"] = 503, b""
        with pytest.raises(Unanswered):
            await jwks.key("a", "RS256")
        idp.publish(a=RSA)
        clock.now += 5
        assert await jwks.key("a", "RS256") is not None


async def test_what_an_issuer_answered_is_quoted_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async with keys(Clock()) as (jwks, idp):
        idp.answers["/jwks"] = 200, b'{"error":"c4nary"}'
        with caplog.at_level(logging.DEBUG, "hub"), pytest.raises(Unanswered) as raised:
            await jwks.key("a", "RS256")
        assert "c4nary" not in caplog.text + str(raised.value)
        assert "corp" in caplog.text


async def test_closing_ends_a_fetch_under_way() -> None:
    async with keys(Clock(), a=RSA) as (jwks, idp):
        idp.held = asyncio.Event()
        caller = asyncio.create_task(jwks.key("a", "RS256"))
        await until(lambda: idp.count("/jwks") == 1)
        await asyncio.wait_for(jwks.aclose(), WITHIN_S)
        assert jwks._fetching is None
        with pytest.raises(Unanswered):
            await caller


async def test_a_fetcher_that_breaks_is_an_issuer_that_does_not_answer() -> None:
    class Broken:
        async def get(self, url: str, *, accept: str = "", max_bytes: int = 0) -> Fetched:
            raise ZeroDivisionError

        async def post(self, url: str, body: bytes, **_: Any) -> Fetched:
            raise ZeroDivisionError

    async def where() -> str:
        return "https://login.corp.example/jwks"

    with pytest.raises(Unanswered, match="ZeroDivisionError"):
        await Jwks(ISSUER, Broken(), where, Clock()).key("a", "RS256")


# --- metadata ---


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://a.example",
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ],
        ),
        (
            "https://a.example/tenant/v2",
            [
                "https://a.example/.well-known/oauth-authorization-server/tenant/v2",
                "https://a.example/.well-known/openid-configuration/tenant/v2",
                "https://a.example/tenant/v2/.well-known/openid-configuration",
            ],
        ),
        (
            "https://a.example/",
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_metadata_stands_where_the_specifications_say(issuer: str, urls: list[str]) -> None:
    assert list(metadata_urls(issuer)) == urls


@asynccontextmanager
async def metadata(clock: Clock, path: str, document: Callable[[str], Any]) -> AsyncIterator[tuple[Metadata, Idp]]:
    async with Idp() as idp:
        issuer = f"{idp.url}/t"
        idp.answers[path] = 200, json.dumps(document(issuer)).encode()
        yield Metadata(Issuer("corp", issuer), GuardedFetcher(local=["127.0.0.1"]), clock), idp


OIDC = "/t/.well-known/openid-configuration"


async def test_the_address_of_the_keys_is_discovered_once() -> None:
    async with metadata(Clock(), OIDC, lambda issuer: {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}) as (found, idp):
        addresses = await asyncio.gather(*(found.address("jwks_uri") for _ in range(20)))
        assert set(addresses) == {f"{idp.url}/t/keys"}
        assert [asked.path for asked in idp.asked] == [
            "/.well-known/oauth-authorization-server/t",
            "/.well-known/openid-configuration/t",
            OIDC,
        ]


@pytest.mark.parametrize("named", ["https://evil.example", None, ["x"], "+/"])
async def test_metadata_of_another_issuer_is_refused(named: Any) -> None:
    def document(issuer: str) -> Any:
        return {"issuer": issuer + "/" if named == "+/" else named, "jwks_uri": "https://evil.example/keys"}

    async with metadata(Clock(), "/.well-known/oauth-authorization-server/t", document) as (found, idp):
        with pytest.raises(Unanswered, match="another issuer's"):
            await found.address("jwks_uri")
        assert len(idp.asked) == 1  # it is not asked elsewhere until something fits


@pytest.mark.parametrize("address", [None, 7, "", "file:///etc/passwd", "/keys", "https://x/" + "x" * 3000])
async def test_an_address_that_is_none_is_not_followed(address: Any) -> None:
    async with metadata(Clock(), OIDC, lambda issuer: {"issuer": issuer, "jwks_uri": address}) as (found, _):
        with pytest.raises(Unanswered, match="no usable jwks_uri"):
            await found.address("jwks_uri")


async def test_discovered_addresses_hold_while_the_issuer_is_away() -> None:
    clock = Clock()
    async with metadata(clock, OIDC, lambda issuer: {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}) as (found, idp):
        first = await found.address("jwks_uri")
        idp.answers.clear()
        for _ in range(10):
            clock.now += 3601
            assert await found.address("jwks_uri") == first
        asked = len(idp.asked)
        for _ in range(100):
            clock.now += 0.01
            await found.address("jwks_uri")
        assert len(idp.asked) == asked  # its silence is not asked about at every turn


async def test_an_issuer_may_not_lead_into_the_own_network() -> None:
    async with Idp() as idp:
        issuer = Issuer("corp", idp.url)
        fetcher = GuardedFetcher(local=["127.0.0.1"])
        said = {"issuer": idp.url, "jwks_uri": "http://169.254.169.254/latest/meta-data"}
        idp.answers["/.well-known/openid-configuration"] = 200, json.dumps(said).encode()
        found = Metadata(issuer, fetcher, Clock())
        jwks = Jwks(issuer, fetcher, lambda: found.address("jwks_uri"), Clock())
        with pytest.raises(Unanswered, match="not reached"):
            await jwks.key("a", "RS256")
        with pytest.raises(FetchRefused):
            await fetcher.get(said["jwks_uri"])
