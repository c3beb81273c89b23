"""Logging in at a company's provider: the authorization code flow of OpenID Connect, with the hub as the client.

What is begun is bound to one browser and one request by whoever keeps `Begun`; everything asked of the provider goes
through the fetcher. PKCE (S256), `nonce` and `state` are always sent. Who comes of it is the business of `arrivals`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from typing import Any, Final
from urllib.parse import urlencode

from hub.core.accounts import UserRow
from hub.core.call import Json
from hub.core.ports import Fetched, Fetcher, FetchRefused
from hub.identity.introspection import basic
from hub.identity.issuers import Introspecting, Issuer, Unanswered, claim_at
from hub.identity.jwks import MAX_BYTES, Jwks, Metadata, object_in
from hub.identity.oauth.arrivals import Arrivals
from hub.identity.oauth.asked import Login
from hub.identity.oauth.id_token import Expected, verified
from hub.identity.oauth.provider import Provider, SsoFailed

MAX_CODE: Final = 4096
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Begun:
    """One login on its way: what the provider's answer is held against. Good for one answer."""

    location: str = field(repr=False)  # where the browser goes
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    login: Login
    before: UserRow | None  # the user as it was; None: a new one


class SingleSignOn:
    """One provider. One event loop uses it; `aclose` ends what it has under way."""

    def __init__(
        self,
        provider: Provider,
        redirect_uri: str,
        fetcher: Fetcher,
        arrivals: Arrivals,
        clock: Callable[[], float] = time,
    ) -> None:
        """`redirect_uri` is the hub's own, as registered at the provider. `clock` gives seconds since 1970."""
        self._provider, self._redirect_uri, self._fetcher = provider, redirect_uri, fetcher
        self._arrivals, self._clock = arrivals, clock
        self._issuer = Issuer("sso", provider.issuer, algorithms=provider.algorithms)
        self._metadata = Metadata(self._issuer, fetcher, clock)
        self._keys = Jwks(self._issuer, fetcher, lambda: self._metadata.address("jwks_uri"), clock)

    @property
    def title(self) -> str:
        return self._provider.title

    @property
    def password_login(self) -> bool:
        return self._provider.password_login

    async def aclose(self) -> None:
        await self._keys.aclose()

    async def begin(self, key: str, *, again: bool = False, max_age_s: int | None = None) -> Begun:
        """`key` comes back before the first dot of `state`; `again`: whoever is logged in there proves it once more.

        Raises SsoFailed.
        """
        try:
            address = await self._metadata.address("authorization_endpoint")
        except Unanswered as exc:
            raise SsoFailed("unreachable", str(exc)) from exc
        if self._provider.issuer.startswith("https:") and not address.startswith("https:"):
            raise SsoFailed("unreachable", "the provider's authorization_endpoint is no https address")
        state, nonce, verifier = (
            f"{key}.{secrets.token_urlsafe(32)}",
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(48),
        )
        asked = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._provider.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"prompt": "login"} if again else {}),
            **({} if max_age_s is None else {"max_age": str(max_age_s)}),
        }
        query = urlencode(asked)
        address = address.partition("#")[0]
        location = f"{address}{'&' if '?' in address else '?'}{query}"
        return Begun(location, state, nonce, verifier, max_age_s)

    async def finish(self, begun: Begun, answer: Mapping[str, str]) -> Arrived:
        """Who the provider says it is, after its answer to `begun` came back in the same browser. Raises SsoFailed."""
        try:
            claims = await self._claims(begun, answer)
        except (Unanswered, FetchRefused) as exc:
            raise SsoFailed("unreachable", str(exc)) from exc
        before, row = await self._arrivals.admit(claims)
        now, at = self._clock(), claims.get("auth_time")
        proved_at = min(float(at), now) if isinstance(at, int | float) and 0 < at < 1e15 else now
        return Arrived(Login(row, proved_at, "sso"), before)

    async def _claims(self, begun: Begun, answer: Mapping[str, str]) -> Json:
        said = await self._metadata.document()
        # RFC 9207 §2.4: the answer of another provider, mixed up with this one's
        is_named = "iss" in answer or said.get("authorization_response_iss_parameter_supported") is True
        if is_named and answer.get("iss") != self._provider.issuer:
            raise SsoFailed("unfit", "the answer is another provider's (iss)")
        if "error" in answer:
            raise SsoFailed("refused", f"the provider answered with the error {_word(answer['error'])}")
        code = answer.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise SsoFailed("unfit", "the answer holds no code")
        tokens = await self._redeem(code, begun, said)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise SsoFailed("unfit", "the provider gave no ID token: is it one of OpenID Connect, with scope openid?")
        access_token = access_token if isinstance(access_token, str) else None
        expected = Expected(begun.nonce, access_token, begun.max_age_s, self._clock())
        claims = await verified(id_token, self._provider, self._keys, expected)
        return await self._completed(claims, access_token, said)

    async def _redeem(self, code: str, begun: Begun, said: Json) -> Json:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": begun.verifier,
        }
        headers: dict[str, str] = {}
        methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": self._provider.client_id, "client_secret": self._provider.secret()}
        else:
            headers["authorization"] = basic(Introspecting(self._provider.client_id, self._provider.secret))
        address = await self._metadata.address("token_endpoint")
        fetched = await self._post(address, urlencode(form).encode(), headers)
        if fetched.status in (400, 401, 403):
            raise SsoFailed(
                "unfit", f"the provider did not take the code (status {fetched.status}); is the secret right?"
            )
        return object_in(self._issuer, fetched.status, fetched.body)

    async def _completed(self, claims: Json, access_token: str | None, said: Json) -> Json:
        """With what only the provider's userinfo endpoint tells (OpenID Connect Core §5.3); signed claims stand."""
        missing = [path for path in self._wanted() if claim_at(claims, path) is None]
        if not missing or access_token is None or "userinfo_endpoint" not in said:
            return claims
        address = await self._metadata.address("userinfo_endpoint")
        fetched = await self._post(address, b"", {"authorization": f"Bearer {access_token}"})
        more = object_in(self._issuer, fetched.status, fetched.body)
        if more.get("sub") != claims["sub"]:  # §5.3.2: a token that was swapped for another person's
            raise SsoFailed("unfit", "the provider's userinfo is of somebody else (sub)")
        return {**more, **claims}

    async def _post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Fetched:
        return await self._fetcher.post(address, body, content_type=FORM, headers=headers, max_bytes=MAX_BYTES)

    def _wanted(self) -> tuple[str, ...]:
        provider = self._provider
        maybe = (provider.roles_claim, provider.groups_claim, *provider.attributes.values())
        return (provider.name_claim, *(path for path in maybe if path is not None))


def _word(given: Any) -> str:
    """An error code as the log may hold it."""
    return given if isinstance(given, str) and given.isascii() and given.isprintable() and len(given) <= 64 else "?"
