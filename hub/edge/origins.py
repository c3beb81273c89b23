"""Which `Host` and `Origin` the hub answers, and what browsers of an allowed origin are told. Pure.

The defence against DNS rebinding: a page that reaches the hub under a foreign name, or from a foreign site, is refused
before its token is looked at.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from hub.edge.request import Headers

_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"https?://(?P<host>[^/?#@\s]+)")
_TOKENS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")

_EXPOSED: Final = b"Hub-Call-Id, Mcp-Session-Id, WWW-Authenticate, Retry-After"
_METHODS: Final = b"GET, POST, DELETE, OPTIONS"


def host_name(host: str) -> str | None:
    """The name in a Host header, lower case, without port and brackets; None when it is none."""
    found = _HOST.fullmatch(host)
    return None if found is None else (found["six"] or found["name"]).lower()


def is_host_allowed(host: str | None, allowed: frozenset[str]) -> bool:
    """A missing or malformed Host is allowed only where any is."""
    if "*" in allowed:
        return True
    name = None if host is None else host_name(host)
    return name is not None and (name in allowed or f"[{name}]" in allowed)


def is_origin_allowed(origin: str, allowed: frozenset[str]) -> bool:
    """Loopback origins always are; `null` (sandboxed frames, files) only where any is."""
    if "*" in allowed or origin in allowed:
        return True
    found = _ORIGIN.fullmatch(origin)
    name = host_name(found["host"]) if found is not None else None
    return name is not None and _is_loopback(name)


def cors_headers(origin: str) -> Headers:
    """What lets a page of this allowed origin read the answer."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    )


def preflight_headers(origin: str, requested: str | None) -> Headers:
    """The answer to a browser that asks before it sends. No cookies are ever allowed."""
    named = requested is not None and _TOKENS.fullmatch(requested)
    wanted = requested.encode() if requested is not None and named else b"authorization, content-type"
    return (
        *cors_headers(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"600"),
    )


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
