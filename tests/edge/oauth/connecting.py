"""Logins at downstreams as the pages see them: links that are good once, and an issuer that says what a test wants.

What came of a login is held by the real connections.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from anyio.lowlevel import checkpoint

from hub.core.call import Json
from hub.core.connections import ConnectionRow, RegistrationRow
from hub.core.ports import Offer
from hub.edge.oauth import connect_app, oauth_app
from hub.identity.outbound.account import Connection, OwnConnections
from hub.identity.outbound.book import Clocks
from hub.identity.outbound.desk import Unofferable
from hub.identity.outbound.errors import Refused, Unavailable, Unfit
from hub.identity.outbound.held import Sealer, Tokens
from hub.identity.outbound.pending import Lost
from hub.identity.outbound.refresher import MAX_LABEL, Connections, Granted, Unusable
from hub.stores.memory.connections import MemoryConnections
from tests.edge.oauth.place import BASE, Browser, Page, Place, Sealing

ISSUER: Final = "https://login.example"
CALLBACK: Final = "/oauth/connect/callback"


@dataclass(frozen=True, slots=True)
class Waiting:
    server: str
    account: str
    whose: str
    is_user: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    server: str
    account: str
    connection: ConnectionRow


class NoRenewal:
    async def refresh(self, row: ConnectionRow, held: Tokens, registration: RegistrationRow | None) -> Tokens:
        raise Unavailable("there is no network here")


class OwnConnect:
    """`Connect` in memory, as good as its port says."""

    def __init__(
        self, clock: Callable[[], float], base: str = BASE, issuer: str = ISSUER, sealer: Sealer | None = None
    ) -> None:
        self._base, self._issuer = base, issuer
        clocks = Clocks(wall=clock, steady=clock)
        self.connections = Connections(MemoryConnections(), sealer or Sealing(), NoRenewal(), clocks)
        self._own = OwnConnections(self.connections)
        self.of, self.get, self.rename, self.choose = (
            *(self._own.of, self._own.get),
            *(self._own.rename, self._own.choose),
        )
        self.offered: dict[str, Waiting] = {}
        self.under_way: dict[str, tuple[str, str]] = {}  # browser and token, by state
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.answers: list[list[tuple[str, str]]] = []
        self.servers: tuple[str, ...] = ("linear", "notion")
        self.failure: Exception | None = None
        self.goes_to: str | None = None  # instead of to the issuer
        self.life_s = 3600.0  # of tokens, which nobody renews
        self.name: str | None = "ada@example.com"
        self.client: Json | None = {"client_id": f"{base}/oauth/client.json"}

    def offer(self, account: str, whose: str = "whoever has the key", server: str = "linear", **more: Any) -> str:
        """The path of the page that a caller is given."""
        token = secrets.token_urlsafe(32)
        self.offered[token] = Waiting(server, account, whose, **{"is_user": False, **more})
        return f"/oauth/connect?c={token}"

    def pending(self, token: str) -> Waiting | None:
        return self.offered.get(token)

    async def begin(self, token: str, browser: str) -> str:
        await checkpoint()  # as for an issuer that is asked: others get their turn
        if token not in self.offered:
            raise Lost("this login was used already")
        self.begun.append((token, browser))
        if self.failure is not None:
            raise self.failure
        state = secrets.token_urlsafe(32)
        self.under_way = {of: one for of, one in self.under_way.items() if one[1] != token}
        self.under_way[state] = browser, token
        query = urlencode({"response_type": "code", "state": state})
        return self.goes_to or f"{self._issuer}/authorize?{query}&note=%22%3E'<b>"

    async def finish(self, query: Sequence[tuple[str, str]], browser: str) -> Arrived:
        self.answers.append(list(query))
        said = dict(query)
        found = self.under_way.get(said.get("state", ""))
        if found is None or found[0] != browser:
            raise Lost("the answer is to no login that is under way")
        del self.under_way[said["state"]]
        await checkpoint()
        if self.failure is not None:
            raise self.failure
        if "error" in said:
            raise Refused(said["error"], "the issuer")
        try:
            arrived = await self.keep(self.offered[found[1]])
        except Unusable as exc:
            raise Unfit(str(exc)) from exc
        del self.offered[found[1]]
        return arrived

    async def keep(self, waiting: Waiting) -> Arrived:
        granted = Granted(
            *(waiting.account, waiting.server, ISSUER, f"https://{waiting.server}.example/mcp", "hub"),
            Tokens(secrets.token_urlsafe(16), None, self.life_s),
            label=waiting.label,
            account=self.name,
        )
        return Arrived(waiting.server, waiting.account, await self.connections.keep(granted))

    def offer_to(self, account: str, whose: str, server: str, label: str = "") -> Offer:
        if server == "closed":
            raise Unofferable("you have asked for these rights often enough")
        if len(label) > MAX_LABEL:
            raise Unofferable("a name for an account is shorter")
        path = self.offer(account, whose, server, is_user=True, label=label)
        return Offer("an-id", f"{self._base}{path}")

    def protected(self) -> tuple[str, ...]:
        return self.servers

    def document(self) -> Json | None:
        return self.client

    async def disconnect(self, user: str, id: str, who: str) -> Connection:
        gone = await self._own.remove(user, id)
        self.ended.append((id, who))
        return gone


class ConnectPlace(Place):
    """A hub that people log in to, and that logs in to downstreams for them."""

    def __init__(self) -> None:
        super().__init__()
        self.connect = OwnConnect(self.clock)
        self.app = oauth_app(
            *(self.server, self.users, self.resources, self.journal),
            secure=True,
            connect=self.connect,
            clock=self.clock,
        )

    async def mine(self, path: str, name: str = "ada") -> str:
        """The path of a page that this user is offered, made by `path`: a server."""
        row = self.users.find(name)
        assert row is not None
        return self.connect.offer(row.id, name, path, is_user=True)

    async def logged_in(self, name: str = "ada") -> Browser:
        browser = self.browser()
        page = await browser.log_in(await browser.get("/oauth/account"), name)
        assert page.title.startswith("Your page"), page.text
        return browser

    def acts(self) -> list[tuple[str, str, str]]:
        return [(who, outcome, detail["act"]) for _, who, outcome, detail in self.journal.events]


class BarePlace(Place):
    """A hub that nobody logs in to, and that logs in to downstreams."""

    def __init__(self, *, with_resources: bool = False) -> None:
        super().__init__()
        self.connect = OwnConnect(self.clock)
        self.app = connect_app(
            self.connect,
            base=BASE,
            secure=True,
            resources=self.resources if with_resources else None,
            clock=self.clock,
        )


def goal(page: Page) -> str:
    """Where the browser is sent, by the page or by its answer."""
    return page.leads_to or page.to


def state_of(page: Page) -> str:
    return parse_qs(urlsplit(goal(page)).query)["state"][0]


def answered(page: Page, **said: str) -> str:
    """The path that the issuer sends the browser to."""
    return f"{CALLBACK}?{urlencode({'code': 'a-code', 'state': state_of(page), 'iss': ISSUER, **said})}"
