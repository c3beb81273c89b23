"""A provider that people log in at, for tests: real keys, real HTTP, and every answer of it to be changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from hub.downstream.fetch import GuardedFetcher
from hub.identity.oauth.arrivals import Arrivals
from hub.identity.oauth.provider import Provider
from hub.identity.oauth.sso import Begun, SingleSignOn
from hub.identity.users import Users
from tests.identity.idp import NOW, RSA, Asked, Clock, Idp, PrivateKey, signed
from tests.identity.user_parts import People

CALLBACK = "https://hub.example/oauth/sso/callback"
SECRET = "a secret of the hub / & ü"


@dataclass
class Upstream:
    """Gives out one code for each login; what its token and userinfo endpoints say is in the fields."""

    settings: Mapping[str, Any] = field(default_factory=dict)  # of the provider, as configured at the hub
    clock: Clock = field(default_factory=Clock)
    people: People = field(default_factory=People)
    users: Users | None = None  # of the hub; None: those of `people`
    more: dict[str, Any] = field(default_factory=dict)  # claims of the ID token; None takes one out
    header: dict[str, Any] = field(default_factory=dict)
    key: PrivateKey = field(default_factory=lambda: RSA)
    algorithm: str = "RS256"
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    tokens: dict[str, Any] = field(default_factory=dict)  # beside the ID token in its answer; None takes one out
    forms: list[dict[str, str]] = field(default_factory=list)
    heads: list[Mapping[str, str]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.idp = Idp()
        await self.idp.__aenter__()
        self.idp.publish(k1=RSA)
        self.idp.answers |= {
            "/.well-known/openid-configuration": self._metadata,
            "/token": self._token,
            "/userinfo": self._userinfo,
        }
        self.people.clock.at = NOW
        self.provider = Provider(
            **{
                "issuer": self.idp.url,
                "client_id": "hub",
                "secret": lambda: SECRET,
                "default_roles": ("member",),
                **self.settings,
            }
        )
        fetcher = GuardedFetcher(local=["127.0.0.1"])
        arrivals = Arrivals(self.provider, self.users or self.people.users, self.clock)
        self.sso = SingleSignOn(self.provider, CALLBACK, fetcher, arrivals, self.clock)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.sso.aclose()
        await self.idp.__aexit__(*exc)

    def logged_in(self, location: str) -> dict[str, str]:
        """What the browser brings back, after a login at this address."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        self._asked = asked
        return {"code": "code-1", "state": asked["state"], "iss": self.idp.url}

    def answer(self, begun: Begun) -> dict[str, str]:
        return self.logged_in(begun.location)

    def claims(self) -> dict[str, Any]:
        made = {
            "iss": self.idp.url,
            "sub": "s-1",
            "aud": "hub",
            "nonce": self._asked["nonce"],
            "iat": int(self.clock.now),
            "exp": int(self.clock.now) + 300,
            "preferred_username": "Grace",
            "name": "Grace H.",
            "email": "grace@corp.example",
            **self.more,
        }
        return {name: value for name, value in made.items() if value is not None}

    def _metadata(self, asked: Asked) -> tuple[int, bytes]:
        made = {
            "issuer": self.idp.url,
            "authorization_endpoint": f"{self.idp.url}/authorize",
            "token_endpoint": f"{self.idp.url}/token",
            "jwks_uri": f"{self.idp.url}/jwks",
            "userinfo_endpoint": f"{self.idp.url}/userinfo",
            **self.metadata,
        }
        return 200, json.dumps({name: value for name, value in made.items() if value is not None}).encode()

    def _token(self, asked: Asked) -> tuple[int, bytes]:
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        self.heads.append(asked.headers)
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if form["code"] != "code-1" or challenge != self._asked["code_challenge"] or form["redirect_uri"] != CALLBACK:
            return 400, b'{"error": "invalid_grant"}'
        said = {
            "token_type": "Bearer",
            "access_token": "an access token",
            "id_token": signed(self.claims(), self.key, self.algorithm, **{"typ": "JWT", **self.header}),
            **self.tokens,
        }
        return 200, json.dumps({name: value for name, value in said.items() if value is not None}).encode()

    def _userinfo(self, asked: Asked) -> tuple[int, bytes]:
        if self.userinfo is None or asked.headers.get("authorization") != "Bearer an access token":
            return 401, b"{}"
        return 200, json.dumps(self.userinfo).encode()
