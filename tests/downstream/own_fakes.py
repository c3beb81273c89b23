"""Accounts with links of their own, over a catalogue: what each link lists is what a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from hub.core.call import Item, Json, Kind
from hub.core.connections import ServerAuth
from hub.core.errors import DownstreamError, NeedsLogin
from hub.core.ports import Change, Endpoint
from hub.downstream.credential import Credential
from hub.downstream.link import Link, LinkEvents, ServerSpec
from hub.downstream.own_catalog import OwnCatalogue
from hub.downstream.personal_links import PersonalEvents, PersonalLinks
from hub.downstream.refresher import Pace
from tests.downstream.catalog_fakes import FAST, FakeLink, Hub, MemoryPins, spec, until

ANNA, BEN, CARL = "u-anna", "u-ben", "u-carl"
ALL: tuple[Kind, ...] = ("tool", "prompt", "resource", "template")


def personal(id: str = "srv", **given: Any) -> ServerSpec:
    """A server where everybody has his own account."""
    return replace(spec(id, **given), transport="http", url=f"https://{id}.test/mcp", auth=ServerAuth())


class Holding:
    """The credential of one account at one server."""

    silent = False

    def __init__(self, server: str, account: str) -> None:
        self.server, self.account = server, account

    async def token(self) -> str | None:
        return f"token of {self.account}"

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        raise NeedsLogin(self.server, "its login has ended")

    def served(self) -> None:
        return None


class Wallet:
    """Who holds a connection where."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()

    def shared(self, server: str) -> Credential | None:
        return None

    def own(self, server: str, account: str) -> Credential | None:
        return Holding(server, account) if (server, account) in self.held else None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class OwnHub:
    """The real catalogues and the real links of accounts; behind them servers that answer as `links` say."""

    def __init__(
        self,
        *specs: ServerSpec,
        endpoints: tuple[Endpoint, ...] = (Endpoint(""),),
        pins: MemoryPins | None = None,
        pace: Pace = FAST,
        most: int = 100,
    ) -> None:
        self.base = Hub(*(specs or (personal(),)), endpoints=endpoints, pins=pins, pace=pace)
        self.wallet, self.clock = Wallet(), Clock()
        self.links: dict[tuple[str, str], FakeLink | DownstreamError] = {}
        self.events: dict[tuple[str, str], LinkEvents] = {}
        self.opened: list[tuple[str, str]] = []
        self.own = OwnCatalogue(
            self.base.catalog, self.wallet, self._opened, pace=pace, clock=self.clock, keep_s=3600, most=most
        )
        events = PersonalEvents(self.own.on_up, self.own.on_notified)
        self.personal = PersonalLinks({"http": self._open}, self.wallet, events, self.base.catalog.specs.get)

    async def __aenter__(self) -> OwnHub:
        await self.base.catalog.start()
        for server in self.base.catalog.specs:
            self.base.health(server, "down")  # nobody waits for the start of what nobody brings up
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.own.aclose()
        await self.personal.aclose()
        await self.base.catalog.aclose()

    def connect(self, account: str, link: FakeLink | DownstreamError, server: str = "srv") -> None:
        """A connection that was there before the hub started."""
        self.wallet.held.add((server, account))
        self.links[server, account] = link

    async def log_in(self, account: str, link: FakeLink, server: str = "srv") -> None:
        """It is told, and its list is there when this returns."""
        self.connect(account, link, server)
        self.personal.drop(server, account, now=True)
        self.own.begun(server, account)
        await self.own.settled("", 5.0, account)

    def log_out(self, account: str, server: str = "srv") -> None:
        self.wallet.held.discard((server, account))
        self.personal.drop(server, account, now=True)
        self.own.ended(server, account)

    def notify(self, account: str, method: str, params: Json = {}, server: str = "srv") -> None:
        self.events[server, account].notified(method, params)

    def silent(self, server: str = "srv") -> None:
        """Its own link, which has no token, is refused."""
        self.base.health(server, "needs_login")

    def names(self, account: str = "", kind: Kind = "tool", endpoint: str = "") -> list[str]:
        return [item.name for item in self.own.items(endpoint, kind, account)]

    def find(self, account: str, name: str, kind: Kind = "tool", endpoint: str = "") -> Item | None:
        return self.own.resolve(endpoint, kind, name, account)

    def watch(self, account: str, endpoint: str = "") -> tuple[list[Change], Callable[[], None]]:
        told: list[Change] = []
        return told, self.own.watch(endpoint, told.append, account)

    async def shows(self, account: str, *names: str, kind: Kind = "tool") -> None:
        await until(lambda: self.names(account, kind) == list(names))

    async def _opened(self, server: str, account: str) -> Link:
        return await self.personal.opened(server, account, 5.0)

    async def _open(self, spec: ServerSpec, events: LinkEvents, credential: Credential) -> Link:
        assert isinstance(credential, Holding)
        key = spec.id, credential.account
        self.opened.append(key)
        self.events[key] = events
        link = self.links[key]
        if isinstance(link, DownstreamError):
            raise link
        return link
