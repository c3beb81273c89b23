"""From a bearer token to the principal behind it. The only place where principals of local callers are made.

Tokens are looked up by their SHA-256, so that the time of a look-up tells nothing about any token there is.
"""

from __future__ import annotations

from typing import Final, Protocol

from hub.core.call import Grants, Principal
from hub.core.ports import Surface
from hub.identity.keys import TENANT, Keys, token_hash
from hub.identity.tokens import LocalTokens

ISSUED_LENGTH: Final = 16_384  # of any token: those that issuers sign carry claims
LOCAL_CLIENT: Final = Principal(
    tenant=TENANT,
    name="local:client",
    credential="local:client",
    scopes=frozenset({"mcp"}),
    grants=Grants(servers=frozenset({"*"})),
)
LOCAL_ADMIN: Final = Principal(
    tenant=TENANT,
    name="local:admin",
    credential="local:admin",
    scopes=frozenset({"admin", "audit:read"}),
)


class Issued(Protocol):
    """Tokens that an authorization server made: this hub's own, or one that is trusted."""

    def principal(self, digest: str, token: str) -> Principal | None: ...
    async def admit(self, token: str) -> Principal | None: ...
    def stands(self, who: Principal) -> bool:
        """Whether what the caller's token was made from is still in force."""


class Identities:
    """`hub.core.ports.Authenticator` over the local tokens, the keys, the secret of `run.json`, and issued tokens."""

    def __init__(self, tokens: LocalTokens, keys: Keys, local_secret: str, issued: Issued | None = None) -> None:
        """`local_secret` stands for the operating-system user: it is the local client or admin, by surface.

        Raises ValueError when it is too short to be a secret.
        """
        if len(local_secret) < 32:
            raise ValueError("the local secret needs at least 32 characters")
        self._keys, self._issued = keys, issued
        client, admin, secret = (token_hash(token) for token in (tokens.client, tokens.admin, local_secret))
        self._fixed: dict[Surface, dict[str, Principal]] = {
            "mcp": {client: LOCAL_CLIENT, admin: LOCAL_ADMIN, secret: LOCAL_CLIENT},
            "admin": {client: LOCAL_CLIENT, admin: LOCAL_ADMIN, secret: LOCAL_ADMIN},
        }

    def verify(self, token: str, surface: Surface) -> Principal | None:
        if not token or len(token) > ISSUED_LENGTH or not token.isascii():
            return None
        digest = token_hash(token)
        found = self._fixed[surface].get(digest) or self._keys.principal(digest)
        if found is not None or self._issued is None:
            return found
        return self._issued.principal(digest, token)

    async def admit(self, token: str) -> Principal | None:
        if self._issued is None or not token or len(token) > ISSUED_LENGTH or not token.isascii():
            return None
        return await self._issued.admit(token)

    def stands(self, token: str, who: Principal) -> bool:
        found = self.verify(token, "mcp")
        if found is not None:
            return found == who  # another reach is another caller
        return self._issued is not None and self._issued.stands(who)
