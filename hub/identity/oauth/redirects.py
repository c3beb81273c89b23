"""Where the browser may be sent with a code: what clients may register, and when a request names one of these. Pure.

Compared character by character (OAuth 2.1 §4.1.1, RFC 9700 §4.1.3); only the port of a loopback address may differ.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

MAX_LENGTH: Final = 2048
# Apps that own a scheme of this name. Each is a program that a user chose to install; the rest need a name with a dot.
APP_SCHEMES: Final = frozenset({"cursor", "vscode", "vscode-insiders", "claude", "windsurf", "zed"})

_CHARACTERS: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})+")  # RFC 3986, no fragment
_HOST: Final = r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_WEB: Final = re.compile(rf"(?P<scheme>https?)://{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?(?P<rest>(?:[/?].*)?)")
_APP: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+-]*(?:\.[a-z0-9-]+)*):(?P<rest>.+)")
_DOTS: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_ANSWERS: Final = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})
_LITERALS: Final = frozenset({"127.0.0.1", "[::1]"})


def fault(uri: str, schemes: Collection[str] = APP_SCHEMES) -> str | None:
    """What is wrong with a redirect URI, in words; None: it may be registered."""
    if not 0 < len(uri) <= MAX_LENGTH:
        return f"a redirect URI has 1 to {MAX_LENGTH} characters"
    if _CHARACTERS.fullmatch(uri) is None:
        return "a redirect URI is printable ASCII without blanks, quotes, backslashes and fragment"
    path, _, query = uri.partition("?")
    if _DOTS.search(path):
        return "a redirect URI has no dot segments"
    if any(name in _ANSWERS for name, _ in parse_qsl(query, keep_blank_values=True)):
        return "a redirect URI does not hold the parameters of an answer already"
    web = _WEB.fullmatch(uri)
    if web is None:
        return _app_fault(uri, schemes)
    if web["port"] is not None and int(web["port"]) > 65_535:
        return "a port is a number up to 65535"
    if web["scheme"] == "http" and web["host"] not in (*_LITERALS, "localhost"):
        return "http is for this computer only (127.0.0.1, [::1], localhost): use https"
    return None


def is_one_of(uri: str, registered: Collection[str], *, native: bool) -> bool:
    """Whether a request may name it. `native`: a program without a secret, which runs on the user's computer."""
    return len(uri) <= MAX_LENGTH and (
        uri in registered or any(_differs_in_port(uri, one, native) for one in registered)
    )


def answered(uri: str, answer: Collection[tuple[str, str]]) -> str:
    """The URI with an answer's parameters behind its own."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(list(answer), quote_via=quote)}"


def _app_fault(uri: str, schemes: Collection[str]) -> str | None:
    app = _APP.fullmatch(uri)
    if app is None or app["scheme"] in ("http", "https"):
        return "a redirect URI is https://..., http:// on this computer, or of an app's own scheme"
    # RFC 8252 §7.1: a scheme of one's own is a domain name backwards; these few are older than that rule.
    if "." not in app["scheme"] and app["scheme"] not in schemes:
        return f"the scheme {app['scheme'][:40]}: is not one of an app that is known here"
    return "a redirect URI has no user part" if "@" in app["rest"] else None


def _differs_in_port(uri: str, registered: str, native: bool) -> bool:
    """RFC 8252 §7.3: programs take whatever port is free when they ask.

    That section knows IP literals only. `localhost` is added for programs without a secret, because several in the
    field register it and then listen on another port; what it gives away is a name that another program on the same
    computer could answer to, and PKCE makes a code worthless to that one.
    """
    one, other = _WEB.fullmatch(uri), _WEB.fullmatch(registered)
    if one is None or other is None or not one["scheme"] == other["scheme"] == "http":
        return False
    if one["host"] not in _LITERALS and not (native and one["host"] == "localhost"):
        return False
    return one["host"] == other["host"] and one["rest"] == other["rest"] and int(one["port"] or 80) <= 65_535
