from __future__ import annotations

import pytest

from hub.edge.origins import cors_headers, is_host_allowed, is_origin_allowed, preflight_headers

HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "hub.example"})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8700", "localhost:1", "LOCALHOST:8700", "[::1]", "[::1]:8700", "hub.example:443"]
)
def test_a_host_is_compared_without_its_port(host: str) -> None:
    assert is_host_allowed(host, HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:127.0.0.1",
        "hub.example.",
        "hub.example@evil.example",
        "127.0.0.1:8700, evil.example",
        "127.0.0.1:",
        "127.0.0.1:x",
        "[::1",
        "::1",
        "a/../hub.example",
    ],
)
def test_a_foreign_or_malformed_host_is_not_allowed(host: str | None) -> None:
    assert not is_host_allowed(host, HOSTS)


def test_any_host_is_allowed_where_any_is() -> None:
    assert is_host_allowed(None, frozenset({"*"}))
    assert is_host_allowed("[::1]:1", frozenset({"[::1]"}))


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:6274", "http://127.0.0.1", "https://127.8.8.8:1", "http://[::1]:3000", "https://app.example"],
)
def test_loopback_and_listed_origins_are_allowed(origin: str) -> None:
    assert is_origin_allowed(origin, frozenset({"https://app.example"}))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://127.1",
        "file://localhost",
        "http://[::2]",
        "http://localhost/path",
    ],
)
def test_other_origins_are_not(origin: str) -> None:
    assert not is_origin_allowed(origin, frozenset({"https://app.example"}))


def test_any_origin_is_allowed_where_any_is() -> None:
    assert is_origin_allowed("null", frozenset({"*"}))


def test_a_page_may_read_what_the_hub_says_but_never_with_cookies() -> None:
    told = dict(cors_headers("http://localhost"))
    assert told[b"access-control-allow-origin"] == b"http://localhost"
    assert told[b"vary"] == b"Origin"
    assert b"Hub-Call-Id" in told[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    ("requested", "allowed"),
    [
        ("authorization, mcp-param-region", b"authorization, mcp-param-region"),
        (None, b"authorization, content-type"),
        ("x\r\nset-cookie: a=b", b"authorization, content-type"),
        ("x" * 3000, b"authorization, content-type"),
    ],
)
def test_a_preflight_allows_the_headers_it_asks_for(requested: str | None, allowed: bytes) -> None:
    told = dict(preflight_headers("http://localhost", requested))
    assert told[b"access-control-allow-headers"] == allowed
    assert b"DELETE" in told[b"access-control-allow-methods"]
