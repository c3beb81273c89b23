"""What a person is told of a client before saying yes. Pure.

Everything that a client says of itself is hostile: it is cut, stripped of what reorders or hides text, and said to be
its own word. What was checked is the host of its document and where the answer goes.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from hub.edge.oauth_ports import Addresses
from hub.identity.oauth.asked import Login, OAuthClient, Wish

NAME_LENGTH: Final = 80
_MARKS: Final = 2  # combining marks in a row; more of them overflow into the lines around

_WHOLE: Final = {
    "mcp": "Use every tool, prompt and resource that you may use here",
    "admin": "Administer this hub: its servers, keys and users",
    "audit:read": "Read the log of everybody's calls",
    "offline_access": "Stay connected while you are away",
}
_STRONG: Final = frozenset({"admin", "audit:read"})


@dataclass(frozen=True, slots=True)
class Right:
    words: str
    names: tuple[str, ...] = ()  # what it is limited to
    is_strong: bool = False


def plain(text: str, length: int = NAME_LENGTH) -> str:
    """One line of what can be seen. Control, bidi, zero-width and unassigned characters are gone."""
    kept: list[str] = []
    marks = 0
    for char in text[: length * 20]:
        kind = unicodedata.category(char)
        if char.isspace():
            char, marks = " ", 0
        elif kind[0] == "C":
            continue
        elif kind[0] == "M":
            marks += 1
            if marks > _MARKS:
                continue
        else:
            marks = 0
        kept.append(char)
    line = " ".join("".join(kept).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def name_of(client: OAuthClient) -> str:
    return plain(client.name) or "an app without a name"


def maker_of(client: OAuthClient) -> str:
    """Who stands for the client, as far as the hub knows."""
    if client.origin == "cimd":
        return plain(client.host or host_of(client.id), 253)
    return "an administrator of this hub" if client.origin == "admin" else "a program that registered itself"


def place_of(redirect_uri: str) -> str:
    """Where the answer goes."""
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https"):
        return f"the app that opens {plain(parts.scheme, 40)}://"
    if _is_loopback(parts.hostname or ""):
        return "a program on this computer"
    return host_of(redirect_uri)


def host_of(url: str) -> str:
    """The host of an address as ASCII, with a port that is not the usual one: no letter looks like another."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        return "an address that cannot be read"
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return plain(host if port in (None, usual) else f"{host}:{port}", 260)


def rights_of(scopes: tuple[str, ...]) -> tuple[Right, ...]:
    """The scopes in words: what narrows stands together, what is strong is marked and comes last."""
    servers = tuple(plain(s.removeprefix("mcp:server:")) for s in scopes if s.startswith("mcp:server:"))
    tools = tuple(plain(s.removeprefix("mcp:tool:")) for s in scopes if s.startswith("mcp:tool:"))
    found: list[Right] = []
    if servers and "*" not in servers:
        found.append(Right("Use what these servers offer you", servers))
    if tools:
        found.append(Right("Use only these tools" if found else "Use these tools", tools))
    whole = {s for s in scopes if not s.startswith(("mcp:server:", "mcp:tool:"))} | (
        {"mcp"} if "*" in servers else set()
    )
    if found:
        whole.discard("mcp")  # it is narrowed by what was named beside it
    for scope in sorted(whole, key=lambda scope: (scope in _STRONG, scope)):
        words = _WHOLE.get(scope)
        found.append(Right(words, (), scope in _STRONG) if words else Right("Something else", (plain(scope),), True))
    return tuple(found)


def asked_of(wish: Wish, login: Login, resources: Addresses) -> dict[str, Any]:
    """What every page that asks for a yes says, whatever way the client came."""
    return {
        "app": name_of(wish.client),
        "maker": maker_of(wish.client),
        "is_checked": wish.client.origin != "dynamic",
        "rights": rights_of(wish.scopes),
        "endpoint": endpoint_of(wish, resources),
        "resource": wish.resource,
        "user": login.user.name,
        "display": plain(login.user.display or ""),
    }


def endpoint_of(wish: Wish, resources: Addresses) -> str:
    """Which door of the hub the tokens open."""
    return door_of(wish.resource, resources)


def door_of(resource: str, resources: Addresses) -> str:
    if resources.is_admin(resource):
        return "its administration"
    name = resources.endpoint_of(resource)
    return f"its endpoint “{name}”" if name else "its main endpoint"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
