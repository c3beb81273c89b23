"""Logging in at a company's provider: what is asked of it, and which of its answers log somebody in."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest

from hub.core.accounts import UserRow
from hub.identity.oauth.provider import SsoFailed
from tests.identity.idp import EC, NOW, OTHER_RSA, RSA, jws_part, public, sealed
from tests.identity.oauth.upstream import CALLBACK, SECRET, Upstream


async def arrive(upstream: Upstream, **answer: str | None) -> UserRow:
    begun = await upstream.sso.begin("w" * 22)
    said = {**upstream.answer(begun), **answer}
    arrived = await upstream.sso.finish(begun, {name: text for name, text in said.items() if text is not None})
    assert arrived.login.strength == "sso"
    return arrived.login.user


async def refused(upstream: Upstream, **answer: str | None) -> str:
    """The kind of failure, and its words; nobody was made."""
    with pytest.raises(SsoFailed) as failed:
        await arrive(upstream, **answer)
    assert upstream.people.users.rows() == ()
    assert SECRET not in str(failed.value)
    return f"{failed.value.kind}: {failed.value}"


async def test_the_provider_is_asked_by_pkce_state_and_nonce_that_never_come_twice() -> None:
    async with Upstream(metadata={"authorization_endpoint": "http://127.0.0.1/a?tenant=7#x"}) as upstream:
        first, second = await upstream.sso.begin("w" * 22), await upstream.sso.begin("w" * 22, again=True, max_age_s=5)
    assert first.location.startswith("http://127.0.0.1/a?tenant=7&")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(first.location).query).items()}
    assert asked["redirect_uri"] == CALLBACK
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", "hub", "openid profile email")
    assert asked["code_challenge_method"] == "S256"
    assert asked["code_challenge"] == jws_part(sha256(first.verifier.encode()).digest()).decode()
    assert asked["state"].partition(".")[0] == "w" * 22
    assert not {"prompt", "max_age"} & set(asked)
    assert parse_qs(urlsplit(second.location).query)["prompt"] == ["login"]
    assert parse_qs(urlsplit(second.location).query)["max_age"] == ["5"]
    for name in ("state", "nonce", "verifier"):
        assert len(getattr(first, name)) >= 43
        assert getattr(first, name) != getattr(second, name)
        assert getattr(first, name) not in repr(first)


async def test_a_good_answer_makes_a_user_of_the_hub() -> None:
    async with Upstream() as upstream:
        row = await arrive(upstream)
        assert (row.name, row.display, row.email, row.roles) == ("grace", "Grace H.", "grace@corp.example", ("member",))
        assert (row.issuer, row.subject, row.password) == (upstream.idp.url, "s-1", None)
        assert upstream.people.users.by_id(row.id) == row


async def test_the_secret_goes_as_the_provider_says() -> None:
    async with Upstream() as upstream:
        await arrive(upstream)
        kind, _, given = upstream.heads[0]["authorization"].partition(" ")
        name, _, secret = base64.b64decode(given).decode().partition(":")
        assert (kind, name, unquote_plus(secret)) == ("Basic", "hub", SECRET)
        assert "client_secret" not in upstream.forms[0]
    async with Upstream(metadata={"token_endpoint_auth_methods_supported": ["client_secret_post"]}) as upstream:
        await arrive(upstream)
        assert "authorization" not in upstream.heads[0]
        assert upstream.forms[0]["client_secret"] == SECRET


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"iss": "https://other.example"}, "another issuer's"),
        ({"aud": "other"}, "for another program"),
        ({"aud": ["hub", "other"]}, "for another program"),
        ({"aud": []}, "for another program"),
        ({"aud": None}, "for another program"),
        ({"azp": "other"}, "for another program"),
        ({"aud": ["hub", "other"], "azp": "other"}, "for another program"),
        ({"nonce": "n" * 43}, "of another login"),
        ({"nonce": None}, "of another login"),
        ({"nonce": ["x"]}, "of another login"),
        ({"sub": None}, "names nobody"),
        ({"sub": ""}, "names nobody"),
        ({"sub": 7}, "names nobody"),
        ({"sub": "x" * 256}, "names nobody"),
        ({"exp": int(NOW) - 61}, "has ended"),
        ({"exp": None}, "does not say when"),
        ({"exp": "tomorrow"}, "does not say when"),
        ({"exp": True}, "does not say when"),
        ({"iat": int(NOW) + 61}, "not made now"),
        ({"iat": int(NOW) - 700}, "not made now"),
        ({"iat": None}, "does not say when"),
        ({"nbf": int(NOW) + 100}, "not good yet"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "access token beside it"),
        ({"at_hash": 1}, "access token beside it"),
    ],
)
async def test_an_id_token_that_is_not_of_this_login_logs_nobody_in(more: dict[str, Any], words: str) -> None:
    async with Upstream(more=more) as upstream:
        found = await refused(upstream)
        assert found.startswith("unfit: ")
        assert words in found


@pytest.mark.parametrize("more", [{"azp": "hub"}, {"aud": ["hub"]}, {"aud": ["hub", "other"], "azp": "hub"}])
async def test_a_token_that_names_the_hub_as_its_party_is_taken(more: dict[str, Any]) -> None:
    half = jws_part(sha256(b"an access token").digest()[:16]).decode()
    async with Upstream(more={**more, "at_hash": half}) as upstream:
        assert (await arrive(upstream)).name == "grace"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"typ": "at+jwt"}, "another kind"),
        ({"typ": "logout+jwt"}, "another kind"),
        ({"crit": ["exp"]}, "another kind"),
        ({"b64": False}, "another kind"),
        ({"alg": "none"}, "not taken here"),
        ({"alg": "HS256"}, "not taken here"),
        ({"alg": "EdDSA"}, "not taken here"),
        ({"alg": "PS256"}, "not signed by a key"),
        ({"kid": "k2"}, "not signed by a key"),
        ({"kid": 7}, "names no key"),
    ],
)
async def test_an_id_token_of_another_kind_or_signature_logs_nobody_in(header: dict[str, Any], words: str) -> None:
    async with Upstream(header=header) as upstream:
        assert words in await refused(upstream)


async def test_a_token_signed_by_another_key_or_brought_with_its_own_logs_nobody_in() -> None:
    async with Upstream(key=OTHER_RSA, header={"jwk": public(OTHER_RSA, "k1")}) as upstream:
        assert "not signed by a key of the provider" in await refused(upstream)
    async with Upstream() as upstream:
        upstream.logged_in((await upstream.sso.begin("w" * 22)).location)
        unsigned = sealed(b'{"alg":"RS256","kid":"k1"}', b"{}", RSA, "RS256").rpartition(".")[0] + "."
        upstream.tokens = {"id_token": unsigned}
        assert "no signed token" in await refused(upstream)


async def test_an_elliptic_signature_is_taken_too() -> None:
    async with Upstream(key=EC, algorithm="ES256") as upstream:
        upstream.idp.publish(k1=EC)
        assert (await arrive(upstream)).name == "grace"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"iss": "https://other.example"}, "unfit: the answer is another provider's"),
        ({"code": None, "error": "access_denied"}, "refused: the provider answered with the error access_denied"),
        ({"code": None, "error": "x\ny"}, "refused: the provider answered with the error ?"),
        ({"code": None}, "unfit: the answer holds no code"),
        ({"code": "c" * 5000}, "unfit: the answer holds no code"),
        ({"code": "another"}, "unfit: the provider did not take the code (status 400)"),
    ],
)
async def test_an_answer_that_is_no_login_logs_nobody_in(answer: dict[str, str | None], words: str) -> None:
    async with Upstream() as upstream:
        assert (await refused(upstream, **answer)).startswith(words)


async def test_an_answer_has_to_name_its_issuer_where_the_provider_always_does() -> None:
    """RFC 9207 §2.4."""
    async with Upstream() as upstream:
        assert (await arrive(upstream, iss=None)).name == "grace"
    async with Upstream(metadata={"authorization_response_iss_parameter_supported": True}) as upstream:
        assert "another provider's" in await refused(upstream, iss=None)


async def test_the_answer_to_one_login_is_no_answer_to_another() -> None:
    """The code, and with it the token, of a login that somebody else began."""
    async with Upstream() as upstream:
        mine, theirs = await upstream.sso.begin("w" * 22), await upstream.sso.begin("x" * 22)
        answer = upstream.answer(theirs)
        with pytest.raises(SsoFailed, match="did not take the code"):
            await upstream.sso.finish(mine, answer)
        assert upstream.people.users.rows() == ()


@pytest.mark.parametrize("auth_time", [None, int(NOW) - 200, int(NOW) + 100, "now", True])
async def test_a_login_as_new_as_was_asked_for_has_to_be_proved(auth_time: Any) -> None:
    async with Upstream(more={"auth_time": auth_time}) as upstream:
        begun = await upstream.sso.begin("w" * 22, max_age_s=60)
        with pytest.raises(SsoFailed, match="auth_time"):
            await upstream.sso.finish(begun, upstream.answer(begun))


async def test_a_login_counts_from_when_the_person_proved_to_be_one_there() -> None:
    async with Upstream(more={"auth_time": int(NOW) - 50}) as upstream:
        begun = await upstream.sso.begin("w" * 22, max_age_s=60)
        assert (await upstream.sso.finish(begun, upstream.answer(begun))).login.at == NOW - 50


async def test_what_the_id_token_leaves_out_is_asked_for() -> None:
    settings = {"roles_claim": "roles", "roles": {"boss": ("admin",)}, "default_roles": ()}
    thin = {"preferred_username": None, "name": None, "email": None}
    async with Upstream(settings, more=thin) as upstream:
        upstream.userinfo = {"sub": "s-1", "preferred_username": "grace", "roles": ["boss"], "iss": "https://x.example"}
        assert (await arrive(upstream)).roles == ("admin",)
    async with Upstream(settings, more=thin) as upstream:
        upstream.userinfo = {"sub": "s-2", "preferred_username": "grace", "roles": ["boss"]}
        assert "of somebody else" in await refused(upstream)
    async with Upstream(settings, more=thin) as upstream:
        assert "answered with status 401" in await refused(upstream)


async def test_a_provider_that_is_down_or_somebody_else_is_said_to_be() -> None:
    async with Upstream() as upstream:
        upstream.idp.down()
        with pytest.raises(SsoFailed, match="refuses connections") as failed:
            await upstream.sso.begin("w" * 22)
        assert failed.value.kind == "unreachable"
    async with Upstream(metadata={"issuer": "https://other.example"}) as upstream:
        assert "another issuer's" in await refused(upstream)
    async with Upstream(tokens={"id_token": None}) as upstream:
        assert "no ID token" in await refused(upstream)


async def test_a_browser_is_not_sent_over_plain_http_for_a_provider_of_https() -> None:
    async with Upstream() as upstream:
        upstream.metadata = {"authorization_endpoint": "javascript:alert(1)"}
        assert "no usable authorization_endpoint" in await refused(upstream)
