"""A company's own provider (panva's oidc-provider), run as a program, and a person with a browser who logs in at it."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import httpx2

from tests.e2e.hub_process import Hub, raw_server, until
from tests.e2e.login_place import BACK, LoginPlace, made_user
from tests.e2e.raw_http import free_port
from tests.equipment_clients import COMPANY_NPM, company_node

STOP_S: Final = 10.0
PEOPLE: Final = {
    "c-ada": {"preferred_username": "ada", "name": "Ada L.", "email": "ada@corp.example", "roles": ["staff", "boss"]},
    "c-bob": {"preferred_username": "bob", "name": "Bob", "email": "bob@corp.example", "roles": ["staff"]},
    "c-eve": {"preferred_username": "eve", "roles": ["guests"]},
}


class Company:
    """The provider on a port of its own. People log in by their name and any password."""

    def __init__(
        self, folder: Path, port: int, hub: str, people: Mapping[str, Mapping[str, Any]], format: str = "jwt"
    ) -> None:
        """`format` of its access tokens: "jwt", or "opaque"."""
        self.issuer, self.secret = f"http://127.0.0.1:{port}", f"company-canary-{secrets.token_hex(16)}"
        self._told = {"port": port, "hub": hub, "secret": self.secret, "people": people, "format": format}
        self._log = folder / "company.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [company_node(), "provider.mjs", json.dumps(self._told)], cwd=COMPANY_NPM, stdout=log, stderr=log
            )
        until(self._is_up, "the company's provider answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx2.get(f"{self.issuer}/.well-known/openid-configuration", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False


class Browser:
    """Somebody's browser at the company: keeps its cookies, and logs in when it is asked to."""

    def __init__(self, company: Company, name: str) -> None:
        self._company, self._name = company, name
        self._http = httpx2.Client(timeout=15, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._http.close()

    def go(self, url: str) -> str:
        """From the provider's authorization endpoint to where it sends the browser back."""
        response = self._http.get(url)
        for _ in range(10):
            if "location" in response.headers:
                url = urljoin(str(response.request.url), response.headers["location"])
                if not url.startswith(self._company.issuer):
                    return url
                response = self._http.get(url)
                continue
            form = re.search(r'action="([^"]+)"', response.text)
            assert form is not None, f"{response.status_code} {urlsplit(url).path}: {response.text[:500]}"
            prompt = re.search(r'name="prompt" value="([a-z]+)"', response.text)
            typed = {"prompt": prompt[1] if prompt else "", "login": self._name, "password": "any"}
            response = self._http.post(urljoin(str(response.request.url), form[1]), data=typed)
        raise AssertionError("the provider sends the browser round and round")


@dataclass(frozen=True)
class World:
    """A hub that people log in at by their company's provider."""

    place: LoginPlace
    hub: Hub
    company: Company
    client: str  # id of the one program of everybody here

    def entries(self, act: str) -> list[dict[str, object]]:
        found = [entry for entry in self.place.entries() if (entry.get("detail") or {}).get("act") == act]
        return [{**entry["detail"], "who": entry["who"], "outcome": entry["outcome"]} for entry in found]


@contextmanager
def company_world(folder: Path, redirect: str = "", **more: Any) -> Iterator[World]:
    """`redirect`: where the program waits; `more` of the settings of `auth.sso`."""
    port = free_port()
    with Company(folder, free_port(), f"http://127.0.0.1:{port}", PEOPLE) as company:
        mapped = {"claims": {"roles": "roles"}, "roles": {"staff": "member", "boss": "admin"}}
        sso = {"issuer": company.issuer, "client_id": "hub", "client_secret": "env:SSO_SECRET", "name": "Example Corp"}
        issuer = {"issuer": company.issuer, "name": "corp", "algorithms": ["ES256"], **mapped}
        config = {
            "listen": f"127.0.0.1:{port}",
            "mcpServers": {"raw": raw_server("modern")},
            "auth": {"sso": {**sso, **mapped, **more}, "issuers": [issuer], "fetch_local": ["127.0.0.1"]},
        }
        place = LoginPlace(folder / "home", config, SSO_SECRET=company.secret)
        with Hub(place) as hub:
            made_user(hub, "ada", "member")  # a local one, of the same name as somebody at the company
            hub.wait_for("raw__echo")
            yield World(place, hub, company, registered(port, redirect or BACK))


def registered(port: int, redirect: str) -> str:
    told = {"client_name": "Editor", "redirect_uris": [redirect], "token_endpoint_auth_method": "none"}
    answer = httpx2.post(f"http://127.0.0.1:{port}/oauth/register", json=told, trust_env=False)
    return str(answer.json()["client_id"])
