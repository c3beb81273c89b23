"""What the authorization server takes from the rest of the hub, and the figures it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from hub.core.accounts import GrantStore, UserRow
from hub.core.ports import Fetcher
from hub.identity.oauth.redirects import APP_SCHEMES
from hub.identity.oauth.signing import SigningKeys
from hub.identity.roles import Roles

TENANT: Final = "local"


class Accounts(Protocol):
    def by_id(self, id: str) -> UserRow | None:
        """The user as it is now, a disabled one too."""


class Addresses(Protocol):
    """The hub's own public addresses: `hub.identity.oauth.resources`."""

    @property
    def issuer(self) -> str: ...

    def endpoint_of(self, resource: str) -> str | None: ...

    def is_admin(self, resource: str) -> bool: ...

    def of(self, endpoint: str, host_header: str | None) -> str: ...


class Sealer(Protocol):
    """Keeps what must be read again from whoever reads the disk. `bound` is authenticated and not stored."""

    def seal(self, plain: bytes, bound: bytes) -> bytes: ...

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        """None: not sealed by a key that is still there, altered, or bound to something else."""


@dataclass(frozen=True, slots=True)
class Parts:
    store: GrantStore
    users: Accounts
    roles: Roles
    resources: Addresses
    fetcher: Fetcher
    signing: SigningKeys
    sealer: Sealer


@dataclass(frozen=True, slots=True)
class Settings:
    access_s: float = 600.0
    refresh_s: float = 30 * 86_400.0  # from the consent on: then the user is asked again
    code_s: float = 60.0
    grace_s: float = 30.0  # a client that lost the answer, or runs twice, may ask again with the token before
    registration: bool = True  # RFC 7591: deprecated by MCP, and still the only way of many clients
    device: bool = True  # RFC 8628: whoever talks a person into typing a code gets in, so some will not have it
    client_ttl_s: float = 90 * 86_400.0  # of a client that registered itself, from its last use
    max_clients: int = 5000
    schemes: frozenset[str] = APP_SCHEMES
