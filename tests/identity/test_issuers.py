"""Tokens of a company's issuer: what is taken of them, and everything that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from hub.core.accounts import UserRow
from hub.core.call import Grants
from hub.downstream.fetch import GuardedFetcher
from hub.identity import outside
from hub.identity.bearers import Bearers
from hub.identity.issuers import Claimants, Introspecting, Issuer
from hub.identity.jwks import Jwks
from hub.identity.oauth.resources import Resources
from hub.identity.outside import Outside, signed_by
from hub.identity.roles import Role, Roles
from hub.identity.verified import Verified
from tests.identity.idp import EC, ED, HUB, NOW, OTHER_RSA, RSA, Clock, Idp, claims, jws_part, public, sealed, signed

ISSUER = "https://login.corp.example/tenant"
CORP = Issuer(
    "corp",
    ISSUER,
    audiences=("api://hub",),
    name_claim="preferred_username",
    roles_claim="realm_access.roles",
    roles={"hub-admins": ("admin",), "staff": ("member",)},
    groups_claim="groups",
    attributes={"department": "dept"},
    default_roles=("member",),
)
RESOURCES = Resources((HUB,), lambda: ("", "team"))
Users = Callable[[str, str], UserRow | None]


@asynccontextmanager
async def corp(
    issuer: Issuer = CORP, users: Users = lambda issuer, subject: None, clock: Clock | None = None, **keys: Any
) -> AsyncIterator[tuple[Outside, Idp]]:
    clock = clock or Clock()
    async with Idp() as idp:
        idp.publish(**(keys or {"k1": RSA}))

        async def where() -> str:
            return f"{idp.url}/jwks"

        jwks = Jwks(issuer, GuardedFetcher(local=["127.0.0.1"]), where, clock)
        yield Outside(issuer, jwks, Claimants(issuer, RESOURCES, Roles(), users), clock), idp
        await jwks.aclose()


async def read(token: str, issuer: Issuer = CORP, **more: Any) -> Verified | None:
    async with corp(issuer, **more) as (outside, _):
        return await outside.verify(token)


def good(**more: Any) -> dict[str, Any]:
    return claims(ISSUER, **more)


# --- what is taken ---


async def test_a_good_token_is_the_person_it_names() -> None:
    token = signed(
        good(preferred_username="ann", dept="sales", groups=["emea"], realm_access={"roles": ["hub-admins"]})
    )
    found = await read(token)
    assert found is not None
    who = found.principal
    assert (who.name, who.user, who.client, who.strength) == ("user:corp:ann", None, "ide", "sso")
    assert who.roles == {"admin", "member"}
    assert who.groups == {"emea"}
    assert who.attributes == {"department": "sales"}
    assert who.scopes == {"mcp"}
    assert (who.grants, who.endpoints) == (Grants(servers=frozenset({"*"})), frozenset({""}))
    assert (found.issuer, found.subject, found.client, found.jti) == (ISSUER, "s-1", "ide", "j-1")
    assert found.expires_at == NOW + 3660


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")],
    ids=["RS256", "PS256", "ES256", "EdDSA"],
)
async def test_each_algorithm_of_the_list_is_verified(key: Any, algorithm: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await read(signed(good(), key, algorithm), k1=key) is not None
        assert await read(signed(good(sub="else"), key, algorithm)[:-8] + "AAAAAAAA", k1=key) is None


async def test_a_user_of_ours_is_itself_and_has_the_roles_we_gave() -> None:
    row = UserRow("local", "u0123456789abcdef", "ann", ("auditor",), (), NOW, issuer=ISSUER, subject="s-1")
    token = signed(good(aud="api://hub", scope="mcp audit:read", realm_access={"roles": ["hub-admins"]}))
    found = await read(token, users=_only(row))
    assert found is not None
    assert (found.principal.name, found.principal.user) == ("user:ann", row.id)
    assert found.principal.roles == {"auditor"}
    assert found.principal.scopes == {"audit:read"}


async def test_a_disabled_user_is_nobody_whatever_the_issuer_says() -> None:
    row = UserRow("local", "u1", "ann", ("admin",), (), NOW, issuer=ISSUER, subject="s-1", disabled_at=NOW)
    assert await read(signed(good()), users=_only(row)) is None


async def test_a_subject_is_the_issuers_own_and_no_user_of_another_name() -> None:
    found = await read(signed(good(sub="ann", preferred_username="ann")))
    assert found is not None
    assert found.principal.name == "user:corp:ann"
    assert found.principal.user is None


async def test_one_person_with_one_client_and_reach_is_one_credential_and_no_two_are() -> None:
    async with corp() as (verifier, _):
        seen = {}
        table: dict[str, dict[str, Any]] = {
            "first": {},
            "renewed": {"jti": "j-2", "iat": int(NOW) + 1, "exp": int(NOW) + 4000},
            "other person": {"sub": "s-2"},
            "other client": {"client_id": "else"},
            "less": {"scope": "mcp:server:a"},
            "elsewhere": {"aud": f"{HUB}/team/mcp"},
            "everywhere": {"aud": "api://hub"},
        }
        for label, more in table.items():
            found = await verifier.verify(signed(good(**more)))
            assert found is not None
            seen[label] = found.principal
    assert seen["first"] == seen["renewed"]
    assert len({who.credential for who in seen.values()}) == len(seen) - 1


@pytest.mark.parametrize(
    ("more", "issuer", "scopes", "servers"),
    [
        ({"scope": "openid mcp"}, {}, {"mcp"}, {"*"}),
        ({"scope": None, "scp": "mcp"}, {}, {"mcp"}, {"*"}),
        ({"scope": None, "scp": ["mcp:server:a", "mcp:server:b"]}, {}, {"mcp"}, {"a", "b"}),
        ({"scope": "api://hub/mcp mcp:server:a"}, {"scope_prefix": "api://hub/"}, {"mcp"}, {"*"}),
        ({"scope": "other/mcp"}, {"scope_prefix": "api://hub/"}, set(), None),
        ({"scope": "api.read"}, {"scopes": {"api.read": "mcp:server:a"}}, {"mcp"}, {"a"}),
        ({"scope": "mcp api.write"}, {"scopes": {"api.read": "mcp"}}, set(), None),  # those of the mapping alone
        ({"scope": "api.read"}, {"scopes": {"api.read": "mcp"}, "scope_prefix": "hub/"}, {"mcp"}, {"*"}),
        ({"scope": "hub/mcp"}, {"scopes": {"api.read": "mcp:server:a"}, "scope_prefix": "hub/"}, {"mcp"}, {"*"}),
        ({"scope": "mcp admin audit:read"}, {}, {"mcp"}, {"*"}),  # of an endpoint's token, for a member
        ({"scope": ""}, {"default_scopes": ("mcp",)}, set(), None),
        ({"scope": None}, {}, set(), None),
        ({"scope": None}, {"default_scopes": ("mcp",)}, {"mcp"}, {"*"}),
    ],
)
async def test_scopes_of_the_issuer_are_scopes_of_the_hub(
    more: dict[str, Any], issuer: dict[str, Any], scopes: set[str], servers: set[str] | None
) -> None:
    found = await read(signed(good(**more)), replace(CORP, **issuer))
    assert found is not None
    assert found.principal.scopes == scopes
    assert found.principal.grants.servers == (None if servers is None else frozenset(servers))


# --- for whom a token is ---


@pytest.mark.parametrize(
    ("aud", "endpoints", "scopes"),
    [
        (f"{HUB}/mcp", frozenset({""}), {"mcp"}),
        (f"{HUB}/team/mcp", frozenset({"team"}), {"mcp"}),
        ([f"{HUB}/mcp", f"{HUB}/team/mcp"], frozenset({"", "team"}), {"mcp"}),
        (["https://other.example", f"{HUB}/team/mcp"], frozenset({"team"}), {"mcp"}),
        (f"{HUB}/api/v1", frozenset(), {"admin", "audit:read"}),
        ("api://hub", None, {"mcp", "admin", "audit:read"}),
    ],
)
async def test_a_token_for_one_address_is_good_for_nothing_at_its_siblings(
    aud: Any, endpoints: frozenset[str] | None, scopes: set[str]
) -> None:
    issuer = replace(CORP, default_roles=("admin",))
    found = await read(signed(good(aud=aud, scope="mcp admin audit:read")), issuer)
    assert found is not None
    assert found.principal.endpoints == endpoints
    assert found.principal.scopes == scopes


AUDIENCES: list[Any] = [
    None,
    "",
    [],
    {},
    7,
    True,
    HUB,
    f"{HUB}/",
    f"{HUB}/gone/mcp",
    "https://other.example/mcp",
    "api://hub/",
    "API://HUB",
    "api",
    [["api://hub"]],
    ["api://hub", 7],
    ["x"] * 100_000,
    "*",
]


@pytest.mark.parametrize("aud", AUDIENCES, ids=lambda aud: repr(aud)[:40])
async def test_a_token_for_somebody_else_is_refused(aud: Any) -> None:
    """Also CVE-2025-69196: a token for the base address, or for another resource, opened them all."""
    assert await read(signed(good(aud=aud))) is None


# --- claims and headers that make a token none ---

CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://login.evil.example"},
    "the issuer with a slash": {"iss": ISSUER + "/"},
    "the issuer in capitals": {"iss": ISSUER.upper()},
    "two issuers": {"iss": [ISSUER]},
    "no issuer": {"iss": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a number for a subject": {"sub": 7},
    "a subject with a line end": {"sub": "ann\nadmin"},
    "a subject that turns the line round": {"sub": "ann\u202enimda"},
    "an endless subject": {"sub": "a" * 256},
    "no end": {"exp": None},
    "ended": {"exp": NOW - 60},
    "ended long ago": {"exp": 1},
    "an end in words": {"exp": str(int(NOW) + 3600)},
    "an end that is true": {"exp": True},
    "an end beyond a day": {"exp": NOW + 86_400 + 61},
    "an end beyond all days": {"exp": 10**300},
    "not yet": {"nbf": NOW + 61},
    "a start in words": {"nbf": "0"},
    "made tomorrow": {"iat": NOW + 61},
    "bound to a key": {"cnf": {"jkt": "x"}},
    "an ID token": {"at_hash": "x"},
    "an ID token of Keycloak": {"typ": "ID"},
    "a refresh token of Keycloak": {"typ": "Refresh"},
    "an ID token of Cognito": {"token_use": "id"},
    "a logout token": {"events": {}},
    "a scope that is an object": {"scope": {"mcp": True}},
    "a list of scopes with a number in it": {"scope": ["mcp", 7]},
    "groups that stand elsewhere": {"_claim_names": {"groups": "src1"}},
    "more groups than can be read": {"groups": ["g"] * 501},
    "groups that are no list": {"groups": {"emea": True}},
    "roles that are no list": {"realm_access": {"roles": 7}},
}
HEADERS: dict[str, dict[str, Any]] = {
    "crit": {"crit": ["exp"]},
    "crit of what is known (CVE-2025-59420)": {"crit": ["b64"], "b64": True},
    "crit of what nobody knows (CVE-2025-59420)": {"crit": ["bork"], "bork": "x"},
    "an empty crit": {"crit": []},
    "b64": {"b64": False},
    "compressed": {"zip": "DEF"},
    "encrypted": {"enc": "A256GCM"},
    "an ID-JAG": {"typ": "oauth-id-jag+jwt"},
    "a DPoP proof": {"typ": "dpop+jwt"},
    "a logout token": {"typ": "logout+jwt"},
    "a type that is a list": {"typ": ["at+jwt"]},
    "a kid that is a number": {"kid": 1},
    "a kid that is a list": {"kid": ["k1"]},
    "a kid that is a path": {"kid": "../../../../dev/null"},
    "a kid that is a query": {"kid": "k1' OR '1'='1"},
    "a kid that is an address": {"kid": "https://evil.example/jwks"},
    "an endless kid": {"kid": "k" * 256},
    "an algorithm that is a list": {"alg": ["RS256"]},
    "an algorithm in small letters": {"alg": "rs256"},
    "an algorithm that is not listed": {"alg": "RS512"},
    "another algorithm of the same key": {"alg": "PS256"},
    "no algorithm": {"alg": None},
    "a large header": {"x": "x" * 9000},
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_a_token_with_such_claims_is_refused(name: str) -> None:
    assert await read(signed(good(**CLAIMS[name]))) is None


@pytest.mark.parametrize("name", HEADERS)
async def test_a_token_with_such_a_header_is_refused(name: str) -> None:
    assert await read(signed(good(), **HEADERS[name])) is None


@pytest.mark.parametrize("literal", ["1e400", "NaN", "Infinity", "-Infinity", "1e999999999"])
async def test_no_number_is_beyond_comparison(literal: str) -> None:
    payload = json.dumps(good(exp=0)).replace('"exp": 0', f'"exp": {literal}').encode()
    assert await read(signed(payload)) is None


async def test_times_are_judged_with_a_minute_of_leeway() -> None:
    assert await read(signed(good(exp=NOW - 59.9))) is not None
    assert await read(signed(good(nbf=NOW + 60, iat=NOW + 60))) is not None
    assert await read(signed(good(exp=NOW + 86_400))) is not None


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
async def test_access_tokens_say_what_they_are_in_several_ways(typ: str | None) -> None:
    assert await read(signed(good(), typ=typ)) is not None
    assert (await read(signed(good(), typ=typ), replace(CORP, typ=("at+jwt",))) is None) == (typ in ("JWT", None))


# --- signatures ---


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return b".".join(jws_part(part) for part in parts).decode()


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "dir"])
@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 256], ids=["empty", "short", "long"])
async def test_a_token_without_a_signature_is_refused(alg: str, signature: bytes) -> None:
    """Also Authlib CVE-2026-28802: `none` with an empty signature passed."""
    assert await read(unsigned({"alg": alg, "typ": "at+jwt", "kid": "k1"}, good(), signature)) is None
    assert await read(unsigned({"alg": alg, "typ": "at+jwt"}, good(), signature)) is None


@pytest.mark.parametrize("encoding", ["PEM", "DER"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_issuers_public_key_is_no_secret_to_sign_with(encoding: Any, algorithm: str) -> None:
    secret = RSA.as_bytes(encoding, private=False)
    for key in (secret, secret.strip(), json.dumps(public(RSA, "k1")).encode(), RSA.as_dict()["n"].encode()):  # type: ignore[union-attr]
        token = unsigned({"alg": algorithm, "typ": "at+jwt", "kid": "k1"}, good())
        signing_input = token.rpartition(".")[0]
        mac = hmac.new(key, signing_input.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
        assert await read(f"{signing_input}.{jws_part(mac).decode()}") is None


async def test_a_key_that_a_token_brings_along_or_points_at_is_not_looked_at() -> None:
    async with corp() as (verifier, idp):
        idp.answers["/evil"] = 200, json.dumps({"keys": [public(OTHER_RSA, "k1")]}).encode()
        own = public(OTHER_RSA, "k1")
        for header in (
            {"jwk": own},
            {"jku": f"{idp.url}/evil"},
            {"x5u": f"{idp.url}/evil"},
            {"x5c": ["MIIB"], "x5t": "x"},
            {"jwk": own, "jku": f"{idp.url}/evil", "kid": None},
        ):
            assert await verifier.verify(signed(good(), OTHER_RSA, **header)) is None
            assert await verifier.verify(signed(good(), RSA, **header)) is not None
        assert {asked.path for asked in idp.asked} == {"/jwks"}


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_of_which_anything_was_altered_is_refused(part: int) -> None:
    async with corp() as (verifier, _):
        parts = signed(good()).split(".")
        assert await verifier.verify(".".join(parts)) is not None
        data = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
        for place in range(0, len(data), max(1, len(data) // 40)):
            altered = bytes(data[:place]) + bytes([data[place] ^ 1]) + bytes(data[place + 1 :])
            assert (
                await verifier.verify(".".join([*parts[:part], jws_part(altered).decode(), *parts[part + 1 :]])) is None
            )


@pytest.mark.parametrize(
    ("key", "algorithm", "published"),
    [
        (OTHER_RSA, "RS256", RSA),
        (ECKey.generate_key("P-256"), "ES256", EC),
        (ECKey.generate_key("P-384"), "ES384", EC),
        (OKPKey.generate_key("Ed25519"), "EdDSA", ED),
        (EC, "ES256", RSA),
        (RSA, "RS256", EC),
    ],
)
async def test_another_key_signs_for_nobody(key: Any, algorithm: str, published: Any) -> None:
    assert await read(signed(good(), key, algorithm), k1=published) is None


async def test_a_signature_of_the_wrong_length_is_no_curve_point() -> None:
    token = signed(good(), EC, "ES256").rpartition(".")[0]
    for length in (0, 1, 63, 65, 64, 128):
        assert await read(f"{token}.{jws_part(bytes(length)).decode()}", k1=EC) is None


# --- one reading only ---


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"none","alg":"RS256","kid":"k1"}', None),
        (b'{"alg":"RS256","kid":"k0","kid":"k1"}', None),
        (b'{"alg":"RS256","kid":"k1","alg\\u0000":"none","\\u0061lg":"none"}', None),
        (None, b'"sub":"root","sub":"s-1"'),
        (None, b'"aud":"https://other.example","\\u0061ud":"https://hub.example/mcp"'),
        (None, b'"x":{"a":1,"a":2}'),
        (None, b'"x":"\\ud800"'),
        (None, b'"x":' + b"[" * 3000 + b"]" * 3000),
        (None, b'"x":01'),
        (None, b'"x":"\xff"'),
    ],
)
async def test_a_token_that_can_be_read_in_two_ways_is_refused(header: bytes | None, payload: bytes | None) -> None:
    said = header or b'{"alg":"RS256","kid":"k1"}'
    data = json.dumps(good()).encode()
    if payload is not None:
        data = data[:-1] + b"," + payload + b"}"
    assert await read(sealed(b'{"alg":"RS256","kid":"k1"}', json.dumps(good()).encode(), RSA, "RS256")) is not None
    assert await read(sealed(said, data, RSA, "RS256")) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + ".",
        lambda token: token + ".x",
        lambda token: "." + token,
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", "..", 1),
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.replace(".", ". ", 1),
        lambda token: "e30.e30.e30",
        lambda token: "W10.W10.e30",
        lambda token: "...",
        lambda token: "",
        lambda token: json.dumps({"payload": token.split(".")[1], "protected": token.split(".")[0]}),
        lambda token: token[:-1] + ("B" if token[-1] == "A" else "A") if token[-1] in "AQgw" else token + "AAA=",
    ],
)
async def test_a_token_that_is_spelled_another_way_is_refused(spoil: Callable[[str], str]) -> None:
    assert await read(spoil(signed(good()))) is None


async def test_a_token_of_a_megabyte_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = signed(good(x="x" * 1_048_576))
    parsed: list[bytes] = []
    monkeypatch.setattr(outside, "strict", lambda data: parsed.append(data))
    assert not signed_by(ISSUER)(huge)
    assert await read(huge) is None
    assert parsed == []


async def test_a_token_that_is_of_no_use_makes_nobody_fetch_keys() -> None:
    async with corp() as (verifier, idp):
        for token in (signed(good(exp=1)), signed(good(aud="x")), signed(good(), alg="HS256"), "x.y.z"):
            assert await verifier.verify(token) is None
        assert idp.asked == []


# --- choosing the verifier ---


async def test_each_token_goes_to_the_issuer_it_names() -> None:
    other = replace(CORP, name="other", issuer="https://login.other.example")
    async with corp() as (first, _), corp(other, k1=OTHER_RSA) as (second, _):
        cached = Bearers([(signed_by(CORP.issuer), first), (signed_by(other.issuer), second)], Clock())
        ann = await cached.admit(signed(good()))
        bob = await cached.admit(signed(claims(other.issuer), OTHER_RSA))
        assert ann is not None
        assert bob is not None
        assert (ann.name, bob.name) == ("user:corp:s-1", "user:other:s-1")
        assert ann.credential != bob.credential
        assert await cached.admit(signed(good(), OTHER_RSA)) is None  # one issuer's key under the other's name
        assert await cached.admit(signed(claims("https://nobody.example"))) is None


def test_an_issuer_that_cannot_be_is_refused_in_words() -> None:
    table: list[tuple[dict[str, Any], str]] = [
        ({"name": "Corp Inc"}, "a name starts"),
        ({"issuer": "login.corp.example"}, "https address"),
        ({"algorithms": ("RS256", "HS256")}, "HS256"),
        ({"algorithms": ("none",)}, "none"),
        ({"algorithms": ()}, "algorithms"),
    ]
    for unfit, words in table:
        with pytest.raises(ValueError, match=words):
            replace(CORP, **unfit)


def test_the_secret_of_an_issuer_is_not_shown() -> None:
    asked = Introspecting("hub", lambda: "s3cret")
    assert "s3cret" not in repr(replace(CORP, introspecting=asked))


async def test_a_role_that_is_not_configured_reaches_nothing() -> None:
    found = await read(signed(good()), replace(CORP, default_roles=("gone",)))
    assert found is not None
    assert (found.principal.scopes, found.principal.within) == (frozenset(), ())
    assert Role("gone", frozenset()).grants == Grants()


async def test_the_price_of_a_token_is_told_in_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    count, said = 200, []
    for label, key, algorithm in (
        ("RS256, 2048 bits", RSA, "RS256"),
        ("RS256, 4096 bits", RSAKey.generate_key(4096), "RS256"),
        ("ES256", EC, "ES256"),
        ("EdDSA", ED, "EdDSA"),
    ):
        async with corp(k1=key) as (verifier, _):
            token = signed(good(), key, algorithm)
            assert await verifier.verify(token) is not None
            started = perf_counter()
            for _ in range(count):
                await verifier.verify(token)
            said.append(f"{label} {(perf_counter() - started) / count * 1e6:.0f} us")
    with capsys.disabled():
        print(f"\n  a token verified whole: {', '.join(said)}")


def _only(row: UserRow) -> Users:
    return lambda issuer, subject: row if (issuer, subject) == (row.issuer, row.subject) else None
