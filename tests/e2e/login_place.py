"""A hub that people log in at, started from these sources, and a person with a browser and a program of theirs.

The browser is scripted over HTTP: it keeps cookies, sends what Chromium sends, and fills in the pages' own forms.
"""

from __future__ import annotations

import base64
import html
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Place
from tests.e2e.raw_http import Http

ROOT: Final = Path(__file__).resolve().parents[2]
PASSWORD: Final = "password-canary-0123456789abcdef"
BACK: Final = "http://127.0.0.1/callback"
FORM: Final = "application/x-www-form-urlencoded"


class LoginPlace(Place):
    """As `Place`; the sources as they are, so that what is stored can be read with them."""

    def __init__(self, home: Path, config: Mapping[str, Any] | None = None, **env: str) -> None:
        tokens = {"MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": ADMIN}
        super().__init__(home, config, **{"PYTHONPATH": str(ROOT), **tokens, **env})
        self.client = ""  # the one program of everybody here, once it has registered

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hub.cli.main", *words, "--config", str(self.config)]


def made_user(hub: Hub, name: str, *roles: str) -> str:
    """The id of a new user, made by the admin of a running hub."""
    wish = {"name": name, "password": PASSWORD, "roles": list(roles)}
    answer = hub.admin.request("POST", "/api/v1/users", wish)
    assert answer.status in (200, 201), answer.body
    return str(answer.json["id"])


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True)
class Code:
    """A code on its way to the program, and what only the program knows."""

    value: str = field(repr=False)
    verifier: str = field(repr=False)


class Page:
    def __init__(self, response: httpx2.Response) -> None:
        self.status, self.headers, self.source = response.status_code, response.headers, response.text
        self.path = response.request.url.path

    def fields(self) -> dict[str, str]:
        found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', self.source)
        return {name: html.unescape(value) for name, value in found}

    @property
    def text(self) -> str:
        body = self.source.partition("<main>")[2]
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def leads_to(self) -> str:
        """Where the browser is sent: by the page itself, or as a redirect."""
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', self.source)
        return html.unescape(found[1]) if found is not None else str(self.headers.get("location", ""))


class Person:
    def __init__(self, port: int, name: str, password: str = PASSWORD) -> None:
        self.base, self.name, self.password = f"http://127.0.0.1:{port}", name, password
        self.http = httpx2.Client(base_url=self.base, timeout=15, trust_env=False)
        self.client = ""

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.close()

    def moved(self, port: int) -> None:
        """The hub was started again on this port; the browser and the program are the same."""
        self.base = f"http://127.0.0.1:{port}"
        self.http.base_url = httpx2.URL(self.base)

    def register(self, name: str = "Editor") -> str:
        told = {"client_name": name, "redirect_uris": [BACK], "token_endpoint_auth_method": "none"}
        answer = self.http.post("/oauth/register", json=told)
        assert answer.status_code in (200, 201), answer.text
        self.client = str(answer.json()["client_id"])
        return self.client

    def get(self, path: str) -> Page:
        return self._arrive(self.http.get(path))

    def post(self, path: str, fields: Mapping[str, str]) -> Page:
        sent = {"origin": "null", "sec-fetch-site": "same-origin"}
        return self._arrive(self.http.post(path, data=dict(fields), headers=sent))

    def ask(self, verifier: str, **query: str) -> Page:
        """The program opens the browser. The page shown is of login, of consent, or none: sent back."""
        hashed = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.client,
            "redirect_uri": BACK,
            "code_challenge": hashed,
            "code_challenge_method": "S256",
            "state": "s",
            **query,
        }
        return self.get(f"/oauth/authorize?{urlencode(asked)}")

    def answer(self, page: Page) -> Page:
        """Log in where that is asked, and allow."""
        if page.path == "/oauth/login":
            typed = {"name": self.name, "password": self.password}
            page = self.post("/oauth/login", {**page.fields(), **typed})
        assert page.path == "/oauth/consent", f"{page.status} {page.path}: {page.text}"
        return self.post("/oauth/consent", {**page.fields(), "answer": "allow"})

    def told(self, **query: str) -> tuple[dict[str, str], str]:
        """What the program is told in the end, and its verifier."""
        verifier = secrets.token_urlsafe(40)
        page = self.ask(verifier, **query)
        location = page.leads_to if page.leads_to.startswith(BACK) else self.answer(page).leads_to
        assert location.startswith(BACK), location
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}, verifier

    def code(self, **query: str) -> Code:
        told, verifier = self.told(**query)
        assert "code" in told, told
        return Code(told["code"], verifier)

    def redeem(self, code: Code, **more: str) -> httpx2.Response:
        own = {"code": code.value, "code_verifier": code.verifier, "redirect_uri": BACK}
        return self.token(grant_type="authorization_code", **{**own, **more})

    def refresh(self, token: str, **more: str) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=token, **more)

    def token(self, **fields: str) -> httpx2.Response:
        return self.http.post("/oauth/token", data={"client_id": self.client, **fields})

    def log_in(self, **query: str) -> Tokens:
        """All of it: `resource` and `scope` as the program asks for them."""
        return tokens_of(self.redeem(self.code(**query)))

    def at(self, tokens: Tokens) -> Http:
        return Http(int(self.base.rpartition(":")[2]), tokens.access)

    def address(self, endpoint: str = "") -> str:
        return f"{self.base}{f'/{endpoint}' if endpoint else ''}/mcp"

    def _arrive(self, response: httpx2.Response) -> Page:
        for _ in range(6):
            page = Page(response)
            to = str(response.headers.get("location", ""))
            if page.status != 303 or not to.startswith("/"):
                return page
            response = self.http.get(to)
        raise AssertionError("the pages send the browser round and round")


def tokens_of(answer: httpx2.Response) -> Tokens:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return Tokens(found["access_token"], found.get("refresh_token", ""), found["scope"])


def person(hub: Hub, name: str) -> Person:
    """With the program that all share: an address registers ten times a minute."""
    found, place = Person(hub.port, name), hub.place
    assert isinstance(place, LoginPlace)
    found.client = place.client = place.client or found.register()
    return found
