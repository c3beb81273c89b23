"""What the pages and the programs' endpoints of the authorization server need of the parts behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hub.core.accounts import GrantRow, UserRow
from hub.core.call import Json
from hub.core.ports import Journal
from hub.edge.browser import Browsers
from hub.edge.connect_ports import Connect
from hub.edge.oauth_parked import Waiting
from hub.identity.oauth.asked import Login, Reply, Wish
from hub.identity.oauth.device import Asked, NotFound
from hub.identity.oauth.sso import Arrived, Begun

Pairs = list[tuple[str, str]]


class Server(Protocol):
    """The authorization server."""

    def metadata(self) -> Json: ...
    def jwks(self) -> Json: ...

    async def wish(self, query: Pairs) -> Wish:
        """Raises Unfit, SentBack."""

    async def granted(self, wish: Wish, login: Login, scopes: tuple[str, ...]) -> str:
        """Where to send the browser, with a code."""

    def refused(self, wish: Wish, error: str = "access_denied", words: str = "") -> str:
        """Where to send the browser, without one."""

    async def token(self, form: Pairs, authorization: str | None) -> Reply: ...
    async def revoke(self, form: Pairs, authorization: str | None) -> Reply: ...
    async def introspect(self, form: Pairs, authorization: str | None) -> Reply: ...
    async def register(self, body: bytes, address: str) -> Reply: ...
    async def device_authorization(self, form: Pairs, authorization: str | None, address: str) -> Reply: ...

    def device_typed(self, code: str, address: str) -> Asked | NotFound:
        """The program without a browser that waits under this code."""

    async def device_granted(self, asked: Asked, login: Login, /) -> str | None:
        """None: done; else why not, in words."""

    def device_refused(self, asked: Asked, /) -> bool:
        """False: it was answered already, or has expired."""

    def grants_of(self, user: str, /) -> Sequence[GrantRow]:
        """Those in force, by the user's id, oldest first."""

    async def end(self, ids: Sequence[str], reason: str, /) -> None: ...

    async def end_user(self, user: str, reason: str, /) -> None:
        """All of a user, those too whose code is on its way."""


class NotIn(Protocol):
    """Why somebody is not logged in."""

    @property
    def kind(self) -> str:
        """ "wrong", "otp_needed", "otp_wrong" or "wait"."""

    @property
    def wait_s(self) -> float: ...


class People(Protocol):
    def any(self) -> bool:
        """Whether there is a user who can log in."""

    def find(self, name: str) -> UserRow | None: ...
    def by_id(self, id: str, /) -> UserRow | None: ...
    async def check(self, name: str, password: str, otp: str | None, address: str) -> Login | NotIn: ...

    async def set_password(self, id: str, password: str, expected: int | None = None, /) -> UserRow:
        """Raises ValueError in words, Conflict."""

    def begin_otp(self, id: str, issuer: str, /) -> tuple[str, str]:
        """A new one-time secret, as people type it and as a URI. Raises ValueError in words."""

    async def confirm_otp(self, id: str, code: str, /) -> UserRow:
        """The secret is in force. Raises ValueError in words."""

    async def reset_otp(self, id: str, expected: int | None = None, /) -> UserRow: ...

    async def accept(self, code: str, name: str, password: str) -> UserRow:
        """The first user, an admin. Raises ValueError in words."""

    async def put_back(self, made: UserRow, before: UserRow | None, /) -> None:
        """Undo what could not be logged; `before` None: the user was new."""

    def watch(self, fn: Callable[[str], None], /) -> object:
        """`fn` is told the id of a user whose access must end."""


class Addresses(Protocol):
    """The hub's own public addresses."""

    @property
    def issuer(self) -> str: ...
    def endpoint_of(self, resource: str, /) -> str | None: ...
    def is_admin(self, resource: str, /) -> bool: ...
    def document(self, endpoint: str, host: str | None, /) -> Json: ...
    def admin_document(self) -> Json: ...


class SignOn(Protocol):
    """The login of the company's provider. Both raise `hub.identity.oauth.provider.SsoFailed`."""

    @property
    def title(self) -> str: ...

    @property
    def password_login(self) -> bool:
        """Whether users of the hub's own may log in beside it."""

    async def begin(self, key: str, *, again: bool, max_age_s: int | None) -> Begun:
        """`key` comes back before the first dot of the answer's `state`."""

    async def finish(self, begun: Begun, answer: Mapping[str, str]) -> Arrived: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that one page may use."""

    server: Server
    users: People
    resources: Addresses
    journal: Journal
    browsers: Browsers
    waiting: Waiting
    clock: Callable[[], float]
    sso: SignOn | None = None
    connect: Connect | None = None  # None: the hub logs in to no downstream for them
