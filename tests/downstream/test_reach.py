"""Which link an account's call goes out on: everybody's, which is silent, or the one of that account alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hub.core.connections import ServerAuth
from hub.core.errors import NeedsLogin, Unreachable
from hub.downstream.health import PoolEvents
from hub.downstream.http import HttpOpener
from hub.downstream.link import ServerSpec
from hub.downstream.pool import Pool
from hub.downstream.reach import Reach
from tests.downstream.accounts import Rig, accounts, said


@asynccontextmanager
async def reaching(auth: ServerAuth | None = ServerAuth(), **given: Any) -> AsyncIterator[tuple[Reach, Rig]]:
    async with accounts() as rig:
        rig.specs["peer"] = spec = replace(rig.spec, auth=auth, **given)
        events = PoolEvents(lambda server, link: None, lambda health: None, lambda server, method, params: None)
        pool = Pool([spec], {"http": HttpOpener()}, events)
        await pool.start()
        try:
            yield Reach(pool, rig.links, rig.book), rig
        finally:
            await pool.aclose()


async def seen(reach: Reach, account: str) -> str:
    """The token that a call of this account goes out with."""
    try:
        link = reach.link("peer", account)
    except Unreachable:
        link = await reach.started("peer", account, 5.0)
    return await said(link)


async def test_an_account_with_a_connection_uses_its_own_link_and_all_others_the_silent_one() -> None:
    async with reaching() as (reach, _):
        assert [await seen(reach, account) for account in ("ada", "mallory", "", "bob")] == ["ada:1", "", "", "bob:1"]
        assert [reach.connected("peer", account) for account in ("ada", "mallory", "")] == [True, False, False]


@pytest.mark.parametrize("auth", [None, ServerAuth(account="shared")])
async def test_where_all_use_one_account_nobody_has_a_link_of_his_own(auth: ServerAuth | None) -> None:
    async with reaching(auth) as (reach, rig):
        assert [await seen(reach, account) for account in ("ada", "")] == ["", ""]
        assert not reach.connected("peer", "ada")
        assert rig.up == []


async def test_an_own_link_that_is_not_open_is_waited_for_as_long_as_its_server_may_take() -> None:
    """It ends whenever it is idle: the call that finds it so must not fail for it."""
    async with reaching() as (reach, rig):
        await seen(reach, "")
        rig.peer.gates["server/discover"] = asyncio.Event()
        with pytest.raises(Unreachable, match="still connecting"):
            reach.link("peer", "ada")
        waiting = asyncio.create_task(reach.started("peer", "ada", 0.001))
        await asyncio.wait((waiting,), timeout=0.1)
        assert not waiting.done()
        rig.peer.gates["server/discover"].set()
        assert await said(await waiting) == "ada:1"
        assert await said(reach.link("peer", "ada")) == "ada:1"


async def test_an_account_whose_login_ended_is_not_served_by_everybodys_link() -> None:
    async with reaching() as (reach, rig):
        assert await seen(reach, "mallory") == ""
        rig.peer.refused.add("ada:1")
        with pytest.raises(NeedsLogin):
            await seen(reach, "ada")


async def test_a_connection_that_is_removed_leaves_the_account_with_everybodys_link_at_once() -> None:
    async with reaching() as (reach, rig):
        assert await seen(reach, "ada") == "ada:1"
        del rig.book.tokens["ada"]
        assert await seen(reach, "ada") == ""


async def test_a_server_that_is_switched_off_is_off_for_every_account() -> None:
    async with reaching(enabled=False) as (reach, rig):
        for account in ("ada", "mallory"):
            with pytest.raises(Unreachable, match="disabled"):
                await seen(reach, account)
        assert rig.peer.raw.got == []


async def test_a_server_that_nobody_configured_is_reached_by_nobody() -> None:
    async with reaching() as (reach, _):
        spec: ServerSpec | None = reach.spec("elsewhere")
        assert spec is None
        for account in ("ada", ""):
            with pytest.raises(Unreachable):
                reach.link("elsewhere", account)
            with pytest.raises(Unreachable):
                await reach.started("elsewhere", account, 0.01)
