"""Who takes part in a login at a downstream: the server that is protected, who gives tokens for it, and the hub there.

Values only. An admin may write each by hand where nobody publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeGuard, get_args

from hub.core.connections import Method as Method

METHODS: Final[tuple[Method, ...]] = get_args(Method)  # the best first
Origin = Literal["admin", "metadata", "dynamic"]  # pre-registered, CIMD, RFC 7591
MAX_SCOPES: Final = 100  # asked for at once
MAX_SCOPE: Final = 256


@dataclass(frozen=True, slots=True)
class Place:
    """A downstream as a protected resource (RFC 9728)."""

    resource: str  # exactly as published: a parser's slash at its end would make another one of it
    issuers: tuple[str, ...]  # who gives tokens for it, the preferred one first
    scopes: tuple[str, ...] | None = None  # `scopes_supported`; None: it does not say


@dataclass(frozen=True, slots=True)
class AuthServer:
    """An authorization server by its metadata (RFC 8414)."""

    issuer: str  # byte for byte
    token_endpoint: str
    authorization_endpoint: str | None = None  # None: no person can log in there
    registration_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: frozenset[str] = frozenset()
    methods: tuple[str, ...] | None = None  # how clients authenticate at the token endpoint; None: it does not say
    grants: frozenset[str] | None = None  # None: it does not say
    is_s256: bool = False  # it says that it checks PKCE by S256
    is_cimd: bool = False  # it takes clients whose id is the address of a document
    is_naming: bool = False  # its answers name it (RFC 9207)


@dataclass(frozen=True, slots=True)
class Client:
    """What the hub is at one issuer; good at no other."""

    issuer: str
    id: str
    origin: Origin
    method: Method = "none"
    secret: str | None = field(default=None, repr=False)
    expires_at: float | None = None  # of the secret
    redirect_uris: tuple[str, ...] = ()  # as registered; empty: not known here

    def __post_init__(self) -> None:
        """Raises ValueError, in words."""
        if (self.method == "none") != (self.secret is None):
            raise ValueError("a client has a secret, or the token endpoint auth method none")


def is_scope(given: object) -> TypeGuard[str]:
    """RFC 6749 §3.3."""
    return (
        isinstance(given, str)
        and 0 < len(given) <= MAX_SCOPE
        and all("!" <= char <= "~" and char not in '"\\' for char in given)
    )
