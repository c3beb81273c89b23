"""Access tokens of the hub's own: JWTs (RFC 9068), made here, and taken here when nothing about them is in doubt."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError

from hub.core.accounts import GrantRow
from hub.identity.oauth import scopes as scoping
from hub.identity.oauth.families import Families
from hub.identity.oauth.ports import Accounts, Addresses
from hub.identity.oauth.signing import ALGORITHM, LEEWAY_S, SigningKeys
from hub.identity.roles import Roles, principal_of
from hub.identity.verified import Verified
from hub.wire.jsonrpc import Malformed, dumps, loads

log = logging.getLogger(__name__)

TYPE: Final = "at+jwt"
MAX_TOKEN: Final = 8192
_TEXTS: Final = ("sub", "aud", "client_id", "scope", "jti", "fam")


class AccessTokens:
    """`hub.identity.verified.Verifier` of the hub's own tokens, and their maker. Making is for any thread."""

    def __init__(self, signing: SigningKeys, resources: Addresses, clock: Callable[[], float]) -> None:
        self._signing, self._resources, self._clock = signing, resources, clock

    def make(self, grant: GrantRow, scopes: tuple[str, ...], lasts_s: float) -> tuple[str, int]:
        """A token that ends with its grant at the latest, and how many seconds it is good for."""
        now = self._clock()
        seconds = max(1, int(min(lasts_s, grant.expires_at - now)))
        claims = {
            "iss": self._resources.issuer,
            "sub": grant.user,
            "aud": grant.resource,
            "client_id": grant.client,
            "scope": " ".join(scopes),
            "iat": int(now),
            "exp": int(now) + seconds,
            "jti": secrets.token_urlsafe(16),
            "fam": grant.id,
            "auth_time": int(grant.auth_time),
            "acr": grant.strength,
        }
        kid, key = self._signing.current()
        header = {"alg": ALGORITHM, "kid": kid, "typ": TYPE}
        return jws.serialize_compact(header, dumps(claims), key, [ALGORITHM]), seconds

    def read(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token of ours that is good by itself; whether its grant still stands is not asked."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii() or token.count(".") != 2:
            return None
        try:
            signed = jws.extract_compact(token.encode())
            header = signed.headers()
            # Exactly what `make` writes: no crit, no jku, no key of its own (RFC 7515 §4.1), no other algorithm.
            if header.keys() != {"alg", "kid", "typ"} or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
                return None
            key = self._signing.public(header["kid"]) if isinstance(header["kid"], str) else None
            if key is None or not jws.validate_compact(signed, key, [ALGORITHM]):
                return None
            claims = loads(signed.payload or b"")
        except (JoseError, Malformed, ValueError):
            return None
        return claims if isinstance(claims, dict) and self._is_good(claims) else None

    def _is_good(self, claims: Mapping[str, Any]) -> bool:
        now, issuer = self._clock(), self._resources.issuer
        if claims.get("iss") != issuer or not all(isinstance(claims.get(name), str) for name in _TEXTS):
            return False
        exp, iat, nbf = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
        if not _is_number(exp) or not _is_number(iat) or not _is_number(nbf):
            return False
        return now < exp + LEEWAY_S and iat <= now + LEEWAY_S and nbf <= now + LEEWAY_S


class OwnTokens:
    """`hub.identity.verified.Verifier`: a good token of a grant that stands, of a user who may still log in."""

    def __init__(
        self, tokens: AccessTokens, families: Families, users: Accounts, roles: Roles, resources: Addresses
    ) -> None:
        self._tokens, self._families, self._users = tokens, families, users
        self._roles, self._resources = roles, resources

    async def verify(self, token: str) -> Verified | None:
        """Nothing in here waits."""
        claims = self._tokens.read(token)
        grant = None if claims is None else self._families.get(claims["fam"])
        if claims is None or grant is None:
            return None
        if (claims["sub"], claims["client_id"], claims["aud"]) != (grant.user, grant.client, grant.resource):
            return None
        user, endpoints = self._users.by_id(grant.user), endpoints_of(self._resources, grant.resource)
        scopes = scoping.parse(claims["scope"])
        if user is None or user.disabled_at is not None or endpoints is None or not scopes:
            return None
        principal = principal_of(
            user,
            self._roles,
            scopes=frozenset(scopes),
            client=grant.client,
            credential=_credential(grant, scopes),
            strength=grant.strength,
            endpoints=endpoints,
        )
        return Verified(
            principal, claims["exp"], claims["iss"], grant.user, grant.client, family=grant.id, jti=claims["jti"]
        )


def endpoints_of(resources: Addresses, resource: str) -> frozenset[str] | None:
    """The endpoints that a token for this address is good at: one, or none for the admin API's; None: none of ours."""
    if resources.is_admin(resource):
        return frozenset()
    name = resources.endpoint_of(resource)
    return None if name is None else frozenset({name})


def _credential(grant: GrantRow, scopes: tuple[str, ...]) -> str:
    """One for each family, because sessions and cursors outlive an access token; another for each narrower reach."""
    if frozenset(scopes) == frozenset(grant.scopes):
        return f"oauth:{grant.id}"
    return f"oauth:{grant.id}:{sha256(' '.join(sorted(scopes)).encode()).hexdigest()[:16]}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
