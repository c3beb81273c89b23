"""A login in mid-call at a real server: the page is offered, and then the call goes on as its account and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core.call import Asked, Client, Denied, Done, Item, One, Outcome, Principal
from hub.core.ports import Endpoint
from hub.downstream.dispatch import Dispatch
from hub.downstream.health import PoolEvents
from hub.downstream.http import HttpOpener
from hub.downstream.own_catalog import OwnCatalogue
from hub.downstream.pool import Pool
from hub.downstream.reach import Reach
from tests.downstream.accounts import accounts
from tests.downstream.catalog_fakes import Hub, tool
from tests.downstream.offering import Logins
from tests.downstream.raw_http import until
from tests.downstream.test_dispatch import a_call, no_next

CAN: dict[str, Any] = {"elicitation": {"url": {}}}
MODERN, LEGACY = Client("modern", "2026-07-28", CAN), Client("legacy", "2025-11-25", CAN)
ITEM = Item("tool", "peer", "peer__whoami", "whoami", tool("whoami"), tool("peer__whoami"), "sha")


def who(account: str) -> Principal:
    return Principal("local", f"user:{account}", f"c-{account}", frozenset({"mcp"}), user=account)


@pytest.mark.parametrize("client", [MODERN, LEGACY])
async def test_a_call_is_refused_logged_in_for_and_served_as_its_own_account_alone(client: Client) -> None:
    async with accounts() as rig, Hub(rig.spec, endpoints=(Endpoint(""),)) as hub:
        rig.book.tokens = {"bob": "bob:1"}
        events = PoolEvents(lambda server, link: None, lambda health: None, lambda server, method, params: None)
        pool = Pool([rig.spec], {"http": HttpOpener(credentials=rig.book)}, events)
        await pool.start()
        await pool.started("peer", 5.0)
        reach = Reach(pool, rig.links, rig.book)
        catalog = OwnCatalogue(hub.catalog, rig.book, lambda server, account: rig.links.opened(server, account, 5.0))
        logins = Logins()
        dispatch = Dispatch(catalog, reach, None, logins)

        async def call(account: str, more: dict[str, Any] = {}) -> Outcome:
            made = a_call("tools/call", {"name": ITEM.name, **more}, One(ITEM), client=client)
            return await dispatch(replace(made, who=who(account)), no_next)

        rig.peer.refused.add("")
        first = await call("ada")
        if client is MODERN:
            assert isinstance(first, Asked)
            more = {"inputResponses": {"login": {"action": "accept"}}, "requestState": first.state}
        else:
            assert isinstance(first, Denied)
            assert first.code == "needs_login"
            more = {}
        assert list(logins.offers) == [("ada", "peer")]
        rig.book.tokens["ada"] = "ada:1"
        logins.log_in()
        for account, given in (("ada", more), ("bob", {}), ("ada", {})):
            done = await call(account, given)
            assert isinstance(done, Done)
            assert done.result["content"][0]["text"] == f"{account}:1"
        assert isinstance(await call("eve"), Asked | Denied)
        await catalog.aclose()
        await pool.aclose()
    await until(lambda: rig.peer.raw.open == 0)


async def test_a_login_that_ended_costs_its_account_the_call_and_nobody_anything_else() -> None:
    async with accounts() as rig, Hub(rig.spec, endpoints=(Endpoint(""),)) as hub:
        events = PoolEvents(lambda server, link: None, lambda health: None, lambda server, method, params: None)
        pool = Pool([rig.spec], {"http": HttpOpener(credentials=rig.book)}, events)
        await pool.start()
        await pool.started("peer", 5.0)
        catalog = OwnCatalogue(hub.catalog, rig.book, lambda server, account: rig.links.opened(server, account, 5.0))
        dispatch = Dispatch(catalog, Reach(pool, rig.links, rig.book), None, Logins())

        async def call(account: str) -> Outcome:
            made = a_call("tools/call", {"name": ITEM.name}, One(ITEM), client=MODERN)
            return await dispatch(replace(made, who=who(account)), no_next)

        both = [await call("ada"), await call("bob")]
        rig.peer.refused.add("ada:1")
        silent, bobs = pool.link("peer"), rig.links.link("peer", "bob")
        both += [await call("ada"), await call("bob"), await call("mallory")]
        assert [type(outcome) for outcome in both] == [Done, Done, Asked, Done, Done]
        assert pool.link("peer") is silent
        assert rig.links.link("peer", "bob") is bobs
        await catalog.aclose()
        await pool.aclose()
