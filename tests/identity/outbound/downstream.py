"""A downstream behind a login and its authorization server, for tests: real HTTP, and every answer to be changed.

Both live at one `Idp`: the server at `/mcp`, its issuer at the root or below `path`. What the browser does is a
function of the address it is sent to.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from hub.downstream.fetch import GuardedFetcher
from hub.identity.outbound.asking import Begun
from hub.identity.outbound.challenge import challenge
from hub.identity.outbound.discovery import Discovery
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.logins import Login, Logins, Wanted
from hub.identity.outbound.parties import AuthServer, Client
from hub.identity.outbound.registration import HubClient, Registrar
from hub.identity.outbound.tokens import TokenEndpoint
from tests.identity.idp import Asked, Clock, Idp

CALLBACK = "http://127.0.0.1:7777/oauth/callback"
SECRET = "a secret: / & +%41"
CODE = "code-1"
PRM = "/.well-known/oauth-protected-resource"

Said = dict[str, Any]


@dataclass
class Downstream:
    path: str = ""  # of the issuer
    prm_at: str = f"{PRM}/mcp"
    metadata_at: str | None = None  # None: where RFC 8414 has it
    prm: Said = field(default_factory=dict)  # what differs from a good one; None takes a member out
    metadata: Said = field(default_factory=dict)
    registered: Said = field(default_factory=dict)
    tokens: Said = field(default_factory=dict)
    token_status: int = 200
    iss: Callable[[str], str | None] = lambda issuer: issuer  # in the answer of a login
    forms: list[dict[str, str]] = field(default_factory=list)  # that came to the token endpoint
    heads: list[Mapping[str, str]] = field(default_factory=list)
    registrations: list[Said] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    hub: HubClient = field(default_factory=lambda: HubClient((CALLBACK,)))
    entered: dict[str, Client] = field(default_factory=dict)
    kept: dict[str, Client] = field(default_factory=dict)  # by issuer, as a hub would store them

    async def __aenter__(self) -> Self:
        self.idp = Idp()
        await self.idp.__aenter__()
        self.url, self.issuer = f"{self.idp.url}/mcp", self.idp.url + self.path
        at = self.metadata_at or f"/.well-known/oauth-authorization-server{self.path}"
        self.idp.answers |= {
            self.prm_at: lambda asked: _json(self._prm()),
            at: lambda asked: _json(self._metadata()),
            f"{self.path}/register": self._register,
            f"{self.path}/token": self._token,
            f"{self.path}/revoke": lambda asked: self._heard(asked) or (200, b""),
        }
        fetcher = GuardedFetcher(local=["127.0.0.1"])
        self.discovery = Discovery(fetcher, clock=self.clock)
        self.registrar = Registrar(self.hub, fetcher, self.entered.get, self.clock)
        self.endpoint = TokenEndpoint(fetcher)
        self.logins = Logins(self.discovery, self.registrar, self.endpoint, self)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.idp.__aexit__(*exc)

    async def known(self, issuer: str) -> Client | None:
        return self.kept.get(issuer)

    async def keep(self, client: Client) -> None:
        self.kept[client.issuer] = client

    async def begin(self, header: str | None = None, *held: str, refused: Client | None = None) -> Login:
        """After a challenge with this header."""
        wanted = Wanted(self.url, challenge(header), held)
        return await self.logins.begin(wanted, CALLBACK, refused)

    async def log_in(self, header: str | None = None, *held: str) -> Tokens:
        login = await self.begin(header, *held)
        return await self.logins.finish(login, self.answer(login.begun))

    def answer(self, begun: Begun) -> list[tuple[str, str]]:
        """What the browser brings back, after a login there."""
        asked = query_of(begun.location)
        iss = self.iss(self.issuer)
        return [("code", CODE), ("state", asked["state"]), *([] if iss is None else [("iss", iss)])]

    def asked(self, begun: Begun) -> dict[str, str]:
        return query_of(begun.location)

    def paths(self) -> list[str]:
        return [asked.path for asked in self.idp.asked]

    def basic(self) -> tuple[str, str]:
        """Who the last request to the token endpoint says it is from, by its header."""
        kind, _, pair = self.heads[-1]["authorization"].partition(" ")
        assert kind == "Basic"
        id, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote(id), unquote(secret)

    def _prm(self) -> Said:
        good = {"resource": self.url, "authorization_servers": [self.issuer]}
        return _present({**good, **self.prm})

    def _metadata(self) -> Said:
        good = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return _present({**good, **self.metadata})

    def _register(self, asked: Asked) -> tuple[int, bytes]:
        given = json.loads(asked.body)
        self.registrations.append(given)
        good = {"client_id": f"client-{len(self.registrations)}", "redirect_uris": given["redirect_uris"]}
        return 201, json.dumps(_present({**good, **self.registered})).encode()

    def _token(self, asked: Asked) -> tuple[int, bytes]:
        self._heard(asked)
        good = {"access_token": f"at-{len(self.forms)}", "token_type": "Bearer", "expires_in": 3600}
        return self.token_status, json.dumps(_present({**good, **self.tokens})).encode()

    def _heard(self, asked: Asked) -> None:
        self.forms.append(dict(parse_qsl(asked.body.decode(), keep_blank_values=True)))
        self.heads.append(asked.headers)


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def query_of(location: str) -> dict[str, str]:
    found = parse_qs(urlsplit(location).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), "a parameter stands twice"
    return {name: values[0] for name, values in found.items()}


def server(**said: Any) -> AuthServer:
    """One that lets people log in."""
    good: Said = {
        "issuer": "https://as.example",
        "token_endpoint": "https://as.example/token",
        "authorization_endpoint": "https://as.example/authorize",
        "is_s256": True,
    }
    return AuthServer(**{**good, **said})


def _json(said: Said) -> tuple[int, bytes]:
    return 200, json.dumps(said).encode()


def _present(said: Said) -> Said:
    return {name: value for name, value in said.items() if value is not None}
