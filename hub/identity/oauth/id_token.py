"""ID tokens of the provider that people log in at (OpenID Connect Core §3.1.3.7), for one login each."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from hashlib import sha256, sha384, sha512
from typing import Any, Final, TypeGuard

from hub.core.call import Json
from hub.identity.issuers import LEEWAY_S
from hub.identity.jwks import Jwks
from hub.identity.oauth.provider import Provider, SsoFailed
from hub.identity.outside import Framed, framed, is_signed

OLDEST_S: Final = 600.0  # since it was made: it is fetched for a login that began a moment ago
MAX_SUBJECT: Final = 255
MAX_AUDIENCES: Final = 20
_EXTENSIONS: Final = ("crit", "b64", "zip", "enc")
_HASHES: Final = {"256": sha256, "384": sha384, "512": sha512}  # by the end of the algorithm's name


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token has to say to be of this login."""

    nonce: str = field(repr=False)
    access_token: str | None = field(repr=False)
    max_age_s: int | None  # since the person proved to be one, at the most
    now: float


async def verified(token: str, provider: Provider, keys: Jwks, expected: Expected) -> Json:
    """Its claims. Raises SsoFailed, and `Unanswered` when the provider's keys are not known."""
    parts = framed(token)
    if parts is None:
        raise _unfit("is no signed token")
    algorithm, kid = parts.header.get("alg"), parts.header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in provider.algorithms:
        raise _unfit("is signed in a way that is not taken here")
    if any(name in parts.header for name in _EXTENSIONS) or not _is_id_token(parts.header.get("typ", "jwt")):
        raise _unfit("is a token of another kind")
    if kid is not None and (not isinstance(kid, str) or len(kid) > 255):
        raise _unfit("names no key")
    _check(parts, algorithm, provider, expected)  # the claims first: one that is of no use makes nobody fetch keys
    key = await keys.key(kid, algorithm)
    if key is None or not is_signed(parts, algorithm, key):
        raise _unfit("is not signed by a key of the provider")
    return parts.claims


def _check(parts: Framed, algorithm: str, provider: Provider, expected: Expected) -> None:
    claims = parts.claims
    if claims.get("iss") != provider.issuer:
        raise _unfit("is another issuer's")
    if not _is_for(claims, provider.client_id):
        raise _unfit("is for another program")
    if not _same(claims.get("nonce"), expected.nonce):
        raise _unfit("is of another login (nonce)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise _unfit("names nobody (sub)")
    _check_times(claims, expected)
    if "at_hash" in claims:
        given = expected.access_token
        if given is None or not _same(claims["at_hash"], _half(given, algorithm)):
            raise _unfit("is not of the access token beside it (at_hash)")


def _check_times(claims: Json, expected: Expected) -> None:
    now = expected.now
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            raise _unfit(f"does not say when ({name})")
    if claims["exp"] + LEEWAY_S <= now:
        raise _unfit("has ended (exp)")
    if not now - OLDEST_S - LEEWAY_S < claims["iat"] <= now + LEEWAY_S:
        raise _unfit("was not made now (iat); look at both clocks")
    if "nbf" in claims and not (_is_time(claims["nbf"]) and claims["nbf"] <= now + LEEWAY_S):
        raise _unfit("is not good yet (nbf)")
    if expected.max_age_s is None:
        return
    at = claims.get("auth_time")
    if not _is_time(at) or not now - expected.max_age_s - LEEWAY_S <= at <= now + LEEWAY_S:
        raise _unfit("does not say that the login is as new as the app asked for (auth_time)")


def _is_for(claims: Json, client_id: str) -> bool:
    """Of several audiences the authorized party has to be the hub; `azp` names nobody else in any case."""
    aud = claims.get("aud")
    named = [aud] if isinstance(aud, str) else aud
    if not isinstance(named, list) or len(named) > MAX_AUDIENCES or client_id not in named:
        return False
    return bool(claims.get("azp", client_id if len(named) == 1 else None) == client_id)


def _is_id_token(typ: Any) -> bool:
    return isinstance(typ, str) and typ.lower().removeprefix("application/") == "jwt"


def _is_time(given: Any) -> TypeGuard[float]:
    return type(given) in (int, float) and -1e15 < given < 1e15


def _half(access_token: str, algorithm: str) -> str:
    digest = _HASHES[algorithm[-3:]](access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _same(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())


def _unfit(what: str) -> SsoFailed:
    return SsoFailed("unfit", f"the provider's ID token {what}")
