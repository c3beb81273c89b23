"""`public_url` and the `auth` section: at which address people and programs log in, and what users may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from hub.config_section import Section
from hub.core.call import Grants
from hub.core.names import SERVER_ID
from hub.identity.roles import Role

ACCESS_S: Final = 600  # of an access token: so long at most does a copy of one open anything
REFRESH_DAYS: Final = 30  # of a login, however often it was refreshed
MAX_ROLES: Final = 200
_SCOPES: Final = frozenset(("mcp", "admin", "audit:read"))
_ROLE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_GLOB: Final = re.compile(r"[\x21-\x7e]{1,128}")
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_UNBUILT: Final = {
    "sso": "logging in at another provider",
    "issuers": "tokens of other issuers",
    "oidc": "logging in at another provider",
    "saml": "logging in at another provider",
}


@dataclass(frozen=True, slots=True)
class Auth:
    login: bool = True  # the hub's own login pages and authorization server
    registration: bool = True  # programs may register themselves (RFC 7591): today's clients need it
    access_s: int = ACCESS_S
    refresh_days: int = REFRESH_DAYS
    roles: Mapping[str, Role] = field(default_factory=dict)  # beside the built-in ones, or in their place


def read_public_url(top: Section) -> str | None:
    """The address clients type, without the path: `https://hub.example.com`. Metadata and tokens name it."""
    given = top.text("public_url", None)
    if given is None:
        return None
    problem = _url_problem(given)
    if problem is not None:
        top.fault("public_url", problem)
        return None
    parts = urlsplit(given)
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no URL, such as https://hub.example.com"
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        return "is no URL, such as https://hub.example.com"
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        return "must be scheme, host and port only, such as https://hub.example.com"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "must begin with https://: tokens would cross the network in the clear"
    return None


def read_auth(top: Section) -> Auth:
    section = top.section("auth")
    made = Auth(
        login=section.flag("login", True),
        registration=section.flag("registration", True),
        access_s=section.whole("access_s", ACCESS_S, 60, 3600),
        refresh_days=section.whole("refresh_days", REFRESH_DAYS, 1, 365),
        roles=_roles(section.section("roles")),
    )
    section.close(_UNBUILT)
    return made


def _roles(section: Section) -> dict[str, Role]:
    found = section.sections()
    if len(found) > MAX_ROLES:
        section.fault(None, f"must be {MAX_ROLES} at most")
    roles = {}
    for name, entry in found[:MAX_ROLES]:
        if not _ROLE_NAME.fullmatch(name):
            entry.fault(None, "must begin with a lower-case letter, then letters, digits, _ or -, 32 at most")
        roles[name] = _role(name, entry)
        entry.close()
    return roles


def _role(name: str, entry: Section) -> Role:
    scopes = frozenset(entry.texts("scopes") or ("mcp",))
    for scope in sorted(scopes - _SCOPES):
        entry.fault("scopes", f"{scope!r} is none of {', '.join(sorted(_SCOPES))}")
    servers, tools = entry.texts("servers"), entry.texts("tools")
    for server in servers or ():
        if server != "*" and not SERVER_ID.fullmatch(server):
            entry.fault("servers", f'{server!r} is no server id, nor "*"')
    for glob in tools or ():
        if not _GLOB.fullmatch(glob):
            entry.fault("tools", f"{glob!r} is no pattern of tool names")
    return Role(name, scopes & _SCOPES, Grants(None if servers is None else frozenset(servers), tools))


def rules_of(auth: Auth) -> list[object]:
    """The part of the policy version that roles make."""
    return [
        [name, sorted(role.scopes), None if (of := role.grants.servers) is None else sorted(of), role.grants.tools]
        for name, role in sorted(auth.roles.items())
    ]


def bases(public_url: str | None, listen_loopback: bool, port: int) -> tuple[str, ...]:
    """Every address this hub may be called by, the one it calls itself by first. None: nobody can log in here.

    On loopback, people type any of the three names of this machine, and clients compare what they typed.
    """
    own = (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"http://[::1]:{port}") if listen_loopback else ()
    return tuple(dict.fromkeys((public_url, *own) if public_url is not None else own))
