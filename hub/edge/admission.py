"""Whose request this is: the bearer token of its headers, and what a caller without a good one is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from hub.core.call import Principal
from hub.core.ports import Surface
from hub.edge.forwarded import caller_address
from hub.edge.logins import FailedLogins
from hub.edge.ports import EdgePorts
from hub.edge.request import Headers, Scope

ENTRY: Final = "mcp"  # the scope that calls need
_REALM: Final = 'Bearer realm="mcp-hub"'


class Published(Protocol):
    """Where clients read how to get a token (RFC 9728)."""

    def metadata_url(self, endpoint: str, host: str | None) -> str: ...


class Admission:
    def __init__(self, ports: EdgePorts, logins: FailedLogins, published: Published | None) -> None:
        """`published` None: nobody gives out tokens for this hub."""
        self._ports, self._logins, self._published = ports, logins, published

    async def caller(self, headers: Mapping[str, str], surface: Surface, endpoint: str) -> Principal | None:
        """The verified caller, with a credential that is meant for this endpoint, or for the admin API."""
        token = bearer(headers)
        if not token:
            return None
        authenticator = self._ports.authenticator
        who = authenticator.verify(token, surface) or await authenticator.admit(token)
        return who if who is not None and meant_for(who, surface, endpoint) else None

    def refusal(self, headers: Mapping[str, str], scope: Scope, surface: Surface, endpoint: str) -> tuple[str, Headers]:
        """The rejection of a request without a caller, and its headers. Counts the failure."""
        address = caller_address(scope, headers, self._ports.limits.trusted_proxies)
        if "authorization" not in headers:
            self._logins.absent(address)
        elif (wait_s := self._logins.failed(address)) > 0:
            return "too_many_logins", ((b"retry-after", str(int(wait_s) + 1).encode()),)
        wrong = ', error="invalid_token"' if bearer(headers) else ""
        return "unauthenticated", (self._challenge(wrong, headers, surface, endpoint),)

    def without_scope(self, headers: Mapping[str, str], endpoint: str) -> Headers:
        """For a caller whose credential may not call (RFC 6750 3.1): names all that calls need."""
        return (self._challenge(', error="insufficient_scope"', headers, "mcp", endpoint),)

    def _challenge(
        self, error: str, headers: Mapping[str, str], surface: Surface, endpoint: str
    ) -> tuple[bytes, bytes]:
        text = _REALM + error
        if surface == "mcp":
            text += f', scope="{ENTRY}"'
            if self._published is not None:
                text += f', resource_metadata="{self._published.metadata_url(endpoint, headers.get("host"))}"'
        return b"www-authenticate", text.encode("latin-1")


def bearer(headers: Mapping[str, str]) -> str:
    """The token of a bearer header; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def meant_for(who: Principal, surface: Surface, endpoint: str) -> bool:
    """Whether the credential was issued for what is asked: a token for one endpoint opens no other (RFC 8707)."""
    endpoints = who.endpoints
    if endpoints is None:
        return True
    return endpoint in endpoints if surface == "mcp" else not endpoints
