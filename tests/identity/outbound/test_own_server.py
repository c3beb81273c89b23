"""One hub as the downstream of another: its own authorization server lets the hub's outbound side in.

Everything is real but the network and the clocks, which both sides share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from hub.core import errors
from hub.core.call import Json
from hub.core.connections import RegistrationRow, ServerAuth
from hub.core.ports import Fetched
from hub.identity.oauth.asked import Login, Reply
from hub.identity.outbound.book import Clocks
from hub.identity.outbound.challenge import challenge
from hub.identity.outbound.clients import hub_client
from hub.identity.outbound.discovery import Discovery
from hub.identity.outbound.errors import Refused, Unfit
from hub.identity.outbound.held import NeedsLogin
from hub.identity.outbound.logins import Logins, Wanted
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.refresher import Connections, Granted
from hub.identity.outbound.registered import Registered, client_of
from hub.identity.outbound.registration import HubClient, Registrar
from hub.identity.outbound.renewing import Renewing
from hub.identity.outbound.tokens import TokenEndpoint
from hub.identity.sealer import KeySealer
from hub.stores.memory.connections import MemoryConnections
from hub.wire.jsonrpc import dumps
from tests.identity.oauth.world import MCP, World
from tests.identity.outbound.downstream import Downstream
from tests.identity.outbound.office import ANN, BOB, Office, token_of
from tests.identity.outbound.rotating import Times

CALLBACK = "https://near.example/oauth/callback"
SEALER = KeySealer(b"k" * 32)


@dataclass
class NextDoor:
    """`Fetcher`, whose every address is the other hub's."""

    world: World

    async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
        at = urlsplit(url)
        documents: dict[str, Json] = {
            "/.well-known/oauth-protected-resource/mcp": self.world.resources.document("", at.netloc),
            "/.well-known/oauth-authorization-server": self.world.server.metadata(),
        }
        found = documents.get(at.path)
        return Fetched(404, {}, b"") if found is None else Fetched(200, {}, dumps(found))

    async def post(
        self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
    ) -> Fetched:
        server, form = self.world.server, parse_qsl(body.decode(), keep_blank_values=True)
        authorization = headers.get("authorization")
        match urlsplit(url).path:
            case "/oauth/register":
                reply = await server.register(body, "192.0.2.1")
            case "/oauth/token":
                reply = await server.token(form, authorization)
            case "/oauth/revoke":
                reply = await server.revoke(form, authorization)
            case _:
                reply = Reply(404, None)
        return Fetched(reply.status, {}, b"" if reply.body is None else dumps(reply.body))


@dataclass
class Near:
    """The hub that logs in."""

    world: World
    store: MemoryConnections = field(default_factory=MemoryConnections)

    async def start(self) -> Near:
        fetcher, clock = NextDoor(self.world), self.world.clock
        self.discovery, self.endpoint = Discovery(fetcher, clock=clock), TokenEndpoint(fetcher)
        registrar = Registrar(HubClient((CALLBACK,)), fetcher, clock=clock)
        self.logins = Logins(self.discovery, registrar, self.endpoint, Registered(self.store, SEALER, clock))
        renewing = Renewing(self.discovery, registrar, self.endpoint, SEALER)
        self.connections = Connections(self.store, SEALER, renewing, Clocks(clock, clock))
        await self.connections.load()
        return self

    async def registration(self, issuer: str) -> RegistrationRow | None:
        return next((row for row in await self.store.registrations("local") if row.issuer == issuer), None)

    async def log_in(self) -> None:
        header = f'Bearer resource_metadata="{self.world.resources.metadata_url("", None)}", scope="mcp"'
        login = await self.logins.begin(Wanted(MCP, challenge(header)), CALLBACK)
        wish = await self.world.server.wish(parse_qsl(urlsplit(login.begun.location).query))
        back = await self.world.server.granted(wish, Login(self.world.ann, self.world.clock(), "password"), wish.scopes)
        tokens = await self.logins.finish(login, parse_qsl(urlsplit(back).query))
        begun = login.begun
        await self.connections.keep(
            Granted("u1", "far", begun.issuer, begun.resource, login.client.id, tokens, begun.scopes)
        )

    async def token(self) -> str | None:
        """None: a login is needed."""
        found = await self.connections.token("far", "u1", MCP)
        assert isinstance(found, str | NeedsLogin), found
        return found if isinstance(found, str) else None


