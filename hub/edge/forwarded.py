"""Whose address a request comes from, when it passed proxies: what limits of failed logins are counted by.

`X-Forwarded-For` is read from right to left, as far as each hop is a proxy that the configuration trusts: what a caller
wrote there himself is never reached. Without trusted proxies the header says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from hub.edge.request import Scope

HEADER: Final = "x-forwarded-for"
MAX_HOPS: Final = 16


def caller_address(scope: Scope, headers: Mapping[str, str], trusted: tuple[str, ...]) -> str:
    """The first address, from the hub outwards, that is no trusted proxy's; empty where the server knows none."""
    client = scope.get("client")
    address: str = client[0] if client else ""
    if not trusted:
        return address
    hops = headers.get(HEADER, "").rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while hops and is_proxy(address, trusted):
        before = _plain(hops.pop())
        if before is None:  # not written by a proxy that knows how: nothing to the left of it is believed
            break
        address = before
    return address


def seen_by(scope: Scope, headers: Mapping[str, str], trusted: tuple[str, ...]) -> Scope:
    """The request as from its caller, for an app that looks at nothing but `scope["client"]`."""
    address = caller_address(scope, headers, trusted)
    client = scope.get("client")
    return scope if client is None or client[0] == address else {**scope, "client": (address, client[1])}


def is_proxy(address: str, trusted: tuple[str, ...]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in _networks(trusted))


def _plain(hop: str) -> str | None:
    """One hop without blanks, brackets and port; None when it is no address."""
    text = hop.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    parsed = _parsed(text)
    return None if parsed is None else str(parsed)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(entry) for entry in trusted)
