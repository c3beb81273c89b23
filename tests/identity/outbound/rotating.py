"""A token endpoint that rotates refresh tokens, over real HTTP, and the hub's parts that talk to it.

It is strict (each refresh token is good once, and a second use ends the grant) or has a grace period, in which the
token before gets the same successor once more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs

from hub.core.connections import ConnectionRow, RegistrationRow
from hub.core.ports import Fetcher
from hub.downstream.fetch import GuardedFetcher
from hub.identity.outbound.held import Tokens
from hub.identity.outbound.parties import AuthServer, Client
from hub.identity.outbound.refresher import Granted
from hub.identity.outbound.tokens import TokenEndpoint

GRACE_S = 30.0
LIFE_S = 3600.0
RESOURCE = "https://wiki.example/mcp"
Stage = Literal["asked", "rotated", "answered"]


async def passed(stage: Stage) -> None:
    """Nothing happens at any stage."""


@dataclass
class Grant:
    user: str
    access: str
    refresh: str
    before: tuple[str, float] | None = None  # the refresh token before, and when it was replaced


@dataclass
class Issuer:
    has_grace: bool = False
    life_s: float = LIFE_S
    fault: tuple[int, str] | None = None  # the status and error it answers with instead
    at: Callable[[Stage], Awaitable[None]] = passed
    asked: list[str] = field(default_factory=list)  # the refresh tokens, in order
    url: str = ""

    async def __aenter__(self) -> Self:
        self._grants: list[Grant] = []
        self._made = 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.down()
        await self._server.wait_closed()

    def down(self) -> None:
        self._server.close()

    def log_in(self, user: str) -> Tokens:
        grant = Grant(user, self._new("access", user), self._new("refresh", user))
        self._grants.append(grant)
        return Tokens(grant.access, grant.refresh, self.life_s)

    def whose(self, access: str) -> str | None:
        """The user whose token in force this is."""
        return next((grant.user for grant in self._grants if grant.access == access), None)

    def revoke(self, user: str) -> None:
        self._grants = [grant for grant in self._grants if grant.user != user]

    def _new(self, kind: str, user: str) -> str:
        self._made += 1
        return f"{kind}-{user}-{self._made}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            form = parse_qs((await reader.readexactly(length)).decode())
            self.asked.append(form["refresh_token"][0])
            await self.at("asked")
            status, said = self._answer(form["refresh_token"][0], form["resource"][0])
            await self.at("rotated")
            body = json.dumps(said).encode()
            writer.write(
                b"HTTP/1.1 %d x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
            )
            await writer.drain()
            await self.at("answered")
        except (OSError, asyncio.IncompleteReadError):
            pass  # the hub was killed
        finally:
            writer.close()

    def _answer(self, token: str, resource: str) -> tuple[int, dict[str, Any]]:
        if self.fault is not None:
            return self.fault[0], {"error": self.fault[1]}
        if resource != RESOURCE:
            return 400, {"error": "invalid_target"}
        for grant in list(self._grants):
            if grant.refresh == token:
                grant.before = (token, monotonic())
                grant.access, grant.refresh = self._new("access", grant.user), self._new("refresh", grant.user)
                return 200, self._given(grant)
            if grant.before is not None and grant.before[0] == token:
                if self.has_grace and monotonic() - grant.before[1] <= GRACE_S:
                    return 200, self._given(grant)
                self._grants.remove(grant)  # RFC 9700 §4.14.2
        return 400, {"error": "invalid_grant"}

    def _given(self, grant: Grant) -> dict[str, Any]:
        return {
            "access_token": grant.access,
            "refresh_token": grant.refresh,
            "token_type": "Bearer",
            "expires_in": self.life_s,
        }


class OverHttp:
    """`hub.identity.outbound.held.TokenClient` for that one issuer."""

    def __init__(self, url: str, fetcher: Fetcher | None = None) -> None:
        self._server = AuthServer(url, f"{url}/token")
        self._endpoint = TokenEndpoint(fetcher or GuardedFetcher(local=("127.0.0.1",)))

    async def refresh(self, row: ConnectionRow, held: Tokens, registration: RegistrationRow | None) -> Tokens:
        assert held.refresh is not None
        client = Client(row.issuer, row.client, "dynamic")
        return await self._endpoint.refresh(self._server, client, held.refresh, row.resource)


class Times:
    """Both clocks of a hub: `pass_by` moves them as time does, `jump` only the one that can be set."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._wall, self._steady = wall, 1000.0

    def wall(self) -> float:
        return self._wall

    def steady(self) -> float:
        return self._steady

    def pass_by(self, seconds: float) -> None:
        self._wall += seconds
        self._steady += seconds

    def jump(self, seconds: float) -> None:
        self._wall += seconds


def granted(issuer: str, user: str, tokens: Tokens, **more: Any) -> Granted:
    return Granted(user, "wiki", issuer, RESOURCE, "hub", tokens, **more)
