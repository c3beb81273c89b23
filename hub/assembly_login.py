"""Who may log in and with what: users, the hub's own authorization server, its pages, and the tokens it gave out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette

from hub.admin.operation import Operation
from hub.admin.user_desk import UserDesk
from hub.admin.users import operations
from hub.assembly_issuers import outside, sign_on
from hub.config import Config
from hub.config_auth import Auth, bases
from hub.core.accounts import GrantRow
from hub.core.call import Principal
from hub.core.errors import HubError
from hub.core.ports import Journal
from hub.downstream.fetch import GuardedFetcher
from hub.edge.connect_ports import Connect
from hub.edge.oauth import connect_app, oauth_app, resource_app
from hub.edge.oauth_ports import SignOn
from hub.identity.bearers import Bearers, Claims
from hub.identity.oauth.ports import Parts, Settings
from hub.identity.oauth.resources import Resources
from hub.identity.oauth.server import AuthorizationServer
from hub.identity.oauth.signing import SigningKeys
from hub.identity.outside import signed_by
from hub.identity.roles import Roles
from hub.identity.sealer import KeySealer
from hub.identity.users import Users
from hub.identity.verified import Verifier
from hub.running import DataDir
from hub.stores.sqlite.database import Database
from hub.stores.sqlite.grants import SqliteGrants
from hub.stores.sqlite.users import SqliteUsers

log = logging.getLogger(__name__)

TEND_S: Final = 3600.0
UNREACHED: Final = "http://127.0.0.1"  # of a hub that nobody can log in at: no metadata is served, and nothing names it


@dataclass(frozen=True, slots=True)
class LoginParts:
    users: Users
    roles: Roles
    server: AuthorizationServer
    resources: Resources
    bearers: Bearers
    tokens: IssuedTokens
    journal: Journal
    sso: SignOn | None
    taken: bool  # whether tokens of anybody open this hub, so that it says where to get some
    pages: bool  # whether people log in at it

    def operations(self, journal: Journal) -> tuple[Operation, ...]:
        url = f"{self.resources.issuer}/oauth/welcome" if self.pages else None
        return operations(UserDesk(self.users, self.server, journal, url))

    def door(self, connect: Connect, base: str | None) -> Starlette | None:
        """Its pages and endpoints; None: it has none. `base` is where browsers reach this hub."""
        resources = self.resources
        if self.pages:
            secure = resources.issuer.startswith("https:")
            return oauth_app(
                self.server, self.users, resources, self.journal, secure=secure, sso=self.sso, connect=connect
            )
        if base is not None:
            protected = resources if self.taken else None
            return connect_app(connect, base=base, secure=base.startswith("https:"), resources=protected)
        return resource_app(resources) if self.taken else None


class IssuedTokens:
    """`hub.identity.authenticate.Issued` of the hub's own authorization server."""

    def __init__(self, bearers: Bearers, server: AuthorizationServer) -> None:
        self._server = server
        self.principal, self.admit = bearers.principal, bearers.admit

    def stands(self, who: Principal) -> bool:
        return self._server.stands(who)


async def open_login(
    config: Config,
    database: Database,
    data: DataDir,
    journal: Journal,
    stack: AsyncExitStack,
    endpoints: Callable[[], Collection[str]],
) -> LoginParts:
    """`endpoints` gives the names of those in force. Raises HubError in words."""
    auth, sealer = config.auth, KeySealer(data.key("identity"))
    roles = Roles(auth.roles)
    users = Users(SqliteUsers(database), roles, sealer)
    await users.load()
    is_asked = auth.login or bool(auth.issuers)
    own = bases(config.public_url, config.listen.loopback, config.listen.port) if is_asked else ()
    resources = _resources(auth, own, endpoints)
    fetcher = GuardedFetcher(local=auth.fetch_local)
    signing = SigningKeys(data.path / "keys" / "oauth-signing.json", auth.access_s)
    made = Parts(SqliteGrants(database), users, roles, resources, fetcher, signing, sealer)
    server = AuthorizationServer(made, _settings(auth))
    await server.load()
    verifiers: list[tuple[Claims, Verifier]] = []
    if own and auth.login:
        verifiers.append((signed_by(resources.issuer), server.verifier))
    verifiers += outside(auth.issuers if own else (), fetcher, resources, roles, users, stack)
    bearers = Bearers(verifiers)
    stack.push_async_callback(bearers.aclose)
    _watch(users, server, bearers, journal, stack)
    await stack.enter_async_context(_tended(server))
    pages = bool(own and auth.login)
    sso = sign_on(auth.sso, fetcher, resources, users, stack) if pages else None
    tokens = IssuedTokens(bearers, server)
    return LoginParts(users, roles, server, resources, bearers, tokens, journal, sso, bool(own), pages)


def _resources(auth: Auth, own: tuple[str, ...], endpoints: Callable[[], Collection[str]]) -> Resources:
    """The hub's addresses, and whose tokens open them: its own first."""
    alone = Resources(own or (UNREACHED,), endpoints)
    others = tuple(issuer.issuer for issuer in auth.issuers)
    return Resources(own or (UNREACHED,), endpoints, (alone.issuer, *others) if auth.login else others)


def following(login: LoginParts) -> Callable[[Config], None]:
    """What a new configuration changes while the hub runs: roles. The rest of `auth` needs a restart."""
    before: Auth | None = None

    def follow(config: Config) -> None:
        nonlocal before
        if before is not None and before.roles == config.auth.roles:
            return
        before = config.auth
        login.roles.adopt(config.auth.roles)
        login.bearers.forget_all()

    return follow


def _settings(auth: Auth) -> Settings:
    return Settings(
        access_s=float(auth.access_s),
        refresh_s=auth.refresh_days * 86_400.0,
        registration=auth.registration,
        device=auth.device,
    )


def _watch(
    users: Users, server: AuthorizationServer, bearers: Bearers, journal: Journal, stack: AsyncExitStack
) -> None:
    """What ends for a user or a grant ends for its tokens at once; a theft is told to the log."""
    told: set[asyncio.Task[object]] = set()

    def reused(grant: GrantRow) -> None:
        user = users.by_id(grant.user)
        who = f"user:{user.name if user is not None else grant.user}"
        detail = {"alarm": "token reused", "grant": grant.id, "client": grant.client, "resource": grant.resource}
        task: asyncio.Task[object] = asyncio.create_task(
            journal.event("auth", who, "denied:token_reused", None, detail), name="a reused token"
        )
        told.add(task)
        task.add_done_callback(told.discard)

    async def aclose() -> None:
        if told:
            await asyncio.wait(told, timeout=5.0)

    users.watch(lambda id: _forgotten(bearers, user=id))
    server.watch(lambda id: _forgotten(bearers, family=id))
    server.watch_reuse(reused)
    stack.push_async_callback(aclose)


def _forgotten(bearers: Bearers, *, user: str | None = None, family: str | None = None) -> None:
    bearers.forget(user=user, family=family)


@asynccontextmanager
async def _tended(server: AuthorizationServer) -> AsyncIterator[None]:
    async def tend() -> None:
        while True:
            await asyncio.sleep(TEND_S)
            try:
                await server.tend()
            except (HubError, TimeoutError) as exc:
                log.warning("the authorization server could not be tended; it is tried again: %s", exc)

    task = asyncio.create_task(tend(), name="authorization server")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
