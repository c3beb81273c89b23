"""The assembled hub and its logins from the inside: every route it has, and every call of an admission that fails."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

import hub.edge.admission
import hub.edge.http
import hub.identity.oauth.tokens
from hub.admin.api import admin_app
from hub.assembly_doors import admin_ports
from hub.assembly_login import following
from hub.config_auth import Auth
from hub.core.call import Grants
from hub.core.errors import HubError
from hub.edge.oauth import is_ours
from hub.identity.authenticate import Identities
from hub.identity.bearers import Bearers
from hub.identity.oauth.asked import Login
from hub.identity.oauth.families import Families
from hub.identity.oauth.resources import Resources
from hub.identity.oauth.signing import SigningKeys
from hub.identity.oauth.tokens import AccessTokens, OwnTokens
from hub.identity.profiles import Profile
from hub.identity.roles import Role, Roles
from hub.identity.users import Users
from hub.identity.verified import Verified
from hub.running import DataDir
from tests.e2e.live_hub import ADMIN, CLIENT, LiveHub, connected, live_hub
from tests.e2e.raw_http import Http

SERVERS: Final = Path(__file__).resolve().parent / "e2e" / "servers"
RAW: Final = {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw_stdio.py"), "legacy"]}
PASSWORD: Final = "a long enough secret"
BACK: Final = "http://127.0.0.1/cb"
OPEN: Final = frozenset({"/health", "/ready", "/metrics"})


@dataclass(frozen=True, slots=True)
class Ada:
    """A user with a login, made without a browser."""

    hub: LiveHub
    id: str
    client: str

    async def token(self) -> str:
        login, verifier = self.hub.parts.login, secrets.token_urlsafe(40)
        hashed = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {"response_type": "code", "client_id": self.client, "redirect_uri": BACK, "code_challenge": hashed}
        wish = await login.server.wish([*asked.items(), ("code_challenge_method", "S256")])
        user = login.users.by_id(self.id)
        assert user is not None
        location = await login.server.granted(wish, Login(user, time(), "password"), wish.scopes)
        [code] = parse_qs(urlsplit(location).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        reply = await login.server.token([*form.items(), ("client_id", self.client), ("redirect_uri", BACK)], None)
        assert reply.status == 200, reply
        assert isinstance(reply.body, dict)
        return str(reply.body["access_token"])

    async def status(self, token: str) -> int:
        answer = await asyncio.to_thread(Http(self.hub.port, token).call, "raw__echo", {"text": "x"})
        return answer.status


@asynccontextmanager
async def with_ada(folder: Path, **config: Any) -> AsyncIterator[Ada]:
    async with live_hub(folder, {"mcpServers": {"raw": RAW}, **config}) as running:
        users = running.parts.login.users
        row = await users.create("ada", Profile(("member",)), PASSWORD)
        told = b'{"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none"}'
        reply = await running.parts.login.server.register(told, "127.0.0.1")
        assert isinstance(reply.body, dict)
        async with asyncio.timeout(15):
            while "raw__echo" not in await running.names():
                await asyncio.sleep(0.02)
        yield Ada(running, row.id, str(reply.body["client_id"]))


async def calls(hub: LiveHub) -> int:
    """How many calls the server behind it has had."""
    async with connected(hub.port, CLIENT) as caller:
        answer = await caller.ask("tools/call", {"name": "raw__state", "arguments": {}})
    text = str(answer["result"]["content"][0]["text"])
    return text.count("echo")


# 1


def routes_of(app: Starlette) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        assert isinstance(route, Route), "a mount hides routes from this test"
        for method in sorted(route.methods or ()):
            path = route.path.replace("{path:path}", "mcp")
            yield method, path.replace("{", "").replace("}", "")


async def test_check_1_every_route_but_health_and_those_of_the_login_app_needs_a_token(tmp_path: Path) -> None:
    async with with_ada(tmp_path) as ada:
        parts, nobody = ada.hub.parts, Http(ada.hub.port, None)
        rest = admin_app(admin_ports(parts, DataDir(tmp_path / "data"), "2026-01-01T00:00:00Z", lambda: True))
        found = [(method, path) for method, path in routes_of(rest) if path not in OPEN]
        assert len(found) > 40
        for method, path in found:
            assert not is_ours(path)
            answer = await asyncio.to_thread(nobody.request, method, path)
            assert answer.status == 401, (method, path)


async def test_check_1_no_route_of_the_login_app_tells_a_stranger_who_there_is_or_takes_a_form(tmp_path: Path) -> None:
    async with with_ada(tmp_path) as ada:
        parts, nobody = ada.hub.parts, Http(ada.hub.port, None)
        app = parts.login.door(parts.outbound.connect, None)
        assert app is not None
        found = list(routes_of(app))
        assert len(found) > 20
        grants = ada.hub.parts.login.server.grants_of(ada.id)
        for method, path in found:
            assert is_ours(path), path
            answer = await asyncio.to_thread(nobody.request, method, path, b"" if method == "POST" else None)
            assert b"ada" not in answer.body.replace(b"metadata", b"").replace(b"adapt", b""), path
            assert answer.headers.get("location", "/oauth/").startswith("/oauth/")
            if method == "POST":
                assert answer.status >= 400, path
        assert ada.hub.parts.login.server.grants_of(ada.id) == grants


# 4

FAULTS: Final = (
    (hub.edge.admission, "bearer"),
    (hub.edge.admission, "meant_for"),
    (Identities, "verify"),
    (Identities, "admit"),
    (Bearers, "_ask"),
    (Bearers, "_keep"),
    (OwnTokens, "verify"),
    (AccessTokens, "read"),
    (SigningKeys, "public"),
    (Families, "get"),
    (Users, "by_id"),
    (Roles, "of"),
    (Resources, "endpoint_of"),
    (hub.identity.oauth.tokens, "principal_of"),
    (hub.identity.oauth.tokens, "endpoints_of"),
)


async def test_check_4_whatever_fails_while_a_caller_is_admitted_nobody_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_ada(tmp_path) as ada:
        assert await ada.status(await ada.token()) == 200
        before = await calls(ada.hub)
        for error in (RuntimeError("x"), HubError("x"), TimeoutError(), KeyError("x")):
            for owner, name in FAULTS:
                token, reached = await ada.token(), list[int]()

                def fails(*args: object, reached: list[int] = reached, error: Exception = error, **more: object) -> Any:
                    reached.append(1)
                    raise error

                with monkeypatch.context() as patched:
                    patched.setattr(owner, name, fails)
                    assert await ada.status(token) in (401, 429, 500), (owner, name)
                assert reached, f"{name} takes no part in admissions"
        assert await calls(ada.hub) == before
        assert await ada.status(await ada.token()) == 200


ALIKE: Any = "user:ada"


@pytest.mark.parametrize(
    "answer",
    [True, 1, ALIKE, {}, Verified(ALIKE, time() + 600, "x", "x", None), Verified(ALIKE, float("nan"), "x", "x", None)],
    ids=["true", "one", "a name", "a dict", "a verified name", "for no time"],
)
async def test_check_4_what_is_no_principal_is_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    async def verified(self: OwnTokens, token: str) -> Any:
        return answer

    async with with_ada(tmp_path) as ada:
        token = await ada.token()
        monkeypatch.setattr(OwnTokens, "verify", verified)
        assert await ada.status(token) == 401


async def test_check_4_a_connection_that_was_served_before_is_not_when_admission_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short way of a request whose head was judged before has the same door."""
    ask = ("tools/call", {"name": "raw__echo", "arguments": {"text": "x"}})

    def fails(*args: object) -> Any:
        raise RuntimeError("x")

    async with with_ada(tmp_path) as ada, connected(ada.hub.port, await ada.token()) as caller:
        for _ in range(3):
            assert "result" in await caller.ask(*ask)
        before = await calls(ada.hub)
        with monkeypatch.context() as patched:
            patched.setattr(Identities, "verify", fails)
            try:
                told = await caller.ask(*ask)
            except (ValueError, asyncio.IncompleteReadError, ConnectionError):
                told = {"error": "no answer in the protocol"}
        assert "error" in told
        assert await calls(ada.hub) == before