@pytest.fixture
async def near(tmp_path: Path) -> Near:
    return await Near(await World(tmp_path).start()).start()


async def test_a_hub_logs_in_at_another_hub_and_is_let_in(near: Near) -> None:
    assert await near.token() is None
    await near.log_in()
    token = await near.token()
    assert token is not None
    assert await near.world.is_good(token)


async def test_a_login_lasts_beyond_its_first_token_and_ends_when_the_other_hub_ends_it(near: Near) -> None:
    await near.log_in()
    first = await near.token()
    for _ in range(3):
        near.world.clock.go(near.world.settings.access_s + 1)
        second = await near.token()
        assert second is not None
        assert second != first
        assert await near.world.is_good(second)
        first = second
    await near.world.server.end([grant.id for grant in near.world.server.grants_of(near.world.ann.id)], "user")
    near.world.clock.go(near.world.settings.access_s + 1)
    assert await near.token() is None
    await near.log_in()
    third = await near.token()
    assert third is not None
    assert await near.world.is_good(third)
    assert len(await near.store.registrations("local")) == 1


async def test_a_hub_that_logs_out_ends_its_grant_at_the_other(near: Near) -> None:
    await near.log_in()
    token, row = await near.token(), await near.registration(near.world.resources.issuer)
    assert token is not None
    assert row is not None
    client, server = client_of(row, SEALER), await near.discovery.server(row.issuer)
    assert client is not None
    assert await near.endpoint.revoke(server, client, token)
    assert not await near.world.is_good(token)


async def test_an_answer_is_good_once_and_for_its_own_login_only(near: Near) -> None:
    login = await near.logins.begin(Wanted(MCP), CALLBACK)
    other = await near.logins.begin(Wanted(MCP), CALLBACK)
    wish = await near.world.server.wish(parse_qsl(urlsplit(login.begun.location).query))
    back = await near.world.server.granted(wish, Login(near.world.ann, near.world.clock(), "password"), wish.scopes)
    query = parse_qsl(urlsplit(back).query)
    with pytest.raises(Unfit, match="another login"):
        await near.logins.finish(other, query)
    await near.logins.finish(login, query)
    with pytest.raises(Refused) as caught:
        await near.logins.finish(login, query)
    assert caught.value.error == "invalid_grant"


class Home(Office):
    """A hub with the other one as its downstream, whose own pages let people in."""

    async def through(self, world: World, account: str) -> list[tuple[str, str]]:
        """Begin, let Ann in at the other hub, and what her browser brings back."""
        offer = self.desk.offer_to(account, f"user {account}", "wiki")
        location = await self.desk.begin(token_of(offer.url), account)
        wish = await world.server.wish(parse_qsl(urlsplit(location).query))
        login = Login(world.ann, world.clock(), "password")
        back = await world.server.granted(wish, login, wish.scopes)
        return parse_qsl(urlsplit(back).query)


async def test_a_hub_speaks_at_another_hub_for_each_of_its_users(tmp_path: Path) -> None:
    world = await World(tmp_path).start()
    async with Downstream() as there:
        home = Home(there, hub=hub_client("https://near.example"), times=Times(world.clock()))
        await home.start(ServerAuth(), NextDoor(world))
        home.protected["wiki"] = Protected(MCP, ServerAuth())
        silent = home.speaking.shared("wiki")
        assert silent is not None
        header = f'Bearer resource_metadata="{world.resources.metadata_url("", None)}", scope="mcp"'
        with pytest.raises(errors.NeedsLogin):
            await silent.refused(None, 401, header)
        rows = [(await home.desk.finish(await home.through(world, each), each)).connection for each in (ANN, BOB)]
        assert rows[0].id != rows[1].id
        anns, bobs = await home.voice(ANN).token(), await home.voice(BOB).token()
        assert anns is not None
        assert bobs is not None
        assert anns != bobs
        assert await world.is_good(anns)
        # one renewal for all, as the other hub counts them
        pass_s = world.settings.access_s + 1
        world.clock.go(pass_s)
        home.times.pass_by(pass_s)
        fresh = set(await asyncio.gather(*(home.voice(ANN).token() for _ in range(50))))
        assert len(fresh) == 1
        assert await world.is_good(str(*fresh))
        # its grant ends there when it logs out here, and nobody else's does
        assert await home.leaving.disconnect(rows[0], "user ann") == "yes"
        assert not await world.is_good(str(*fresh))
        assert await world.is_good(str(await home.voice(BOB).token()))
        await home.aclose()
