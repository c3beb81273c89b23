"""What the hub holds to speak at downstreams for somebody: the rows as stored, and the store that keeps them.

Times are seconds since 1970. Tokens and client secrets stand in no row in plain, only sealed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from hub.core.call import Json

SHARED: Final = ""  # the user of what everybody uses

GrantKind = Literal["code", "client_credentials"]  # a person logged in; the hub asks in its own name
Method = Literal["client_secret_basic", "client_secret_post", "none"]
Ended = Literal["invalid_grant", "invalid_client", "rejected"]
"""Why nothing can be renewed: the issuer ended the grant, it does not know the hub's client any more, or the downstream
takes no token of it."""


@dataclass(frozen=True, slots=True)
class EnteredClient:
    """An app that an admin registered for the hub, where the issuer registers none by itself."""

    id: str
    secret: str | None = field(default=None, repr=False)
    method: Method = "none"  # how it says who it is; "none" without a secret, and only then


@dataclass(frozen=True, slots=True)
class ServerAuth:
    """How the hub gets tokens for one server: what an admin entered. All else the server and its issuer say."""

    account: Literal["user", "shared"] = "user"  # everybody's own account there, or one for all that an admin logs in
    grant: GrantKind = "code"
    client: EnteredClient | None = None
    issuer: str | None = None  # None: as the server says
    resource: str | None = None  # None: as the server says
    scopes: tuple[str, ...] = ()  # asked for in the place of what the server lists
    authorization_endpoint: str | None = None  # of an issuer that publishes no metadata; they need `issuer`
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One account that the hub speaks with at one downstream, for one user or for everybody."""

    tenant: str
    id: str  # "o" and 16 hex digits; never used again
    user: str  # UserRow.id, or SHARED
    server: str
    issuer: str  # the authorization server, as it names itself
    resource: str  # the one audience of its tokens (RFC 8707)
    label: str  # tells several accounts of one user at one place apart; "" is as good as any
    client: str  # the client_id it was granted to: its registration is (issuer, client)
    scopes: tuple[str, ...]
    sealed: bytes = field(repr=False)  # the tokens; bound to who, where and `version`
    created_at: float  # of the login that stands
    obtained_at: float  # when the access token came
    expires_at: float | None  # of the access token; None: its issuer did not say
    chosen_at: float  # of several accounts for one place, the one chosen last is used
    version: int = 1  # one more with each change
    grant: GrantKind = "code"
    account: str | None = None  # who one is there, as the issuer said: for people to read
    ended: Ended | None = None  # a login is needed
    ended_at: float | None = None
    renewing_by: str | None = None  # the hub that asks for new tokens now, which nobody else may do meanwhile
    renewing_until: float | None = None


@dataclass(frozen=True, slots=True)
class RegistrationRow:
    """A client that the hub is at one issuer; an issuer may know several, of which logins use one."""

    tenant: str
    issuer: str
    client: str  # the client_id
    origin: Literal["admin", "metadata", "dynamic"]  # pre-registered, CIMD, RFC 7591
    metadata: Json  # as registered: redirect_uris, token_endpoint_auth_method, ...; no secret
    created_at: float
    version: int = 1  # one more with each change
    sealed: bytes | None = field(default=None, repr=False)  # the client secret; None: a public client
    expires_at: float | None = None  # of the secret
    refused_at: float | None = None  # the issuer said `invalid_client`: no login may use it any more


class ConnectionStore(Protocol):
    """Connections and the hub's registrations. Every write is atomic and durable when it returns."""

    async def all(self, tenant: str) -> tuple[ConnectionRow, ...]:
        """By age and id."""

    async def one(self, tenant: str, id: str) -> ConnectionRow | None:
        """As it is now, whoever wrote it."""

    async def put(self, row: ConnectionRow, expected: int | None) -> None:
        """Insert (`expected` None) or replace the row of that version.

        Raises `hub.core.ports.Conflict` when the version differs, and KeyError when another row has the same user,
        server, issuer, resource and label.
        """

    async def remove(self, tenant: str, id: str) -> ConnectionRow | None:
        """What was stored, whatever its version; None when there was none."""

    async def registrations(self, tenant: str) -> tuple[RegistrationRow, ...]:
        """By age, issuer and client."""

    async def put_registration(self, row: RegistrationRow, expected: int | None) -> None:
        """Insert (`expected` None) or replace, by issuer and client. Raises `Conflict` when the version differs."""

    async def remove_registration(self, tenant: str, issuer: str, client: str) -> None: ...
