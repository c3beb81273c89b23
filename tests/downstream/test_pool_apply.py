"""Servers come, change and go while others work: nothing of theirs is touched, and no call is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic

import pytest

from hub.core.call import Json
from hub.core.errors import Unreachable
from hub.core.ports import Rate
from hub.downstream.counted import Counted
from hub.downstream.link import Exchange, Link, LinkEvents, ServerSpec, Timeouts, same_connection
from hub.downstream.pool import Pool
from tests.downstream.heard import until
from tests.downstream.test_pool import QUICK, FakeLink, World, health, ready

A, B = ServerSpec("a", "stdio", command=("a",)), ServerSpec("b", "stdio", command=("b",))


class Slow(FakeLink):
    """Answers when it is told to; closing it fails what it carries."""

    def __init__(self, events: LinkEvents) -> None:
        super().__init__(events)
        self.go = asyncio.Event()

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        await self.go.wait()
        return {"alive": self.alive}


class SlowWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.slow: dict[str, list[Slow]] = {}

    async def open(self, spec: ServerSpec, events: LinkEvents) -> FakeLink:
        link = Slow(events)
        self.slow.setdefault(spec.id, []).append(link)
        return link


def exchange() -> Exchange:
    return Exchange(5, monotonic() + 5, 1000)


def in_force(pool: Pool) -> Link | None:
    try:
        return pool.link("a")
    except Unreachable:
        return None


@asynccontextmanager
async def pool_with(world: World, *specs: ServerSpec, drain_s: float = 5, close_s: float = 5) -> AsyncIterator[Pool]:
    pool = Pool(specs, {"stdio": world.open}, world.events(), backoff=QUICK, drain_s=drain_s, close_s=close_s)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.aclose()


async def test_a_new_server_comes_up_and_the_others_keep_their_links() -> None:
    world = World()
    async with pool_with(world, A) as pool:
        await ready(pool, "a")
        before = pool.link("a")
        pool.apply([B, A])
        await ready(pool, "a", "b")
        assert pool.link("a") is before
        assert len(world.links["a"]) == 1
        assert [each.server for each in pool.health()] == ["b", "a"]


async def test_servers_can_come_to_a_pool_that_began_with_none() -> None:
    async with pool_with(World()) as pool:
        pool.apply([A])
        await ready(pool, "a")


async def test_a_removed_server_is_closed_and_not_configured_any_more() -> None:
    world = World()
    async with pool_with(world, A, B) as pool:
        await ready(pool, "a", "b")
        pool.apply([B])
        with pytest.raises(Unreachable, match="not configured"):
            pool.link("a")
        assert pool.spec("a") is None
        await until(lambda: world.links["a"][0].closes == 1)
        assert world.links["b"][0].closes == 0


async def test_a_change_of_rules_keeps_the_connection() -> None:
    world = World()
    changed = replace(A, pins="off", trusted=True, per_item=Rate(1, 1), provenance="database")
    async with pool_with(world, A) as pool:
        await ready(pool)
        pool.apply([changed])
        assert pool.spec("a") == changed
        assert pool.link("a").peer is world.links["a"][0].peer
        assert world.links["a"][0].closes == 0


@pytest.mark.parametrize(
    "other",
    [
        replace(A, command=("a", "--more")),
        replace(A, env={"K": "v"}),
        replace(A, url="http://h"),
        replace(A, headers={"A": "b"}),
        replace(A, timeouts=Timeouts(call_s=1)),
        replace(A, era="legacy"),
    ],
)
async def test_what_a_connection_depends_on_opens_a_new_one(other: ServerSpec) -> None:
    assert not same_connection(A, other)
    world = World()
    async with pool_with(world, A) as pool:
        await ready(pool)
        pool.apply([other])
        await until(lambda: len(world.links["a"]) == 2)
        await until(lambda: world.links["a"][0].closes == 1)
        await ready(pool)
        assert world.links["a"][1].closes == 0


@pytest.mark.parametrize("to", [(), (replace(A, enabled=False),), (replace(A, command=("other",)),)])
async def test_calls_in_flight_finish_on_the_link_they_began_on(to: tuple[ServerSpec, ...]) -> None:
    world = SlowWorld()
    async with pool_with(world, A) as pool:
        await ready(pool)
        before = pool.link("a")
        calling = asyncio.create_task(before.request("tools/call", {}, exchange()))
        await asyncio.sleep(0)
        pool.apply(to)
        await until(lambda: in_force(pool) is not before)
        old = world.slow["a"][0]
        assert old.alive
        old.go.set()
        assert await calling == {"alive": True}
        await until(lambda: not old.alive)


async def test_a_call_that_never_ends_holds_its_old_link_no_longer_than_the_drain() -> None:
    world = SlowWorld()
    async with pool_with(world, A, drain_s=0.05) as pool:
        await ready(pool)
        calling = asyncio.create_task(pool.link("a").request("tools/call", {}, exchange()))
        await asyncio.sleep(0)
        pool.apply([])
        await until(lambda: not world.slow["a"][0].alive)
        calling.cancel()


async def test_a_pool_that_closes_waits_for_no_drain() -> None:
    world = SlowWorld()
    async with pool_with(world, A, B, drain_s=60) as pool:
        await ready(pool, "a", "b")
        calls = [asyncio.create_task(pool.link(id).request("tools/call", {}, exchange())) for id in ("a", "b")]
        await asyncio.sleep(0)
        pool.apply([B])
        pool.apply([])  # what is to be put away has not even begun to be
        began = monotonic()
        await pool.aclose()
        assert monotonic() - began < 2
        assert not world.slow["a"][0].alive
        assert not world.slow["b"][0].alive
        for call in calls:
            call.cancel()


async def test_a_server_taken_out_while_it_starts_leaves_nothing_behind() -> None:
    world = World(a=["hang"])
    async with pool_with(world, A) as pool:
        await until(lambda: "a" in world.opened)
        waiting = asyncio.create_task(pool.started("a", 30))
        await asyncio.sleep(0)
        pool.apply([])
        with pytest.raises(Unreachable, match="not configured"):  # long before its time is over
            async with asyncio.timeout(5):
                await waiting
        assert "a" not in world.links
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "downstream a"]


async def test_who_waits_for_a_server_that_is_replaced_gets_the_new_one() -> None:
    world = World(a=["hang"])
    async with pool_with(world, A) as pool:
        await until(lambda: "a" in world.opened)
        waiting = asyncio.create_task(pool.started("a", 30))
        await asyncio.sleep(0)
        pool.apply([replace(A, command=("other",))])
        async with asyncio.timeout(5):
            assert (await waiting).peer is world.links["a"][0].peer


async def test_enabling_again_at_once_goes_on() -> None:
    world = World()
    async with pool_with(world, A) as pool:
        await ready(pool)
        for _ in range(20):
            pool.apply([replace(A, enabled=False)])
            pool.apply([A])
        await ready(pool)
        pool.apply([replace(A, enabled=False)])
        await until(lambda: health(pool).state == "disabled")
        pool.apply([A])
        await ready(pool)


async def test_applied_before_the_start_is_what_is_started() -> None:
    world = World()
    pool = Pool([A], {"stdio": world.open}, world.events(), backoff=QUICK)
    pool.apply([B])
    await pool.start()
    try:
        await ready(pool, "b")
        assert "a" not in world.opened
    finally:
        await pool.aclose()


async def test_the_tasks_of_servers_that_are_gone_are_gone() -> None:
    world = World()
    async with pool_with(world, A) as pool:
        await ready(pool)
        before = len(asyncio.all_tasks())
        for number in range(30):
            pool.apply([A, replace(B, id=f"s{number}"), replace(B, env={"N": str(number)})])
            await asyncio.sleep(0)
        pool.apply([A])
        await until(lambda: len(asyncio.all_tasks()) == before)
        assert all(link.closes == 1 for id, links in world.links.items() if id != "a" for link in links)


async def test_a_counted_link_passes_everything_on() -> None:
    inner = FakeLink(LinkEvents(lambda method, params: None, lambda reason: None))
    link = Counted("a", inner)
    await link.notify("x", {})
    assert await link.request("ping", {}, exchange()) == {}
    assert inner.asked == ["ping"]
    await link.drained(0.01)
    await link.aclose()
    assert not link.alive
