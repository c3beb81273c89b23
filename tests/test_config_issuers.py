"""`auth.issuers`, `auth.sso` and `auth.fetch_local`, as they are written and as they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.config import Config, load
from hub.config_yaml import ConfigError

ISSUER = {"issuer": "https://id.corp.example/realm"}
SSO = {"issuer": "https://id.corp.example", "client_id": "hub", "client_secret": "env:SSO"}


def read(folder: Path, auth: dict[str, Any], **more: Any) -> Config:
    path = folder / "hub.json"
    path.write_text(json.dumps({"auth": auth}))
    path.chmod(0o600)
    return load(path, {"HOME": str(folder), "SSO": "a-secret-canary"}, **more)


def faults(folder: Path, auth: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as failed:
        read(folder, auth)
    return str(failed.value)


def test_nothing_of_it_is_there_unless_somebody_says_so(tmp_path: Path) -> None:
    auth = read(tmp_path, {}).auth
    assert (auth.issuers, auth.sso, auth.fetch_local) == ((), None, ())


def test_an_issuer_needs_its_address_only(tmp_path: Path) -> None:
    (issuer,) = read(tmp_path, {"issuers": [ISSUER]}).auth.issuers
    assert (issuer.name, issuer.issuer) == ("id-corp-example", ISSUER["issuer"])
    assert (issuer.roles, issuer.default_roles, issuer.introspecting) == ({}, (), None)


def test_all_of_an_issuer_is_read(tmp_path: Path) -> None:
    given = {
        **ISSUER,
        "name": "corp",
        "audiences": ["api://hub"],
        "algorithms": ["ES256"],
        "jwks_uri": "https://id.corp.example/keys",
        "introspection": {"client_id": "hub", "client_secret": "env:SSO", "opaque": False},
        "claims": {"name": "upn", "roles": "realm_access.roles", "groups": "groups", "attributes": {"team": "dep"}},
        "roles": {"boss": "admin", "dev": "ops"},
        "default_roles": ["member"],
        "scopes": {"api.read": "mcp"},
        "default_scopes": ["mcp"],
    }
    config = read(tmp_path, {"issuers": [given], "roles": {"ops": {"servers": ["jira"]}}})
    (issuer,) = config.auth.issuers
    assert (issuer.name, issuer.audiences, issuer.algorithms) == ("corp", ("api://hub",), ("ES256",))
    assert (issuer.name_claim, issuer.roles_claim, issuer.groups_claim) == ("upn", "realm_access.roles", "groups")
    assert issuer.roles == {"boss": ("admin",), "dev": ("ops",)}
    assert (issuer.scopes, issuer.attributes) == ({"api.read": "mcp"}, {"team": "dep"})
    assert issuer.introspecting is not None
    assert (issuer.introspecting.secret(), issuer.introspecting.opaque) == ("a-secret-canary", False)
    assert "a-secret-canary" not in repr(config)


def test_a_login_elsewhere_is_read_with_what_goes_without_saying(tmp_path: Path) -> None:
    sso = read(tmp_path, {"sso": SSO}).auth.sso
    assert sso is not None
    assert (sso.title, sso.scopes, sso.default_roles) == ("Company", ("openid", "profile", "email"), ("member",))
    assert (sso.create, sso.password_login, sso.secret()) == (True, True, "a-secret-canary")
    assert "a-secret-canary" not in repr(sso)
    assert sso == read(tmp_path, {"sso": SSO}).auth.sso  # a file that was only touched changes nothing


def test_whoever_maps_roles_gives_none_to_the_rest(tmp_path: Path) -> None:
    mapped = {**SSO, "claims": {"roles": "groups"}, "roles": {"bosses": "admin"}}
    sso = read(tmp_path, {"sso": mapped}).auth.sso
    assert sso is not None
    assert (sso.roles, sso.default_roles) == ({"bosses": ("admin",)}, ())
    sso = read(tmp_path, {"sso": {**mapped, "default_roles": ["member"]}}).auth.sso
    assert sso is not None
    assert sso.default_roles == ("member",)


def test_a_stored_secret_is_known_to_be_used_and_programs_without_it_read_the_file(tmp_path: Path) -> None:
    stored = {"sso": {**SSO, "client_secret": "secret:corp"}}
    config = read(tmp_path, stored, secrets={"corp": "x"}.get)
    assert config.secret_uses == {"corp": ("auth",)}
    sso = read(tmp_path, stored, sealed=True).auth.sso
    assert sso is not None
    assert sso.secret() == ""


@pytest.mark.parametrize("local", [["10.0.0.0/8"], ["id.corp.internal"], ["127.0.0.1", "::1"], ["fd00::/8"]])
def test_private_places_may_be_opened(tmp_path: Path, local: list[str]) -> None:
    assert read(tmp_path, {"fetch_local": local}).auth.fetch_local == tuple(local)


@pytest.mark.parametrize(
    ("auth", "where", "words"),
    [
        ({"issuers": ISSUER}, "auth.issuers", "must be a list of mappings"),
        ({"issuers": [{}]}, "auth.issuers[1]", "issuer is needed"),
        ({"issuers": [{"issuer": "http://id.corp.example"}]}, "auth.issuers[1].issuer", "must begin with https://"),
        ({"issuers": [{"issuer": "https://x.example/?a"}]}, "auth.issuers[1].issuer", "must not hold a query"),
        ({"issuers": [{"issuer": "x.example"}]}, "auth.issuers[1].issuer", "must be http"),
        ({"issuers": [ISSUER, ISSUER]}, "auth.issuers[2].issuer", "is listed twice"),
        (
            {"issuers": [ISSUER, {"issuer": "https://id.corp.example/two"}]},
            "auth.issuers[2].name",
            "give each a name of its own",
        ),
        ({"issuers": [{**ISSUER, "name": "Corp!"}]}, "auth.issuers[1].name", "lower-case letter"),
        ({"issuers": [{**ISSUER, "algorithms": ["HS256"]}]}, "auth.issuers[1].algorithms", "none that is taken"),
        ({"issuers": [{**ISSUER, "algorithms": ["none"]}]}, "auth.issuers[1].algorithms", "none that is taken"),
        ({"issuers": [{**ISSUER, "algorithms": []}]}, "auth.issuers[1].algorithms", "must name one"),
        ({"issuers": [{**ISSUER, "jwks_uri": "http://x.example"}]}, "auth.issuers[1].jwks_uri", "https://"),
        ({"issuers": [{**ISSUER, "roles": {"a": "admin"}}]}, "auth.issuers[1].roles", "maps the values of a claim"),
        (
            {"issuers": [{**ISSUER, "claims": {"roles": "r"}, "roles": {"a": "nobody"}}]},
            "auth.issuers[1].roles.a",
            "there is no role 'nobody'",
        ),
        ({"issuers": [{**ISSUER, "default_roles": ["x"]}]}, "auth.issuers[1].default_roles", "there is no role"),
        ({"issuers": [{**ISSUER, "audience": "x"}]}, "auth.issuers[1].audience", "did you mean 'audiences'"),
        ({"issuers": [{**ISSUER, "claims": {"role": "x"}}]}, "auth.issuers[1].claims.role", "did you mean 'roles'"),
        ({"issuers": [{**ISSUER, "introspection": {}}]}, "auth.issuers[1].introspection", "client_id is needed"),
        ({"sso": {"issuer": "https://x.example"}}, "auth.sso", "client_id is needed"),
        ({"sso": {**SSO, "client_secret": "env:NOT_SET"}}, "auth.sso.client_secret", "NOT_SET is not set"),
        ({"sso": {**SSO, "algorithms": ["EdDSA"]}}, "auth.sso.algorithms", "none that is taken"),
        ({"sso": {**SSO, "scopes": ["a b"]}}, "auth.sso.scopes", "is no scope"),
        ({"sso": {**SSO, "name": "n" * 41}}, "auth.sso.name", "at most 40"),
        ({"sso": SSO, "login": False}, "auth.sso", "login is false"),
        ({"oidc": SSO}, "auth.oidc", "is called sso here"),
        ({"saml": {}}, "auth.saml", "not built yet"),
        ({"fetch_local": ["10.0.0.1/8"]}, "auth.fetch_local", "no host name, address or network"),
        ({"fetch_local": ["a b"]}, "auth.fetch_local", "no host name, address or network"),
    ],
)
def test_what_cannot_be_meant_is_said_where_it_stands(
    tmp_path: Path, auth: dict[str, Any], where: str, words: str
) -> None:
    found = faults(tmp_path, auth)
    assert f"{where}: " in found
    assert words in found
    assert "a-secret-canary" not in found
