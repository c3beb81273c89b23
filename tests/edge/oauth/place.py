"""A hub's login pages with real users in memory, in front of an authorization server of the test's own."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from anyio.lowlevel import checkpoint
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from starlette.applications import Starlette

from hub.core.accounts import GrantRow
from hub.core.call import Json
from hub.edge.oauth import oauth_app
from hub.edge.oauth_ports import Pairs
from hub.identity.oauth.asked import Login, OAuthClient, Reply, SentBack, Unfit, Wish
from hub.identity.oauth.device import Asked, NotFound
from hub.identity.oauth.resources import Resources
from hub.identity.profiles import Profile
from hub.identity.roles import Roles
from hub.identity.users import Users
from hub.stores.memory.users import MemoryUsers
from tests.admin.fakes import FakeJournal

BASE: Final = "https://hub.example"
PASSWORD: Final = "a long enough secret"
EDITOR: Final = OAuthClient("c-editor", "Editor", ("http://127.0.0.1/cb",), "dynamic")
CLAUDE: Final = OAuthClient(
    "https://claude.example/client.json", "Claude", ("https://claude.example/cb",), "cimd", "claude.example"
)


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Sealing:
    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        return b"\0" * 12 + self._key.encrypt(b"\0" * 12, plain, bound)  # one secret a key: no nonce comes twice

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        try:
            return self._key.decrypt(sealed[:12], sealed[12:], bound)
        except InvalidTag:
            return None


@dataclass
class OwnServer:
    """Takes `client` by id and gives out numbered codes; what it was asked stands in its fields."""

    clients: dict[str, OAuthClient] = field(default_factory=lambda: {c.id: c for c in (EDITOR, CLAUDE)})
    granted_to: list[tuple[Wish, Login, tuple[str, ...]]] = field(default_factory=list)
    forms: list[tuple[str, Pairs, str | None]] = field(default_factory=list)
    registered: list[tuple[bytes, str]] = field(default_factory=list)
    reply: Reply = field(default_factory=lambda: Reply(200, {"ok": True}, {"Cache-Control": "no-store"}))
    failure: Exception | None = None
    goes_to: str | None = None  # instead of where the wish says

    def metadata(self) -> Json:
        return {"issuer": BASE, "token_endpoint": f"{BASE}/oauth/token"}

    def jwks(self) -> Json:
        return {"keys": []}

    async def wish(self, query: Pairs) -> Wish:
        asked = dict(query)
        client = self.clients.get(asked.get("client_id", ""))
        if client is None:
            raise Unfit("no client is known by this id")
        redirect = asked.get("redirect_uri", client.redirect_uris[0])
        if asked.get("response_type", "code") != "code":
            raise SentBack(f"{redirect}?error=unsupported_response_type&iss={BASE}")
        age = asked.get("max_age")
        return Wish(
            *(client, redirect, asked.get("resource", f"{BASE}/mcp"), tuple(asked.get("scope", "mcp").split())),
            challenge="c" * 43,
            state=asked.get("state"),
            prompt=frozenset(asked.get("prompt", "").split()),
            max_age_s=None if age is None else int(age),
        )

    async def granted(self, wish: Wish, login: Login, scopes: tuple[str, ...]) -> str:
        if self.failure is not None:
            raise self.failure
        self.granted_to.append((wish, login, scopes))
        code = f"code-{len(self.granted_to)}"
        await checkpoint()  # as for a store: others get their turn
        return self._location(wish, code=code)

    def refused(self, wish: Wish, error: str = "access_denied", words: str = "") -> str:
        return self._location(wish, error=error)

    def _location(self, wish: Wish, **told: str) -> str:
        state = {} if wish.state is None else {"state": wish.state}
        return f"{self.goes_to or wish.redirect_uri}?{urlencode({**told, **state, 'iss': BASE})}"

    async def token(self, form: Pairs, authorization: str | None) -> Reply:
        return self._form("token", form, authorization)

    async def revoke(self, form: Pairs, authorization: str | None) -> Reply:
        return self._form("revoke", form, authorization)

    async def introspect(self, form: Pairs, authorization: str | None) -> Reply:
        return self._form("introspect", form, authorization)

    async def register(self, body: bytes, address: str) -> Reply:
        self.registered.append((body, address))
        return self.reply

    async def device_authorization(self, form: Pairs, authorization: str | None, address: str) -> Reply:
        return self._form("device_authorization", form, authorization)

    def device_typed(self, code: str, address: str) -> Asked | NotFound:
        return NotFound()  # no program asks without a browser here

    async def device_granted(self, asked: Asked, login: Login) -> str | None:
        return "nothing waits"

    def device_refused(self, asked: Asked) -> bool:
        return False

    def grants_of(self, user: str) -> Sequence[GrantRow]:
        return ()  # codes are given out, and never redeemed

    async def end(self, ids: Sequence[str], reason: str) -> None:
        assert not ids

    async def end_user(self, user: str, reason: str) -> None:
        """Nobody has anything."""

    def _form(self, kind: str, form: Pairs, authorization: str | None) -> Reply:
        if self.failure is not None:
            raise self.failure
        self.forms.append((kind, form, authorization))
        return self.reply


class Place:
    def __init__(self, *, secure: bool = True) -> None:
        self.clock = Clock()
        self.users = Users(MemoryUsers(), Roles(), Sealing(), self.clock)
        self.server = OwnServer()
        self.journal = FakeJournal()
        self.resources = Resources((BASE, "https://hub.internal:8443"), lambda: ("", "team"))
        self.app: Starlette = oauth_app(
            self.server, self.users, self.resources, self.journal, secure=secure, clock=self.clock
        )

    async def user(self, name: str = "ada", *, display: str | None = None) -> str:
        row = await self.users.create(name, Profile(("member",), display=display), PASSWORD)
        return row.id

    def browser(self, base: str = BASE, address: str = "192.0.2.7") -> Browser:
        return Browser(self.app, base, address)


class Page:
    def __init__(self, response: httpx2.Response) -> None:
        self.status, self.headers, self.source = response.status_code, response.headers, response.text

    @property
    def text(self) -> str:
        """What is read, in one line."""
        body = self.source.partition("<main>")[2]
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.source)
        return "" if found is None else html.unescape(found[1])

    @property
    def to(self) -> str:
        return str(self.headers.get("location", ""))

    @property
    def leads_to(self) -> str:
        """Where the page sends the browser by itself."""
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', self.source)
        return "" if found is None else html.unescape(found[1])

    def fields(self) -> dict[str, str]:
        """The hidden ones of every form."""
        found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', self.source)
        return {name: html.unescape(value) for name, value in found}


class Browser:
    """Keeps its cookies, sends what Chromium sends, and follows redirects within the hub."""

    def __init__(self, app: Starlette, base: str, address: str) -> None:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=True, client=(address, 40000))
        self.http = httpx2.AsyncClient(transport=transport, base_url=base, timeout=5)
        self.at = ""  # the path that is shown

    async def get(self, path: str) -> Page:
        return await self._arrive(path, await self.http.get(path))

    async def post(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Page:
        sent = {"origin": "null", "sec-fetch-site": "same-origin", **(headers or {})}
        return await self._arrive(path, await self.http.post(path, data=fields, headers=sent))

    async def _arrive(self, path: str, response: httpx2.Response) -> Page:
        self.at = path
        for _ in range(5):
            page = Page(response)
            if page.status != 303 or not page.to.startswith("/"):
                return page
            self.at = page.to
            response = await self.http.get(page.to)
        raise AssertionError("the pages send the browser round and round")

    async def ask(self, **query: str) -> Page:
        """The request of a client, and whatever page comes of it."""
        return await self.get(f"/oauth/authorize?{urlencode({'client_id': EDITOR.id, 'state': 's t/1', **query})}")

    async def log_in(self, page: Page, name: str = "ada", password: str = PASSWORD) -> Page:
        return await self.post("/oauth/login", {**page.fields(), "name": name, "password": password})

    async def answer(self, page: Page, answer: str = "allow") -> Page:
        return await self.post("/oauth/consent", {**page.fields(), "answer": answer})

    async def answer_with(self, page: Page, **changed: str) -> Page:
        return await self.post("/oauth/consent", {**page.fields(), "answer": "allow", **changed})

    def cookie(self) -> str | None:
        return next((cookie.value for cookie in self.http.cookies.jar), None)


def code_at(typed: str, now: float) -> str:
    """What an authenticator app shows then, for a secret as it is typed into it."""
    secret = base64.b32decode(typed + "=" * (-len(typed) % 8))
    return TOTP(secret, 6, SHA1(), 30).generate(int(now)).decode()


def told(location: str) -> dict[str, str]:
    """The parameters that a client is told."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def renamed(client: OAuthClient, name: str, **changes: Any) -> OAuthClient:
    return replace(client, name=name, **changes)
