from __future__ import annotations

import base64
import hmac
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from hub.core.call import Grants
from hub.identity.verified import Verified
from tests.identity.oauth.world import ISSUER, MCP, START, World

Claims = dict[str, Any]


def parts(token: str) -> tuple[Claims, Claims]:
    head, body = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return head, body


def signed(world: World, claims: object, **header: Any) -> str:
    """By the hub's own key: what differs is all that is wrong with it."""
    kid, key = world.signing.current()
    head = {"alg": "ES256", "kid": kid, "typ": "at+jwt", **header}
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact({k: v for k, v in head.items() if v is not None}, body, key, ["ES256"])


async def a_token(world: World, **changes: str | None) -> str:
    return str((await world.login(await world.client(), **changes))["access_token"])


async def verified(world: World, token: str) -> Verified:
    found = await world.server.verifier.verify(token)
    assert found is not None
    return found


async def test_a_token_is_what_rfc_9068_says(world: World) -> None:
    token = await a_token(world, scope="mcp:server:wiki")
    head, claims = parts(token)
    (grant,) = world.server.grants_of(world.ann.id)
    assert head == {"alg": "ES256", "kid": world.signing.current()[0], "typ": "at+jwt"}
    assert len(claims.pop("jti")) >= 20
    assert claims == {
        "iss": ISSUER,
        "sub": world.ann.id,
        "aud": MCP,
        "client_id": grant.client,
        "scope": "mcp:server:wiki",
        "iat": int(START),
        "exp": int(START) + 600,
        "fam": grant.id,
        "auth_time": int(START),
        "acr": "password",
    }


async def test_the_principal_is_the_users_within_scopes_and_roles(world: World) -> None:
    found = await verified(world, await a_token(world, scope="mcp:server:wiki mcp:tool:wiki__*"))
    who = found.principal
    assert (who.name, who.user, who.client, who.strength) == ("user:ann", world.ann.id, found.client, "password")
    assert (who.scopes, who.grants) == (frozenset({"mcp"}), Grants(frozenset({"wiki"}), ("wiki__*",)))
    assert who.within == (Grants(frozenset({"*"})),)
    assert who.credential == f"oauth:{found.family}"


async def test_sessions_outlive_an_access_token(world: World) -> None:
    client = await world.client()
    made = await world.login(client)
    again = (await world.refresh(client, made["refresh_token"])).body
    assert again is not None
    one, other = [await verified(world, body["access_token"]) for body in (made, again)]
    assert one.principal == other.principal
    assert one.jti != other.jti


async def test_check_3_a_token_is_good_at_its_own_endpoint_only(world: World) -> None:
    for resource, endpoint in ((MCP, ""), (ISSUER + "/dev/mcp", "dev"), ("http://127.0.0.1:8080/dev/mcp", "dev")):
        found = await verified(world, await a_token(world, resource=resource))
        assert found.principal.endpoints == frozenset({endpoint})


async def test_check_3_a_token_for_the_admin_api_is_good_at_no_endpoint(world: World) -> None:
    root = world.people.add("root", "admin")
    made = await world.login(await world.client(), root, resource=ISSUER + "/api/v1")
    found = await verified(world, made["access_token"])
    assert (found.principal.endpoints, found.principal.scopes) == (frozenset(), frozenset({"admin"}))


async def test_check_3_a_token_for_an_endpoint_that_is_gone_is_refused(world: World) -> None:
    token = await a_token(world, resource=ISSUER + "/dev/mcp")
    world.endpoints.discard("dev")
    assert not await world.is_good(token)


async def test_check_2_a_token_as_the_hub_makes_it_passes_this_tests_own_maker(world: World) -> None:
    """Else the refusals below would prove nothing."""
    assert await world.is_good(signed(world, parts(await a_token(world))[1]))


