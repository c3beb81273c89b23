"""Tokens only their issuer can tell about (RFC 7662): it is asked, by a client of its own, and believed briefly."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import time
from typing import Final
from urllib.parse import quote_plus, urlencode

from hub.core.ports import Fetcher, FetchRefused
from hub.identity.bearers import MAX_TOKEN
from hub.identity.issuers import Claimants, Introspecting, Issuer, Unanswered
from hub.identity.jwks import MAX_BYTES, object_in
from hub.identity.outside import framed
from hub.identity.verified import Verified

BELIEVED_S: Final = 30.0  # what an issuer said; it may have been taken back since
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")  # RFC 6750 §2.1; shorter ones could be guessed
_SIGNED: Final = re.compile(r"eyJ[^.]*\.[^.]*\.[^.]*$")  # a JWT that cannot be read may be anybody's
_OWN: Final = re.compile(r"mh[a-z]?_")  # what the hub itself gives out is told to nobody


def asked_about(issuer: Issuer) -> Callable[[str], bool]:
    """Whether this issuer is asked about a token: one that names it, or, if it gives such, one that names nobody."""
    opaque = issuer.introspecting is not None and issuer.introspecting.opaque

    def claims(token: str) -> bool:
        if len(token) > MAX_TOKEN or _TOKEN.fullmatch(token) is None or _OWN.match(token) is not None:
            return False
        parts = framed(token)
        if parts is not None:
            return parts.claims.get("iss") == issuer.issuer
        return opaque and not _SIGNED.match(token)

    return claims


class Introspection:
    """`hub.identity.verified.Verifier` of one issuer's tokens, by asking it. Remembers nothing of its own."""

    def __init__(
        self,
        issuer: Issuer,
        fetcher: Fetcher,
        where: Callable[[], Awaitable[str]],
        claimants: Claimants,
        clock: Callable[[], float] = time,
    ) -> None:
        """`where` gives the address to ask, and raises `Unanswered`. `clock` gives seconds since 1970.

        Raises ValueError for an issuer that is not asked.
        """
        if issuer.introspecting is None:
            raise ValueError(f"the issuer {issuer.name} has no introspection")
        self._issuer, self._as, self._fetcher, self._where = issuer, issuer.introspecting, fetcher, where
        self._claimants, self._clock = claimants, clock

    async def verify(self, token: str) -> Verified | None:
        """Good for half a minute from when it was asked. Raises `Unanswered` when the issuer does not say."""
        asked_at = self._clock()
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        try:
            fetched = await self._fetcher.post(
                await self._where(),
                body,
                content_type="application/x-www-form-urlencoded",
                headers={"authorization": basic(self._as)},
                max_bytes=MAX_BYTES,
            )
        except FetchRefused as exc:
            raise Unanswered(f"the issuer {self._issuer.name} was not reached: {exc}") from exc
        said = object_in(self._issuer, fetched.status, fetched.body)
        if said.get("active") is not True:
            return None
        kind = said.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() not in ("bearer", "access_token"):  # DPoP wants a proof
            return None
        verified = self._claimants.read(said, self._clock(), signed=False)
        if verified is None:
            return None
        return replace(verified, expires_at=min(verified.expires_at, asked_at + BELIEVED_S))


def basic(who: Introspecting) -> str:
    """Name and secret are encoded as in forms first (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(who.client_id)}:{quote_plus(who.secret())}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