# What a new configuration changes


async def test_roles_of_a_new_configuration_are_taken_once_and_only_when_they_differ(tmp_path: Path) -> None:
    async with with_ada(tmp_path) as ada:
        login, config, token = ada.hub.parts.login, ada.hub.parts.current.config, await ada.token()
        follow = following(login)
        follow(config)
        who = await login.tokens.admit(token)
        assert who is not None
        follow(replace(config, auth=Auth()))
        assert await login.tokens.admit(token) is who  # nothing differs: kept as it was
        changed = Role("member", frozenset({"mcp"}), Grants(frozenset({"other"})))
        follow(replace(config, auth=Auth(roles={"member": changed})))
        after = await login.tokens.admit(token)
        assert after is not None
        assert after.within == (changed.grants,)
        assert not login.tokens.stands(who)
        assert login.tokens.stands(after)


async def test_with_login_off_there_is_no_app_no_link_and_no_token_that_is_taken(tmp_path: Path) -> None:
    async with live_hub(tmp_path, {"auth": {"login": False}}) as running:
        assert not running.parts.login.pages
        for path in ("/oauth/login", "/oauth/authorize", "/oauth/token", "/.well-known/oauth-authorization-server"):
            assert (await asyncio.to_thread(Http(running.port, None).request, "GET", path)).status == 404
        answer = await asyncio.to_thread(Http(running.port, ADMIN).request, "POST", "/api/v1/users/invite")
        assert answer.status == 409
        assert b"/oauth/" not in answer.body
