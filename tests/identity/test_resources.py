from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.identity.oauth.resources import Resources

BASES = ("https://hub.example", "http://127.0.0.1:8080", "http://[::1]:8080")
NAMES = ("", "team", "team-2")


def resources(*bases: str) -> Resources:
    return Resources(bases or BASES, lambda: NAMES)


@pytest.mark.parametrize(
    ("resource", "endpoint"),
    [
        ("https://hub.example/mcp", ""),
        ("https://hub.example/team/mcp", "team"),
        ("http://127.0.0.1:8080/mcp", ""),
        ("http://[::1]:8080/team-2/mcp", "team-2"),
        ("HTTPS://HUB.Example/mcp", ""),
        ("https://hub.example:443/mcp", ""),
        ("https://hub.example:0443/mcp", ""),
        ("https://hub.example/mcp/", ""),
    ],
)
def test_an_address_of_ours_names_its_endpoint(resource: str, endpoint: str) -> None:
    assert resources().endpoint_of(resource) == endpoint


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "https://hub.example",
        "https://hub.example/",
        "https://hub.example/mcp//",
        "https://hub.example//mcp",
        "https://hub.example/mcp/..",
        "https://hub.example/x/../mcp",
        "https://hub.example/MCP",
        "https://hub.example/Team/mcp",
        "https://hub.example/%6Dcp",
        "https://hub.example/mcp?",
        "https://hub.example/mcp?a=b",
        "https://hub.example/mcp#",
        "https://hub.example/mcp#x",
        "https://hub.example/mcp\n",
        "https://hub.example\n/mcp",
        "\thttps://hub.example/mcp",
        "https://hub.example/mcp ",
        "https://hub.example\\/mcp",
        "https://user@hub.example/mcp",
        "https://hub.example@evil.example/mcp",
        "https://evil.example/mcp",
        "https://hub.example.evil.example/mcp",
        "https://hub.example./mcp",
        "https://hub.example:8443/mcp",
        "https://hub.example:/mcp",
        "http://hub.example/mcp",
        "http://hub.example:443/mcp",
        "https://127.0.0.1:8080/mcp",
        "http://127.0.0.1/mcp",
        "http://127.1:8080/mcp",
        "//hub.example/mcp",
        "hub.example/mcp",
        "/mcp",
        "https://hub.example/gone/mcp",
        "https://hub.example/api/v1",
        "https://hub.example/" + "a" * 3000 + "/mcp",
        "httpſ://hub.example/mcp",
        "https://hub.ex\u0430mple/mcp",
        "https://hub.example\u0000/mcp",
        "https://hub.example/mcp\ud800",
    ],
)
def test_an_address_that_only_resembles_ours_is_none(resource: str) -> None:
    assert resources().endpoint_of(resource) is None


def test_no_other_letter_passes_for_one_of_the_host() -> None:
    ours = resources("https://kiosk.example")
    assert ours.endpoint_of("https://KIOSK.example/mcp") == ""
    assert ours.endpoint_of("https://\u212aiosk.example/mcp") is None  # the Kelvin sign: lower case is k
    assert ours.of("", "\u212aiosk.example") == "https://kiosk.example/mcp"
    assert resources("https://a.example", "https://kiosk.example").of("", "\u212aiosk.example").startswith("https://a.")


def test_every_address_of_ours_names_its_endpoint_or_the_admin_api() -> None:
    ours = resources()
    named = [(ours.endpoint_of(one), ours.is_admin(one)) for one in ours.all()]
    assert named == [(name, False) for _ in BASES for name in NAMES] + [(None, True)]
    assert ours.admin_resource == "https://hub.example/api/v1"


def test_an_endpoint_that_is_gone_has_no_address() -> None:
    standing = {"", "team"}
    ours = Resources(BASES, lambda: standing)
    assert ours.endpoint_of("https://hub.example/team/mcp") == "team"
    standing.remove("team")
    assert ours.endpoint_of("https://hub.example/team/mcp") is None
    assert "https://hub.example/team/mcp" not in ours.all()


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("HUB.example", "https://hub.example"),
        ("hub.example:443", "https://hub.example"),
        ("hub.example:80", "https://hub.example"),
        ("127.0.0.1", "https://hub.example"),
        ("evil.example", "https://hub.example"),
        ("127.0.0.1:8080/x", "https://hub.example"),
        ("127.0.0.1:8080\r\nx: y", "https://hub.example"),
        ("user@127.0.0.1:8080", "https://hub.example"),
        ("", "https://hub.example"),
        ("a" * 100_000, "https://hub.example"),
        (None, "https://hub.example"),
    ],
)
def test_host_chooses_among_the_configured_bases_and_is_never_quoted(host: str | None, base: str) -> None:
    ours = resources()
    assert ours.of("team", host) == f"{base}/team/mcp"
    assert ours.metadata_url("team", host) == f"{base}/.well-known/oauth-protected-resource/team/mcp"
    assert ours.document("team", host)["resource"] == f"{base}/team/mcp"


@given(st.text())
def test_whatever_host_says_the_answer_is_one_of_ours(host: str) -> None:
    ours = resources()
    assert ours.of("", host) in ours.all()


def test_the_document_says_what_clients_need_and_no_more() -> None:
    assert resources().document("", "127.0.0.1:8080") == {
        "resource": "http://127.0.0.1:8080/mcp",
        "authorization_servers": ["https://hub.example"],
        "scopes_supported": ["mcp"],
        "bearer_methods_supported": ["header"],
        "resource_name": "MCP Hub",
    }
    assert resources().document("team", None)["resource_name"] == "MCP Hub: team"
    assert resources().admin_document()["scopes_supported"] == ["admin", "audit:read"]


def test_the_document_names_the_servers_that_were_configured() -> None:
    ours = Resources(BASES, lambda: NAMES, ("https://login.corp.example", "https://hub.example"))
    assert ours.document("", None)["authorization_servers"] == ["https://login.corp.example", "https://hub.example"]


@pytest.mark.parametrize(
    ("base", "issuer"),
    [
        ("https://hub.example/", "https://hub.example"),
        ("HTTPS://Hub.Example:443", "https://hub.example"),
        ("http://localhost:80/", "http://localhost"),
        ("https://hub.example:8443", "https://hub.example:8443"),
    ],
)
def test_the_issuer_is_one_string_without_a_slash(base: str, issuer: str) -> None:
    assert resources(base).issuer == issuer
    assert resources(base).of("", None) == f"{issuer}/mcp"


@pytest.mark.parametrize(
    "base",
    [
        "",
        "hub.example",
        "ftp://hub.example",
        "https://hub.example/x",
        "https://u:p@hub.example",
        "https://h?q",
        "https://",
    ],
)
def test_what_is_no_origin_is_no_base(base: str) -> None:
    with pytest.raises(ValueError, match="no public address"):
        resources(base)


def test_a_hub_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Resources((), lambda: NAMES)
