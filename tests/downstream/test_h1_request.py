"""Request heads: one meaning only, whatever the configuration or a call puts into them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.downstream.h1_request import Target, check_configured, header_lines, parse_url, resolve


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("http://Example.com/mcp", Target("example.com", 80, False, "/mcp"), "example.com"),
        ("https://example.com", Target("example.com", 443, True, "/"), "example.com"),
        ("https://example.com:8443/a?b=c", Target("example.com", 8443, True, "/a?b=c"), "example.com:8443"),
        ("http://[::1]:9/x", Target("::1", 9, False, "/x"), "[::1]:9"),
        (
            "http://bücher.example/ä b",
            Target("xn--bcher-kva.example", 80, False, "/%C3%A4%20b"),
            "xn--bcher-kva.example",
        ),
        ("http://e/a%20b#frag", Target("e", 80, False, "/a%20b"), "e"),
    ],
)
def test_url_becomes_its_target(url: str, target: Target, authority: str) -> None:
    assert parse_url(url) == target
    assert parse_url(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "example.com/mcp",
        "http://",
        "http://x:99999/",
        "http://a b/",
        "http://x:y@h/",
        "http://u@h/",
        "http://\ud800/",
    ],
)
def test_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_url(url)


def test_refusal_of_a_url_repeats_no_credential() -> None:
    with pytest.raises(ValueError, match="headers") as caught:
        parse_url("http://me:hunter2@host/")
    assert "hunter2" not in str(caught.value)


def test_reference_is_resolved_against_its_document() -> None:
    assert resolve("http://h:1/sse", "/messages?x=1") == Target("h", 1, False, "/messages?x=1")
    assert not resolve("http://h:1/sse", "//evil/m").same_origin(parse_url("http://h:1/"))
    assert resolve("http://h:1/sse", "http://H:1/m").same_origin(parse_url("http://h:1/sse"))


@pytest.mark.parametrize("name", ["", "a b", "a\r\n", "a:", "é", "a\0"])
def test_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        header_lines({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "\0", " a", "a\t", "é", "a\x7f"])
def test_value_that_could_end_its_line_is_refused_unquoted(value: str) -> None:
    with pytest.raises(ValueError, match="X-Key") as caught:
        header_lines({"X-Key": value})
    assert "x: y" not in str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=12), max_size=4))
def test_no_header_ever_makes_a_second_line(headers: dict[str, str]) -> None:
    try:
        lines = header_lines(headers)
    except ValueError:
        return
    assert lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n") == len(headers)


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Mcp-Session-Id", "Accept", "Connection"]
)
def test_configured_header_cannot_speak_for_the_hub(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check_configured({name: "x"})


def test_configured_credential_passes() -> None:
    check_configured({"Authorization": "Bearer x", "X-Api-Key": "", "X-Blank": "a b"})


def test_head_is_one_request() -> None:
    head = Target("h", 80, False, "/p").head("GET", {"a": "b"})
    assert head == b"GET /p HTTP/1.1\r\nhost: h\r\na: b\r\n"
