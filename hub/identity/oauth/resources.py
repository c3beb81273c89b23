"""The hub's own addresses, as clients and tokens name them. All from configuration: `Host` only chooses among them.

Pure. A token is for one of these addresses or for none of ours (RFC 8707); what says where to get one stands at the
address that RFC 9728 derives from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final

from hub.core.call import Json

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
ADMIN_PATH: Final = "/api/v1"
MAX_LENGTH: Final = 2048  # of an address that somebody names
MCP_SCOPES: Final = ("mcp",)
ADMIN_SCOPES: Final = ("admin", "audit:read")

# Printable ASCII throughout: `urlsplit` would drop tabs and line ends, and find an address that was not written.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~%!$&'()*+,;=:@-]*)*)",
    re.IGNORECASE | re.ASCII,  # else the Kelvin sign is a k
)
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?", re.I | re.A
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Resources:
    """The endpoints under each of the hub's public addresses, and the admin API under the first."""

    def __init__(
        self,
        bases: tuple[str, ...],
        endpoints: Callable[[], Collection[str]],
        authorization_servers: tuple[str, ...] = (),
    ) -> None:
        """`bases` are origins ("https://hub.example.com"), the first one the issuer's; `endpoints` gives the names of
        those that stand now, "" for the default one. `authorization_servers` are named in the metadata; none: the hub
        itself.

        Raises ValueError, in words, for what is no origin.
        """
        if not bases:
            raise ValueError("the hub needs at least one public address, as in http://127.0.0.1:8080")
        self._bases = tuple(dict.fromkeys(_origin(base) for base in bases))
        self._endpoints = endpoints
        self._servers = authorization_servers or (self._bases[0],)
        self._by_authority: dict[tuple[str, str], str] = {}
        for base in self._bases:
            scheme, _, authority = base.partition("://")
            self._by_authority.setdefault(_split(authority, scheme), base)

    @property
    def issuer(self) -> str:
        """Compared byte for byte by clients (RFC 9207 §2.4): this one string everywhere, without a trailing slash."""
        return self._bases[0]

    @property
    def admin_resource(self) -> str:
        return self._bases[0] + ADMIN_PATH

    def all(self) -> tuple[str, ...]:
        """Every endpoint at every base, and the admin API; the first base first."""
        endpoints = sorted(self._endpoints())
        return (*(base + _path(name) for base in self._bases for name in endpoints), self.admin_resource)

    def endpoint_of(self, resource: str) -> str | None:
        """The endpoint that stands at this address; None: none of ours.

        Scheme and host compare in any case and a port that goes without saying may be said (RFC 3986 §6.2); one slash
        may trail. Anything else has to be the very characters.
        """
        path = self._path_of(resource)
        if path is None:
            return None
        for name in self._endpoints():
            if path == _path(name):
                return name
        return None

    def is_admin(self, resource: str) -> bool:
        """Whether this address is the admin API's, by the same rules."""
        return self._path_of(resource) == ADMIN_PATH

    def of(self, endpoint: str, host_header: str | None) -> str:
        """The endpoint's address at the base that was called; at the first, where `Host` names none of ours."""
        return self._base(host_header) + _path(endpoint)

    def metadata_url(self, endpoint: str, host: str | None) -> str:
        """Where its metadata stands: between host and path (RFC 9728 §3.1)."""
        return self._base(host) + WELL_KNOWN + _path(endpoint)

    def document(self, endpoint: str, host: str | None) -> Json:
        """RFC 9728 §2. `resource` is what was typed to get here: clients compare it."""
        return self._document(self.of(endpoint, host), MCP_SCOPES, f"MCP Hub: {endpoint}" if endpoint else "MCP Hub")

    def admin_document(self) -> Json:
        return self._document(self.admin_resource, ADMIN_SCOPES, "MCP Hub: administration")

    def _document(self, resource: str, scopes: tuple[str, ...], name: str) -> dict[str, Any]:
        return {
            "resource": resource,
            "authorization_servers": list(self._servers),
            "scopes_supported": list(scopes),  # never offline_access: that is between client and its server
            "bearer_methods_supported": ["header"],
            "resource_name": name,
        }

    def _base(self, host: str | None) -> str:
        """Schemes differ in the port that is left out of `Host`, so each is tried; the first base wins a tie."""
        if host is None or len(host) > MAX_LENGTH or _AUTHORITY.fullmatch(host) is None:
            return self._bases[0]
        found = {self._by_authority.get(_split(host, scheme)) for scheme in _DEFAULT_PORTS}
        return next((base for base in self._bases if base in found), self._bases[0])

    def _path_of(self, resource: str) -> str | None:
        """Of an address at one of our bases, without one trailing slash."""
        found = _ADDRESS.fullmatch(resource) if len(resource) <= MAX_LENGTH else None
        if found is None or _normal(found) not in self._bases:
            return None
        return found["path"].removesuffix("/")


def _path(endpoint: str) -> str:
    return f"/{endpoint}/mcp" if endpoint else "/mcp"


def _origin(base: str) -> str:
    found = _ADDRESS.fullmatch(base)
    if found is None or found["path"] not in ("", "/"):
        raise ValueError(
            f"{base[:200]!r} is no public address of a hub: write scheme, host and port alone, as in "
            "https://hub.example.com or http://127.0.0.1:8080"
        )
    return _normal(found)


def _normal(found: re.Match[str]) -> str:
    scheme = found["scheme"].lower()
    host, port = _parts(found, scheme)
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _split(authority: str, scheme: str) -> tuple[str, str]:
    found = _AUTHORITY.fullmatch(authority)
    return ("", "") if found is None else _parts(found, scheme)


def _parts(found: re.Match[str], scheme: str) -> tuple[str, str]:
    """Host and port as they compare; leading zeros of a port mean nothing."""
    return found["host"].lower(), str(int(found["port"])) if found["port"] else _DEFAULT_PORTS[scheme]
