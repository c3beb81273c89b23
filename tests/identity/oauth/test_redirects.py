from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.identity.oauth.redirects import answered, fault, is_one_of

REGISTERED = (
    "https://client.example.com/cb",
    "https://client.example.com:8443/a/b?x=1&y=%2F",
    "http://127.0.0.1:33418/cb",
    "http://127.0.0.1/",
    "http://[::1]:1234/cb?a=b",
    "http://localhost:8787/callback",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "com.example.app:/oauth",
)
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:[1-9][0-9]{0,4})?((?:[/?].*)?)")
BITS = (
    "@",
    ":",
    "/",
    "//",
    "\\",
    "?",
    "#",
    ".",
    "..",
    "/../",
    "%2e",
    "%2F",
    "%00",
    "\x00",
    "\t",
    "\n",
    " ",
    "A",
    "a",
    "0",
    "1",
    ":80",
    ":443",
    ":0",
    ":99999",
    "evil.example.com",
    "@evil.example.com",
    ".evil.example.com",
    "https://",
    "javascript:",
    "%",
    "\u0430",
    "\u3002",
    "\uff0e",
    "[",
    "]",
    "&",
    "=",
    ";",
    "'",
    '"',
    "<",
    "127.0.0.1",
    "localhost",
    "2130706433",
    "[::ffff:127.0.0.1]",
)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """One of the registered URIs, changed in one to four places."""
    uri = draw(st.sampled_from(REGISTERED))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(uri)))
        match draw(st.integers(0, 4)):
            case 0:
                uri = uri[:at] + draw(st.sampled_from(BITS)) + uri[at:]
            case 1:
                uri = uri[:at] + uri[at + draw(st.integers(1, 3)) :]
            case 2:
                uri = uri[:at] + uri[at:].swapcase()
            case 3:
                uri = uri[:at] + draw(st.characters()) + uri[at + 1 :]
            case _:
                port = draw(st.integers(0, 70_000))
                uri = re.sub(r"(?<=[\]a-z0-9]):[0-9]+(?=[/?])", f":{port}", uri)
    return uri


def parts(uri: str) -> tuple[str, str] | None:
    """Host and rest of an address on this computer, the port left out: written again here, to judge the judge."""
    found = LOOPBACK.fullmatch(uri)
    if found is None or (found[2] and int(found[2][1:]) > 65_535):
        return None
    return found[1], found[3]


@settings(max_examples=3000, deadline=None)
@given(mutations())
def test_check_10_no_mutation_of_a_registered_uri_is_taken_but_another_port_on_this_computer(uri: str) -> None:
    same = parts(uri)
    expected = uri in REGISTERED or (same is not None and same in [parts(one) for one in REGISTERED])
    assert is_one_of(uri, REGISTERED, native=True) == expected
    if expected:
        assert fault(uri) is None


@settings(max_examples=500, deadline=None)
@given(mutations())
def test_check_10_a_program_with_a_secret_gets_no_other_port_of_localhost(uri: str) -> None:
    if is_one_of(uri, REGISTERED, native=False) and uri not in REGISTERED:
        assert uri.startswith(("http://127.0.0.1", "http://[::1]"))


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("http://127.0.0.1:1/cb", True),
        ("http://127.0.0.1:65535/cb", True),
        ("http://127.0.0.1/cb", True),
        ("http://127.0.0.1:65536/cb", False),
        ("http://127.0.0.1:0/cb", False),
        ("http://127.0.0.1:0080/cb", False),
        ("http://127.0.0.1:1/cb/", False),
        ("http://127.0.0.1:1/cb?x", False),
        ("http://127.0.0.2:33418/cb", False),
        ("http://[::1]:33418/cb", False),
        ("http://localhost:33418/cb", False),
        ("http://127.0.0.1:33418@evil.example.com/cb", False),
        ("http://127.0.0.1.evil.example.com/cb", False),
        ("https://127.0.0.1:33418/cb", False),
        ("HTTP://127.0.0.1:33418/cb", False),
        ("http://127.0.0.1:33418/%63b", False),
        ("http://127.0.0.1:33418\\@evil.example.com/cb", False),
    ],
)
def test_check_10_loopback(uri: str, taken: bool) -> None:
    assert is_one_of(uri, ["http://127.0.0.1:33418/cb"], native=True) is taken


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,hi",
        "file:///etc/passwd",
        "vbscript:x",
        "blob:x",
        "about:blank",
        "http://client.example.com/cb",
        "http://127.0.0.2/cb",
        "http://0.0.0.0/cb",
        "http://[::]/cb",
        "http://localhost.evil.example.com/",
        "http://127.0.0.1@evil.example.com/",
        "https://a@b.example.com/",
        "https:///cb",
        "https://",
        "https:cb",
        "https://x.example.com/#",
        "https://x.example.com/a#b",
        "https://x.example.com/ ",
        "https://x.example.com/\n",
        "https://x.example.com\\.evil.example.com/",
        "https://x.example.com/..",
        "https://x.example.com/%2E%2e/a",
        "https://x.example.com/%zz",
        "https://x.example.com:/",
        "https://x.example.com:0/",
        "https://x.example.com:99999/",
        "https://\u0430.example.com/",
        "https://x.example.com/?code=1",
        "https://x.example.com/?a=1&state=",
        "cursor:",
        "CURSOR://x",
        "unknown://x",
        "com.example:x@y",
        "",
        "x" * 2049,
        "*",
        "https://*.example.com/cb",
        "mailto:a",
        "ms-settings:x",
        "shell:x",
        "view-source:https://x.example.com",
    ],
)
def test_what_may_not_be_registered(uri: str) -> None:
    assert fault(uri) is not None


@pytest.mark.parametrize(
    "uri",
    [
        *REGISTERED,
        "https://claude.ai/api/mcp/auth_callback",
        "https://vscode.dev/redirect",
        "vscode://x.y/cb",
        "https://192.0.2.1/cb",
        "claude://cb",
        "windsurf://x",
        "zed://x",
        "https://[2001:db8::1]:8443/cb",
        "https://x.example.com",
        "https://x.example.com/@me",
    ],
)
def test_what_may_be_registered(uri: str) -> None:
    assert fault(uri) is None


def test_an_answer_is_escaped() -> None:
    assert answered("a:/b?c=d", [("state", "x&code=evil#\r\n é")]) == "a:/b?c=d&state=x%26code%3Devil%23%0D%0A%20%C3%A9"
