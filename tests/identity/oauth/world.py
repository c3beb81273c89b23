"""An authorization server with everything real but the clock and the network, and a client that talks to it."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.accounts import GrantRow, GrantStore, UserRow
from hub.core.ports import Fetched, FetchRefused
from hub.identity.oauth.asked import Login, Reply, SentBack, Wish
from hub.identity.oauth.ports import Parts, Settings
from hub.identity.oauth.resources import Resources
from hub.identity.oauth.server import AuthorizationServer
from hub.identity.oauth.signing import SigningKeys
from hub.identity.roles import Roles
from hub.stores.memory.grants import MemoryGrants

ISSUER = "https://hub.example.com"
MCP = f"{ISSUER}/mcp"
CALLBACK = "https://client.example.com/cb"
LOOPBACK = "http://127.0.0.1:33418/cb"
START = 1_800_000_000.0
VERIFIER = "v" * 50


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


class Sealed:
    """AES-256-GCM under one key."""

    def __init__(self) -> None:
        self.key = AESGCM.generate_key(256)

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + AESGCM(self.key).encrypt(nonce, plain, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        try:
            return AESGCM(self.key).decrypt(sealed[:12], sealed[12:], bound)
        except InvalidTag:
            return None


class Disk(MemoryGrants):
    """A store that fails, dawdles or dies where a test says so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.rotating: Callable[[], Awaitable[None]] | None = None
        self.rotated: Callable[[], Awaitable[None]] | None = None
        self.revoking: Callable[[], Awaitable[None]] | None = None

    async def rotate(self, row: GrantRow, from_sha256: str | None) -> bool:
        if self.rotating is not None:
            await self.rotating()
        stored = await super().rotate(row, from_sha256)
        if self.rotated is not None:
            await self.rotated()
        return stored

    async def revoke(self, tenant: str, ids: Sequence[str], at: float, reason: str) -> None:
        if self.revoking is not None:
            await self.revoking()
        await super().revoke(tenant, ids, at, reason)


class Web:
    """`Fetcher`: documents by address, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Fetched | FetchRefused] = {}
        self.asked: list[str] = []
        self.before: Callable[[], Any] | None = None

    async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
        self.asked.append(url)
        if self.before is not None:
            await self.before()
        found = self.pages.get(url, FetchRefused("nobody answers there"))
        if isinstance(found, FetchRefused):
            raise found
        return found

    async def post(
        self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
    ) -> Fetched:
        raise FetchRefused("nothing is posted here")

    def put(self, url: str, document: object, headers: Mapping[str, str] = {}, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.pages[url] = Fetched(status, {"content-type": "application/json", **headers}, body)


class People:
    def __init__(self) -> None:
        self.rows: dict[str, UserRow] = {}

    def by_id(self, id: str) -> UserRow | None:
        return self.rows.get(id)

    def add(self, name: str, *roles: str) -> UserRow:
        row = UserRow("local", f"u{len(self.rows):016x}", name, roles or ("member",), (), START)
        self.rows[row.id] = row
        return row

    def disable(self, id: str) -> None:
        self.rows[id] = replace(self.rows[id], disabled_at=START)


@dataclass
class World:
    folder: Path
    clock: Clock = field(default_factory=Clock)
    web: Web = field(default_factory=Web)
    people: People = field(default_factory=People)
    sealer: Sealed = field(default_factory=Sealed)
    settings: Settings = field(default_factory=Settings)
    endpoints: set[str] = field(default_factory=lambda: {"", "dev"})
    store: Disk = field(init=False)
    kept: GrantStore | None = None  # in place of `store`
    server: AuthorizationServer = field(init=False)
    ended: list[str] = field(default_factory=list)
    reused: list[GrantRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Disk(self.clock)
        self.ann = self.people.add("ann")

    async def start(self) -> World:
        """A process that starts on what is kept: everything in memory is new."""
        self.resources = Resources((ISSUER, "http://127.0.0.1:8080"), lambda: self.endpoints)
        self.signing = SigningKeys(self.folder / "keys" / "oauth-signing.json", self.settings.access_s, self.clock)
        parts = Parts(
            self.kept or self.store, self.people, Roles(), self.resources, self.web, self.signing, self.sealer
        )
        self.server = AuthorizationServer(parts, self.settings, self.clock)
        self.server.watch(self.ended.append)
        self.server.watch_reuse(self.reused.append)
        await self.server.load()
        return self

    async def client(self, *redirects: str, **more: Any) -> str:
        reply = await self.register(*redirects, **more)
        assert reply.status == 201, reply
        assert reply.body is not None
        return str(reply.body["client_id"])

    async def register(self, *redirects: str, address: str | None = None, **more: Any) -> Reply:
        said = {
            "redirect_uris": list(redirects or (CALLBACK,)),
            "client_name": "Tester",
            "token_endpoint_auth_method": "none",
            **more,
        }
        place = address or ".".join(str(byte) for byte in secrets.token_bytes(4))
        return await self.server.register(json.dumps(said).encode(), place)

    def query(self, client: str, **changes: str | None) -> list[tuple[str, str]]:
        """An authorization request; None takes a parameter out."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": CALLBACK,
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            "state": "s t&=/é",
            "resource": MCP,
            **changes,
        }
        return [(name, value) for name, value in asked.items() if value is not None]

    async def wish(self, client: str, **changes: str | None) -> Wish:
        return await self.server.wish(self.query(client, **changes))

    async def code(self, client: str, user: UserRow | None = None, /, **changes: str | None) -> str:
        wish = await self.wish(client, **changes)
        login = Login(user or self.ann, self.clock(), "password")
        return answer(await self.server.granted(wish, login, wish.scopes))["code"]

    async def redeem(
        self, client: str, code: str | None, authorization: str | None = None, **changes: str | None
    ) -> Reply:
        asked: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": client,
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "resource": MCP,
            **changes,
        }
        return await self.server.token([(k, v) for k, v in asked.items() if v is not None], authorization)

    async def login(self, client: str, user: UserRow | None = None, /, **changes: str | None) -> dict[str, Any]:
        """What the token endpoint answers to a whole login."""
        redirect = changes.get("redirect_uri", CALLBACK)
        resource = changes.get("resource", MCP)
        code = await self.code(client, user, **changes)
        return good(await self.redeem(client, code, redirect_uri=redirect, resource=resource))

    async def refresh(self, client: str, token: str, **changes: str) -> Reply:
        asked = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token, **changes}
        return await self.server.token(list(asked.items()), None)

    async def is_good(self, access: str) -> bool:
        return await self.server.verifier.verify(access) is not None


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def answer(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


def good(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply
    assert reply.body is not None
    return dict(reply.body)


def bad(reply: Reply) -> tuple[int, str]:
    assert reply.body is not None
    return reply.status, str(reply.body["error"])


def basic(id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()


async def sent_back(world: World, query: Sequence[tuple[str, str]]) -> dict[str, str]:
    with pytest.raises(SentBack) as told:
        await world.server.wish(query)
    return answer(told.value.location)
