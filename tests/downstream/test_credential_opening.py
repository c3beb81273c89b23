"""How a link that speaks for an account is opened, and whose account the pool's own links speak for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hub.core.connections import ServerAuth
from hub.core.errors import NeedsLogin, Unreachable
from hub.downstream.credential import Credential
from hub.downstream.http import HttpOpener
from hub.downstream.sse import SseOpener
from tests.downstream.credential_fakes import (
    CALL,
    CHALLENGE,
    Guarded,
    Held,
    Kind,
    bearing,
    held,
    linked,
    opened,
    presented,
    refuse,
)
from tests.downstream.raw_http import Got, Heard, exchange, raw_server, spec

KINDS = pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])


class Shared:
    """Credentials of everybody, as the pool asks for them."""

    def __init__(self, credential: Held | None) -> None:
        self.credential = credential
        self.asked: list[str] = []

    def shared(self, server: str) -> Credential | None:
        self.asked.append(server)
        return self.credential

    def own(self, server: str, account: str) -> Credential | None:
        raise AssertionError


# -- refused in the handshake


@KINDS
async def test_handshake_goes_on_with_another_token(kind: Kind) -> None:
    account = held("t-1", "t-2")
    async with linked(Guarded(kind, bearing("t-2")), account) as (link, server, _):
        assert (link.alive, link.peer.era) == (True, "modern" if kind == "modern" else "legacy")
        assert account.told == [("t-1", 401, CHALLENGE)]
        assert presented(server)[:2] == ["Bearer t-1", "Bearer t-2"]
        assert set(presented(server)[1:]) == {"Bearer t-2"}


@KINDS
async def test_handshake_that_is_refused_twice_needs_a_login(kind: Kind) -> None:
    account = held(*(f"t-{n}" for n in range(1, 50)))
    async with raw_server(Guarded(kind, bearing())) as server:
        with pytest.raises(NeedsLogin, match="log in to it again"):
            await opened(kind, server, Heard(), account)
        assert len(server.got) <= 4  # two eras, each with one repeat


@KINDS
@pytest.mark.parametrize("era", ["auto", "modern", "legacy"])
async def test_refused_silent_link_is_known_by_its_challenge_and_asked_for_no_token(kind: Kind, era: str) -> None:
    nobody = held(silent=True)
    async with raw_server(Guarded(kind, bearing())) as server:
        with pytest.raises(NeedsLogin, match="the page of this test"):
            await opened(kind, server, Heard(), nobody, era=era)
        assert set(presented(server)) == {None}
        assert (set(nobody.told), nobody.asked) == ({(None, 401, CHALLENGE)}, 0)


@KINDS
async def test_silent_link_to_what_is_public_is_as_every_other(kind: Kind) -> None:
    nobody = held(silent=True)
    guarded = Guarded(kind)
    async with linked(guarded, nobody) as (link, server, heard):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert set(presented(server)) == {None}
        guarded.bar = bearing("t-1")
        with pytest.raises(NeedsLogin, match="the page of this test"):
            await link.request("tools/call", CALL, exchange())
        assert nobody.told == [(None, 401, CHALLENGE)]
        assert (link.alive, heard.closed, nobody.asked, nobody.served_with) == (True, [], 0, [])


async def test_server_that_only_refuses_the_probe_is_opened_all_the_same() -> None:
    nobody = held(silent=True)
    guarded = Guarded("legacy", lambda got: refuse() if got.method == "server/discover" else None)
    async with linked(guarded, nobody) as (link, _, _):
        assert (link.alive, link.peer.era, nobody.told) == (True, "legacy", [(None, 401, CHALLENGE)])


@KINDS
async def test_nothing_is_sent_for_an_account_that_must_log_in_first(kind: Kind) -> None:
    account = held("t-1", broken=NeedsLogin("peer", "log in at the page of this test"))
    async with raw_server(Guarded(kind)) as server:
        with pytest.raises(NeedsLogin, match="the page of this test"):
            await opened(kind, server, Heard(), account)
        account.broken = Unreachable("peer", "its issuer is on holiday")
        with pytest.raises(Unreachable, match="on holiday"):
            await opened(kind, server, Heard(), account)
        assert (server.got, server.open) == ([], 0)


async def test_renewal_before_the_first_request_takes_nothing_from_the_probe() -> None:
    account = held("t-1", gate=asyncio.Event())
    assert account.gate is not None
    asyncio.get_running_loop().call_later(0.3, account.gate.set)
    async with raw_server(Guarded("modern", bearing("t-1"))) as server:
        link = await HttpOpener(probe_s=0.2)(spec(server.url), Heard().events(), account)
        assert (link.peer.era, server.methods()[0]) == ("modern", "server/discover")
        await link.aclose()


@KINDS
async def test_opening_that_is_cancelled_over_its_token_leaves_nothing_behind(kind: Kind) -> None:
    account = held("t-1", "t-2")

    def bar(got: Got) -> bytes | None:
        account.gate = asyncio.Event()
        waiting.set()
        return refuse()

    waiting = asyncio.Event()
    async with raw_server(Guarded(kind, bar)) as server:
        task = asyncio.create_task(opened(kind, server, Heard(), account))
        async with asyncio.timeout(5):
            await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.002)


# -- whose


@KINDS
async def test_link_opened_for_nobody_speaks_for_everybody(kind: Kind) -> None:
    everybody = Shared(held("t-all"))
    opener = SseOpener(credentials=everybody) if kind == "sse" else HttpOpener(credentials=everybody)
    async with raw_server(Guarded(kind)) as server:
        with_login = replace(spec(server.url), auth=ServerAuth(account="shared"))
        link = await opener(with_login, Heard().events())
        assert (set(presented(server)), everybody.asked) == ({"Bearer t-all"}, ["peer"])
        await link.aclose()
        server.got.clear()
        link = await opener(with_login, Heard().events(), held("t-own"))
        assert (set(presented(server)), everybody.asked) == ({"Bearer t-own"}, ["peer"])
        await link.aclose()


@KINDS
@pytest.mark.parametrize("auth", [None, ServerAuth()])
async def test_server_without_a_login_gets_no_token_of_anybody(kind: Kind, auth: ServerAuth | None) -> None:
    everybody = Shared(None if auth else held("t-all"))
    opener = SseOpener(credentials=everybody) if kind == "sse" else HttpOpener(credentials=everybody)
    async with raw_server(Guarded(kind)) as server:
        link = await opener(replace(spec(server.url), auth=auth), Heard().events())
        assert (set(presented(server)), everybody.asked) == ({None}, ["peer"] if auth else [])
        await link.aclose()


@KINDS
async def test_openers_without_credentials_ask_nobody(kind: Kind) -> None:
    async with raw_server(Guarded(kind, bearing())) as server:
        opener = SseOpener() if kind == "sse" else HttpOpener()
        with pytest.raises(NeedsLogin, match="`headers`"):
            await opener(replace(spec(server.url), auth=ServerAuth()), Heard().events())
        assert set(presented(server)) == {None}
