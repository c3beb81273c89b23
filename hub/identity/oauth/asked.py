"""What passes between the authorization server and the pages in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hub.core.accounts import Strength, UserRow
from hub.core.call import Json


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client as one request found it."""

    id: str
    name: str  # as it calls itself; shown to people, never trusted
    redirect_uris: tuple[str, ...]
    origin: Literal["cimd", "dynamic", "admin"]
    host: str | None = None  # whose document describes it (CIMD); the only thing about it that was checked
    auth_method: Literal["none", "client_secret_basic", "client_secret_post"] = "none"
    secret_sha256: str | None = None
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")


@dataclass(frozen=True, slots=True)
class Wish:
    """An authorization request that is in order, and waits for a user to log in and say yes."""

    client: OAuthClient
    redirect_uri: str
    resource: str  # what the token is to be for: one of the hub's own
    scopes: tuple[str, ...]
    challenge: str  # S256
    state: str | None = None
    prompt: frozenset[str] = frozenset()  # "login", "consent", "none"
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A user who proved to be one, in this browser."""

    user: UserRow
    at: float
    strength: Strength


class Unfit(Exception):
    """No redirect may answer the request (unknown client, foreign redirect URI): tell the person, in these words."""


class SentBack(Exception):
    """The client is told by a redirect what was wrong."""

    def __init__(self, location: str) -> None:
        super().__init__("the client is told")
        self.location = location


@dataclass(frozen=True, slots=True)
class Reply:
    """Of an endpoint that programs use."""

    status: int
    body: Json | None
    headers: Mapping[str, str] = field(default_factory=dict)
