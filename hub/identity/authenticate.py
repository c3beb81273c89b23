"""From a bearer token to the principal behind it. The only place where principals of local callers are made.

Tokens are looked up by their SHA-256, so that the time of a look-up tells nothing about any token there is.
"""

from __future__ import annotations

from typing import Final

from hub.core.call import Grants, Principal
from hub.core.ports import Surface
from hub.identity.keys import TENANT, Keys, token_hash
from hub.identity.tokens import MAX_LENGTH, LocalTokens

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


class Identities:
    """`hub.core.ports.Authenticator` over the local tokens, the keys, and the secret of `run.json`."""

    def __init__(self, tokens: LocalTokens, keys: Keys, local_secret: str) -> None:
        """`local_secret` stands for the operating-system user: it is the local client or admin, by surface.

        Raises ValueError when it is too short to be a secret.
        """
        if len(local_secret) < 32:
            raise ValueError("the local secret needs at least 32 characters")
        self._keys = keys
        client, admin, secret = (token_hash(token) for token in (tokens.client, tokens.admin, local_secret))
        self._fixed: dict[Surface, dict[str, Principal]] = {
            "mcp": {client: LOCAL_CLIENT, admin: LOCAL_ADMIN, secret: LOCAL_CLIENT},
            "admin": {client: LOCAL_CLIENT, admin: LOCAL_ADMIN, secret: LOCAL_ADMIN},
        }

    def verify(self, token: str, surface: Surface) -> Principal | None:
        if not token or len(token) > MAX_LENGTH or not token.isascii():
            return None
        digest = token_hash(token)
        return self._fixed[surface].get(digest) or self._keys.principal(digest)
