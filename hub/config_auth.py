"""`public_url` and the `auth` section: at which address people and programs log in, and what users may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from hub.config_issuers import read_fetch_local, read_issuers, read_sso
from hub.config_section import Section
from hub.config_servers import Entries
from hub.core.addresses import fit_url
from hub.core.call import Grants
from hub.core.names import SERVER_ID
from hub.identity.issuers import Issuer
from hub.identity.oauth.provider import Provider
from hub.identity.roles import Role

ACCESS_S: Final = 600  # of an access token: so long at most does a copy of one open anything
REFRESH_DAYS: Final = 30  # of a login, however often it was refreshed
MAX_ROLES: Final = 200
_SCOPES: Final = frozenset(("mcp", "admin", "audit:read"))
_ROLE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_GLOB: Final = re.compile(r"[\x21-\x7e]{1,128}")
_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")  # the second of an IPv6 address, without brackets
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_UNBUILT: Final = {
    "saml": "logging in by SAML",
}
_FOREIGN: Final = {"oidc": "is called sso here"}


@dataclass(frozen=True, slots=True)
class Auth:
    login: bool = True  # the hub's own login pages and authorization server
    device: bool = True  # logins of programs that have no browser (RFC 8628)
    registration: bool = True  # programs may register themselves (RFC 7591): today's clients need it
    access_s: int = ACCESS_S
    refresh_days: int = REFRESH_DAYS
    roles: Mapping[str, Role] = field(default_factory=dict)  # beside the built-in ones, or in their place
    issuers: tuple[Issuer, ...] = ()  # whose tokens open the hub, beside its own
    sso: Provider | None = None  # at whose login people may log in
    fetch_local: tuple[str, ...] = ()  # private hosts and networks that the hub may ask for keys, metadata, documents
    client_document_url: str | None = None  # where issuers find the hub's client document; None: at public_url


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


def public_host(public_url: str | None) -> frozenset[str]:
    """The name in it, as `Host` has it; empty without one."""
    return frozenset() if public_url is None else frozenset((urlsplit(public_url).hostname or "",))


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no URL, such as https://hub.example.com"
    if parts.scheme not in ("http", "https") or not url.isascii() or not _HOST.fullmatch(parts.hostname or ""):
        return "is no URL, such as https://hub.example.com"
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        return "must be scheme, host and port only, such as https://hub.example.com"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "must begin with https://: tokens would cross the network in the clear"
    return None


def read_auth(top: Section, entries: Entries) -> Auth:
    """`entries` resolve the secrets."""
    section = top.section("auth")
    roles = _roles(section.section("roles"))
    made = Auth(
        login=section.flag("login", True),
        device=section.flag("device", True),
        registration=section.flag("registration", True),
        access_s=section.whole("access_s", ACCESS_S, 60, 3600),
        refresh_days=section.whole("refresh_days", REFRESH_DAYS, 1, 365),
        roles=roles,
        issuers=read_issuers(section, entries, roles),
        sso=read_sso(section, entries, roles),
        fetch_local=read_fetch_local(section),
        client_document_url=_document_url(section),
    )
    if made.sso is not None and not made.login:
        section.fault("sso", "is a way to log in at the hub, and login is false")
    section.close(_UNBUILT, _FOREIGN)
    return made


def _document_url(section: Section) -> str | None:
    """A client id that is an address has a path (CIMD §3)."""
    given = section.text("client_document_url", None)
    if given is None:
        return None
    try:
        target = fit_url(given)
    except ValueError as exc:
        section.fault("client_document_url", str(exc))
        return None
    if target.path_and_query == "/" or "?" in target.path_and_query or not given.startswith("https://"):
        section.fault(
            "client_document_url", "must be https:// with a path and no query, such as https://www.example.com/hub.json"
        )
        return None
    return given


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
    given = entry.texts("scopes")
    scopes = frozenset(("mcp",) if given is None else given)
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
