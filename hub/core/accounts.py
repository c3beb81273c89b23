"""Users, OAuth clients and what users granted them: the rows as stored, and the stores that keep them.

Times are seconds since 1970. Secrets stand in no row in plain: passwords as argon2id, tokens and codes as SHA-256 in
hex, what must be read again sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hub.core.call import Json

Strength = Literal["password", "otp", "sso"]  # how a user proved to be one; "otp": password and one-time code


@dataclass(frozen=True, slots=True)
class UserRow:
    tenant: str
    id: str  # "u" and 16 hex digits; never used again
    name: str  # what is typed at the login page, lower case; one live user has it
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    created_at: float
    version: int = 1  # one more with each change
    display: str | None = None
    email: str | None = None
    password: str | None = None  # argon2id in PHC format; None: cannot log in by password
    otp: bytes | None = None  # sealed secret of the one-time codes; None: not set up
    issuer: str | None = None  # of the upstream provider that knows this user; None: a local one
    subject: str | None = None  # the user's name there
    attributes: Json | None = None  # tenant attributes from import or provider: department, team, project, ...
    disabled_at: float | None = None


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client that registered itself (RFC 7591), or that an admin registered. CIMD clients stand in no row."""

    tenant: str
    id: str
    metadata: Json  # as registered: redirect_uris, client_name, grant_types, token_endpoint_auth_method, ...
    digest: str  # SHA-256 of the canonical metadata: who registers the same again gets the same client
    created_at: float
    used_at: float
    secret_sha256: str | None = None  # None: a public client
    origin: Literal["dynamic", "admin"] = "dynamic"


@dataclass(frozen=True, slots=True)
class CodeRow:
    """An authorization code that waits to be redeemed, or was."""

    tenant: str
    sha256: str
    client: str
    redirect_uri: str
    challenge: str  # S256
    grant: str  # id of the grant it opens
    expires_at: float
    used_at: float | None = None


@dataclass(frozen=True, slots=True)
class GrantRow:
    """What one user allowed one client once: the family of every token that came from it."""

    tenant: str
    id: str  # "g" and 16 hex digits: `fam` in access tokens
    user: str  # UserRow.id
    client: str
    client_name: str  # as it was shown at the consent
    resource: str  # the one audience of its tokens (RFC 8707)
    scopes: tuple[str, ...]
    strength: Strength
    auth_time: float
    created_at: float
    expires_at: float  # its refresh tokens end then, whatever was rotated
    refresh_sha256: str | None = None  # the token in force
    previous_sha256: str | None = None  # the one before, good for a while longer
    previous_until: float | None = None
    successor: bytes | None = None  # sealed: the token in force, for whoever asks again with the one before
    used_at: float | None = None
    revoked_at: float | None = None
    reason: str | None = None  # why it was revoked: "user", "admin", "reuse", "disabled", ...


class UserStore(Protocol):
    """Users. Every write is atomic and durable when it returns."""

    async def all(self, tenant: str) -> tuple[UserRow, ...]:
        """By name; disabled ones too."""

    async def put(self, rows: Sequence[UserRow], expected: Sequence[int | None]) -> None:
        """Insert (`expected` None) or replace the row of that version; all of them or none.

        Raises `hub.core.ports.Conflict` when a version differs, KeyError when another live user has the name or the
        same issuer and subject.
        """


class GrantStore(Protocol):
    """Clients, codes and grants of the authorization server. Every write is atomic and durable when it returns."""

    async def clients(self, tenant: str) -> tuple[ClientRow, ...]: ...

    async def put_client(self, row: ClientRow) -> None:
        """Insert or replace, by id."""

    async def remove_clients(self, tenant: str, ids: Sequence[str]) -> None: ...

    async def open(self, grant: GrantRow, code: CodeRow) -> None:
        """Keep both, or neither."""

    async def add(self, grant: GrantRow) -> None: ...

    async def redeem(self, tenant: str, sha256: str, now: float) -> CodeRow | None:
        """The code as it was before this moment, now marked used; None when there is none.

        Of several that redeem one code, exactly one gets it with `used_at` None.
        """

    async def grants(self, tenant: str) -> tuple[GrantRow, ...]:
        """All that are neither revoked nor expired for more than a day."""

    async def rotate(self, row: GrantRow, from_sha256: str | None) -> bool:
        """Replace the grant if its `refresh_sha256` is `from_sha256` and it is not revoked; False: nothing was done."""

    async def revoke(self, tenant: str, ids: Sequence[str], at: float, reason: str) -> None:
        """The time and reason of a first revocation stand."""

    async def sweep(self, tenant: str, before: float) -> int:
        """Remove codes and grants that ended before that. How many."""
