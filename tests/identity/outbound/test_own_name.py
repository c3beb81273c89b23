"""Tokens in the hub's own name on bad days: nothing is given that is not logged, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.connections import EnteredClient, ServerAuth
from hub.core.errors import NeedsLogin, Unreachable
from hub.identity.outbound.own_name import AGAIN_S
from tests.identity.outbound.office import LIFE_S, an_office

APP = EnteredClient("app", "canary-secret", "client_secret_post")
IN_OWN_NAME = ServerAuth(account="shared", grant="client_credentials", client=APP)


async def test_an_issuer_that_is_away_is_asked_again_after_a_while() -> None:
    async with an_office(IN_OWN_NAME) as office:
        token = office.there.idp.answers.pop("/token")
        office.there.idp.answers["/token"] = (503, b"")
        voice = office.everybody()
        for _ in range(3):
            with pytest.raises(Unreachable, match="gives no token now"):
                await voice.token()
        assert office.there.idp.count("/token") == 1
        office.there.idp.answers["/token"] = token
        office.times.pass_by(AGAIN_S)
        assert await voice.token() is not None


async def test_what_the_log_does_not_take_is_not_given() -> None:
    async with an_office(IN_OWN_NAME) as office:
        office.log.is_full = True
        with pytest.raises(Unreachable, match="stored or logged"):
            await office.everybody().token()
        assert await office.store.all("local") == ()


async def test_without_an_app_an_admin_is_told_to_enter_one() -> None:
    async with an_office(ServerAuth(account="shared", grant="client_credentials")) as office:
        with pytest.raises(NeedsLogin, match="enter one"):
            await office.everybody().token()
        assert office.there.idp.asked == []


async def test_a_refused_request_without_a_token_gets_one() -> None:
    async with an_office(IN_OWN_NAME) as office:
        fresh = await office.everybody().refused(None, 401, "Bearer")
        assert office.bank.access[fresh] == "hub"


async def test_a_token_that_was_ended_by_time_and_an_app_that_was_taken_away_is_no_token() -> None:
    async with an_office(IN_OWN_NAME) as office:
        assert await office.everybody().token() is not None
        office.bank.error = "unauthorized_client"
        office.times.pass_by(LIFE_S)
        with pytest.raises((NeedsLogin, Unreachable)):
            await office.everybody().token()


async def test_a_hub_that_stops_waits_for_no_issuer() -> None:
    async with an_office(IN_OWN_NAME) as office:
        office.there.idp.held = asyncio.Event()
        waiting = asyncio.create_task(office.everybody().token())
        async with asyncio.timeout(5):
            while not office.there.idp.asked:
                await asyncio.sleep(0)
            await office.speaking.aclose()
            assert await waiting is None
        assert await office.store.all("local") == ()
