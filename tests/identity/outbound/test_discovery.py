"""Where the hub looks for who gives tokens for a downstream, and whom it believes there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from hub.core.ports import Fetched, FetchRefused
from hub.downstream.fetch import GuardedFetcher
from hub.identity.outbound.challenge import challenge
from hub.identity.outbound.discovery import (
    KEPT_S,
    MAX_ISSUERS,
    MOST,
    Discovery,
    covers,
    place_in,
    place_urls,
    server_in,
)
from hub.identity.outbound.errors import Unavailable, Unfit
from hub.identity.outbound.parties import AuthServer
from tests.identity.outbound.downstream import PRM, Downstream

OAUTH, OIDC = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


# -- the scenarios of the official suite


async def test_metadata_default_is_asked_for_where_the_challenge_says_and_never_at_the_root() -> None:
    async with Downstream() as there:
        await there.log_in(f'Bearer resource_metadata="{there.idp.url}{PRM}/mcp"')
        assert there.paths() == [f"{PRM}/mcp", OAUTH, "/register", "/token"]


async def test_metadata_var1_is_found_below_the_path_and_at_openid_configuration() -> None:
    async with Downstream(metadata_at=OIDC) as there:
        await there.log_in("Bearer")
        assert there.paths() == [f"{PRM}/mcp", OAUTH, OIDC, "/register", "/token"]


async def test_metadata_var2_is_found_at_the_root_and_of_an_issuer_with_a_path() -> None:
    async with Downstream(path="/tenant1", prm_at=PRM) as there:
        there.prm["resource"] = there.idp.url  # without a slash at its end
        login = await there.begin("Bearer")
        assert there.paths() == [f"{PRM}/mcp", PRM, f"{OAUTH}/tenant1", "/tenant1/register"]
        assert there.asked(login.begun)["resource"] == there.idp.url  # exactly as published


async def test_metadata_var3_is_found_at_any_address_and_openid_configuration_after_the_path() -> None:
    at = "/custom/metadata/location.json"
    async with Downstream(path="/tenant1", prm_at=at, metadata_at=f"/tenant1{OIDC}") as there:
        await there.log_in(f'Bearer resource_metadata="{there.idp.url}{at}"')
        asked = [at, f"{OAUTH}/tenant1", f"{OIDC}/tenant1", f"/tenant1{OIDC}", "/tenant1/register", "/tenant1/token"]
        assert there.paths() == asked


async def test_resource_mismatch_ends_before_anybody_is_asked_to_log_in() -> None:
    async with Downstream(prm={"resource": "https://evil.example.com/mcp"}) as there:
        with pytest.raises(Unfit, match="another resource"):
            await there.begin("Bearer")
        assert there.paths() == [f"{PRM}/mcp"]


async def test_metadata_issuer_mismatch_ends_before_any_endpoint_is_asked() -> None:
    async with Downstream(metadata={"issuer": "https://attacker.example.com"}) as there:
        with pytest.raises(Unfit, match="another issuer's"):
            await there.begin("Bearer")
        assert there.paths() == [f"{PRM}/mcp", OAUTH]  # nor is there a second try elsewhere


# -- protected resources


@pytest.mark.parametrize(
    ("resource", "url", "is_covered"),
    [
        ("https://s.example/mcp", "https://s.example/mcp", True),
        ("https://S.example:443/mcp", "https://s.example/mcp", True),
        ("https://s.example", "https://s.example/mcp", True),
        ("https://s.example/", "https://s.example/mcp", True),
        ("https://s.example/mcp/", "https://s.example/mcp", True),
        ("https://s.example/mcp", "https://s.example/mcp/", True),
        ("https://s.example/a", "https://s.example/a/b?x=1", True),
        ("https://s.example/a?x=1", "https://s.example/a?x=1", True),
        ("https://s.example/a?x=2", "https://s.example/a?x=1", False),
        ("https://s.example/mc", "https://s.example/mcp", False),
        ("https://s.example/mcp", "https://s.example/", False),
        ("https://s.example/MCP", "https://s.example/mcp", False),
        ("https://s.example:8443/mcp", "https://s.example/mcp", False),
        ("http://127.0.0.1/mcp", "https://127.0.0.1/mcp", False),
        ("https://s.example.evil/mcp", "https://s.example/mcp", False),
        ("https://s.example@evil/mcp", "https://s.example/mcp", False),
        ("https://s.example/a/../mcp", "https://s.example/mcp", False),
        ("https://s.example/mcp#", "https://s.example/mcp", False),
        ("urn:mcp", "https://s.example/mcp", False),
        ("", "https://s.example/mcp", False),
    ],
)
def test_a_resource_covers_what_is_at_its_address_or_below(resource: str, url: str, is_covered: bool) -> None:
    assert covers(resource, url) is is_covered


def test_metadata_is_looked_for_in_the_order_of_the_specification() -> None:
    assert list(place_urls("https://s.example/a/b", "https://s.example/m")) == [
        "https://s.example/m",
        f"https://s.example{PRM}/a/b",
        f"https://s.example{PRM}",
    ]
    assert list(place_urls("https://s.example/", None)) == [f"https://s.example{PRM}"]
    assert next(place_urls("https://s.example/a?t=1", None)) == f"https://s.example{PRM}/a?t=1"


@pytest.mark.parametrize(
    "said",
    [
        {"authorization_servers": None},
        {"authorization_servers": []},
        {"authorization_servers": "https://as.example"},
        {"authorization_servers": ["https://as.example"] * (MAX_ISSUERS + 1)},
        {"authorization_servers": [1]},
        {"authorization_servers": ["http://as.example"]},
        {"authorization_servers": ["http://127.0.0.1:9"]},  # who is reached by TLS leads to nobody without
        {"resource": None},
        {"resource": ["https://s.example/mcp"]},
        {"bearer_methods_supported": ["body"]},
        {"scopes_supported": ["a b"]},
        {"scopes_supported": "a"},
    ],
)
def test_metadata_that_cannot_be_used_is_refused(said: dict[str, Any]) -> None:
    good: dict[str, Any] = {"resource": "https://s.example/mcp", "authorization_servers": ["https://as.example"]}
    assert place_in(good, "https://s.example/mcp").issuers == ("https://as.example",)
    with pytest.raises(Unfit):
        place_in({**good, **said}, "https://s.example/mcp")


async def test_metadata_that_names_a_member_twice_is_none() -> None:
    async with Downstream() as there:
        body = json.dumps({"resource": there.url, "authorization_servers": [there.issuer]})
        there.idp.answers[f"{PRM}/mcp"] = 200, body.replace('{"', '{"resource": "https://evil.example", "', 1).encode()
        with pytest.raises(Unfit):
            await there.begin("Bearer")


async def test_a_challenge_of_a_server_with_tls_leads_to_no_address_without() -> None:
    discovery = Discovery(GuardedFetcher(local=["127.0.0.1"]))
    async with Downstream() as there:
        with pytest.raises(Unfit, match="https"):
            await discovery.place("https://s.example/mcp", there.idp.url + "/secret")
        assert there.idp.asked == []


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_server_that_cannot_answer_now_is_tried_again_later(status: int) -> None:
    async with Downstream() as there:
        there.idp.answers[f"{PRM}/mcp"] = status, b"{}"
        with pytest.raises(Unavailable):
            await there.begin("Bearer")


async def test_a_server_that_is_not_there_is_tried_again_later() -> None:
    async with Downstream() as there:
        there.idp.down()
        with pytest.raises(Unavailable):
            await there.begin("Bearer")


async def test_a_server_without_metadata_has_nobody_to_log_in_at() -> None:
    async with Downstream(prm_at="/elsewhere") as there:
        with pytest.raises(Unfit, match="no metadata"):
            await there.begin("Bearer")


# -- issuers

ISSUER = "https://as.example/t"
GOOD: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://as.example/authorize?x=1",
    "token_endpoint": "https://tokens.example/t",
    "code_challenge_methods_supported": ["plain", "S256"],
}


def test_what_an_issuer_does_not_say_is_not_taken_for_granted() -> None:
    assert server_in(GOOD, ISSUER) == AuthServer(
        ISSUER, "https://tokens.example/t", "https://as.example/authorize?x=1", is_s256=True
    )


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": "HTTPS://as.example/t"},
        {"issuer": "https://as.example:443/t"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "http://as.example/token"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"authorization_endpoint": "https://as.example/a#b"},
        {"registration_endpoint": ["https://as.example/r"]},
        {"revocation_endpoint": "https://user:pw@as.example/r"},
        {"token_endpoint_auth_methods_supported": "none"},
    ],
)
def test_an_issuer_that_is_another_or_leads_elsewhere_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        server_in({**GOOD, **said}, ISSUER)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "file:/c:/windows/system32/calc.exe",
        "a:$(cmd.exe /c calc)?",
        'https://as.example/a";calc;"',
        "https://as.example/$(calc)`calc`",
        "https://as.example/a\r\nset-cookie: a=b",
        "vscode://as.example/authorize",
        "//as.example/authorize",
    ],
)
async def test_an_authorization_endpoint_that_is_a_command_or_a_script_is_opened_by_nobody(address: str) -> None:
    async with Downstream(metadata={"authorization_endpoint": address}) as there:  # CVE-2025-6514
        with pytest.raises(Unfit):
            await there.begin("Bearer")
        assert there.registrations == []


async def test_nobody_logs_in_where_pkce_is_not_promised_and_nothing_is_registered_there() -> None:
    for methods in (None, [], ["plain"]):
        async with Downstream(metadata={"code_challenge_methods_supported": methods}) as there:
            with pytest.raises(Unfit, match="S256"):
                await there.begin("Bearer")
            assert "/register" not in there.paths()


async def test_an_issuer_that_is_down_is_believed_as_it_was_for_renewals_and_not_for_logins() -> None:
    async with Downstream() as there:
        first = await there.discovery.server(there.issuer)
        assert await there.discovery.server(there.issuer) is first
        assert there.idp.count(OAUTH) == 1
        there.clock.now += KEPT_S
        there.idp.answers[OAUTH] = 503, b""
        assert await there.discovery.server(there.issuer) == first
        with pytest.raises(Unavailable):
            await there.discovery.server(there.issuer, anew=True)


async def test_an_issuer_that_became_another_is_not_believed_any_more() -> None:
    async with Downstream() as there:
        await there.discovery.server(there.issuer)
        there.metadata["issuer"] = "https://attacker.example.com"
        there.clock.now += KEPT_S
        with pytest.raises(Unfit):
            await there.discovery.server(there.issuer)


async def test_an_issuer_without_metadata_or_with_a_query_in_its_name_is_none() -> None:
    async with Downstream(metadata_at="/elsewhere") as there:
        with pytest.raises(Unfit, match="has no metadata"):
            await there.begin("Bearer")
        asked = len(there.idp.asked)
        with pytest.raises(Unfit, match="query"):
            await there.discovery.server(there.issuer + "?a=b")
        assert len(there.idp.asked) == asked


async def test_what_very_many_issuers_said_is_not_all_remembered() -> None:
    issuers = [f"https://as{number}.example" for number in range(MOST + 1)]

    class Everybody:
        """`Fetcher`, for whom every issuer answers."""

        asked: ClassVar[list[str]] = []

        async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
            self.asked.append(url)
            issuer = url.partition("/.well-known")[0]
            return Fetched(200, {}, json.dumps({**GOOD, "issuer": issuer}).encode())

        async def post(
            self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
        ) -> Fetched:
            raise FetchRefused("nothing is posted here")

    discovery = Discovery(Everybody())
    for issuer in issuers:
        await discovery.server(issuer)
    for issuer in (issuers[-1], issuers[0]):
        await discovery.server(issuer)
    assert Everybody.asked[len(issuers) :] == [f"{issuers[0]}{OAUTH}"]


async def test_an_issuer_that_an_admin_described_is_never_asked() -> None:
    described = AuthServer("https://as.example", "https://as.example/token")
    entered = {"https://as.example": described}
    assert await Discovery(GuardedFetcher(), entered.get).server("https://as.example", anew=True) is described


async def test_the_issuer_a_challenge_names_is_found_by_the_place_and_not_by_the_challenge() -> None:
    asked = challenge('Bearer authorization_uri="https://evil.example", as_uri="https://evil.example"')
    assert asked.metadata is None