WRONG: dict[str, Callable[[Claims], Any]] = {
    "iss": lambda c: c | {"iss": ISSUER + "/"},
    "iss of another case": lambda c: c | {"iss": ISSUER.upper()},
    "aud": lambda c: c | {"aud": "https://evil.example.com/mcp"},
    "aud of a sibling": lambda c: c | {"aud": ISSUER + "/dev/mcp"},
    "aud as a list": lambda c: c | {"aud": [MCP]},
    "exp passed": lambda c: c | {"exp": START - 30},
    "exp as text": lambda c: c | {"exp": str(c["exp"])},
    "exp as truth": lambda c: c | {"exp": True},
    "exp infinite": lambda c: json.dumps(c | {"exp": float("inf")}).encode(),
    "nbf ahead": lambda c: c | {"nbf": START + 31},
    "iat ahead": lambda c: c | {"iat": START + 31},
    "sub of another": lambda c: c | {"sub": "u9"},
    "client of another": lambda c: c | {"client_id": "mhc_x"},
    "fam unknown": lambda c: c | {"fam": "g0000000000000000"},
    "fam no text": lambda c: c | {"fam": {"a": 1}},
    "no scope": lambda c: c | {"scope": ""},
    "scope unknown": lambda c: c | {"scope": "mcp root"},
    **{
        f"without {name}": lambda c, name=name: {k: v for k, v in c.items() if k != name}  # type: ignore[misc]
        for name in ("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "fam")
    },
    "no object": lambda c: [c],
    "no JSON": lambda c: b"{",
    "empty": lambda c: b"",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_check_2_wrong_claims_are_refused(world: World, wrong: Callable[[Claims], Any]) -> None:
    assert not await world.is_good(signed(world, wrong(parts(await a_token(world))[1])))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "at+JWT"},
        {"kid": "x"},
        {"kid": None},
        {"kid": "../../etc/passwd"},
        {"cty": "JWT"},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"jku": "https://evil.example.com/jwks"},
        {"x5u": "https://evil.example.com"},
    ],
)
async def test_check_2_cve_2025_59420_a_header_that_is_not_the_hubs_own_is_refused(
    world: World, header: Claims
) -> None:
    """Authlib let `crit` pass unread."""
    claims = parts(await a_token(world))[1]
    head = {"alg": "ES256", "kid": world.signing.current()[0], "typ": "at+jwt", **header}
    unsigned = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({k: v for k, v in head.items() if v is not None}, claims)
    )
    key = world.signing.current()[1]
    raw = key.get_op_key("sign")
    r, s = decode_dss_signature(raw.sign(unsigned.encode(), ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode().rstrip("=")
    assert not await world.is_good(f"{unsigned}.{signature}")


async def test_check_2_an_embedded_key_is_not_believed(world: World) -> None:
    claims, key = parts(await a_token(world))[1], ECKey.generate_key("P-256")
    for header in ({"jwk": key.as_dict(private=False)}, {}):
        head = {"alg": "ES256", "kid": world.signing.current()[0], "typ": "at+jwt", **header}
        assert not await world.is_good(jws.serialize_compact(head, json.dumps(claims), key, ["ES256"]))


async def test_check_2_hs256_with_the_public_key_as_secret_is_refused(world: World) -> None:
    claims = parts(await a_token(world))[1]
    kid, key = world.signing.current()
    head = {"alg": "HS256", "kid": kid, "typ": "at+jwt"}
    made = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims))
    for secret in (key.as_pem(private=False), json.dumps(world.server.jwks()["keys"][0]).encode()):
        mac = base64.urlsafe_b64encode(hmac.digest(secret, made.encode(), "sha256")).decode().rstrip("=")
        assert not await world.is_good(f"{made}.{mac}")


async def test_check_2_another_algorithm_is_refused(world: World) -> None:
    claims, key = parts(await a_token(world))[1], RSAKey.generate_key(2048)
    head = {"alg": "RS256", "kid": world.signing.current()[0], "typ": "at+jwt"}
    assert not await world.is_good(jws.serialize_compact(head, json.dumps(claims), key, ["RS256"]))


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", "ES256"])
async def test_check_2_cve_2026_28802_no_signature_is_no_signature(world: World, alg: str) -> None:
    token = await a_token(world)
    head, claims = parts(token)
    made = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in (head | {"alg": alg}, claims)
    ]
    for signature in ("", "AA", token.rsplit(".", 1)[1] if alg != "ES256" else "A" * 86):
        assert not await world.is_good(".".join([*made, signature]))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.e30",
        "\u00e9.b.c",
        "\udc80..",
        "x" * 1_000_000,
        "." * 1_000_000,
        "W10.e30.AA",
        "bnVsbA.e30.AA",
        "\x00",
        "a\nb.c.d",
    ],
)
async def test_what_is_no_token_is_refused_without_a_word(world: World, token: str) -> None:
    assert not await world.is_good(token)


async def test_a_token_altered_anywhere_is_refused(world: World) -> None:
    token = await a_token(world)
    for at in range(0, len(token) - 1, 7):
        other = "A" if token[at] != "A" else "B"
        assert not await world.is_good(token[:at] + other + token[at + 1 :]), at


async def test_leeway_is_half_a_minute(world: World) -> None:
    token = await a_token(world)
    world.clock.go(629)
    assert await world.is_good(token)
    world.clock.go(1)
    assert not await world.is_good(token)


async def test_a_token_of_another_hub_is_refused(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Check 14, the other direction: the same names and ids, and keys of its own."""
    other = await World(tmp_path_factory.mktemp("other")).start()
    token = await a_token(other)
    assert await other.is_good(token)
    assert not await world.is_good(token)


async def test_check_21_a_disabled_users_token_is_refused_at_once(world: World) -> None:
    token = await a_token(world)
    world.people.disable(world.ann.id)
    assert not await world.is_good(token)
    del world.people.rows[world.ann.id]
    assert not await world.is_good(token)


async def test_a_role_that_was_taken_counts_at_once(world: World) -> None:
    root = world.people.add("root", "admin")
    made = await world.login(await world.client(), root, scope="mcp admin")
    world.people.rows[root.id] = replace(root, roles=("member",))
    assert (await verified(world, made["access_token"])).principal.scopes == frozenset({"mcp"})


async def test_the_files_of_the_keys_are_for_the_owner_only(world: World) -> None:
    for folder, _, files in os.walk(world.folder / "keys"):
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600
