"""Every server has a life of its own: it comes, falls, comes back and never takes another one with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Json
from hub.core.errors import DownstreamError, Late, NeedsLogin, Unreachable
from hub.downstream.health import Health, PoolEvents
from hub.downstream.link import Exchange, Link, LinkEvents, Peer, ServerSpec, Timeouts
from hub.downstream.pool import STARTS_AT_ONCE, Pool
from hub.downstream.supervise import Backoff
from tests.downstream.heard import until

QUICK = Backoff(first_s=0.01, cap_s=0.04, login_s=0.05, stable_s=30, jitter=0)
SLOW = Backoff(first_s=60, cap_s=60, login_s=60, jitter=0)


class FakeLink:
    def __init__(self, events: LinkEvents, era: str = "modern") -> None:
        self.events = events
        self.peer = Peer("legacy" if era == "legacy" else "modern", "x", {}, {}, None)
        self.alive = True
        self.asked: list[str] = []
        self.silent = False
        self.open_end: asyncio.Event | None = None  # closing waits for it
        self.stubborn = False  # even when it is cancelled
        self.closes = 0

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        self.asked.append(method)
        if self.silent:
            raise Late("s", "no answer")
        return {}

    async def notify(self, method: str, params: Json) -> None:
        return None

    async def aclose(self) -> None:
        self.closes += 1
        self.alive = False
        while self.open_end is not None and not self.open_end.is_set():
            try:
                await self.open_end.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise

    def die(self, reason: str = "it fell") -> None:
        self.alive = False
        self.events.closed(reason)


class World:
    """Servers by id: each opening takes the next outcome of its script, then connects for ever."""

    def __init__(self, **scripts: list[Any]) -> None:
        self.scripts = scripts
        self.opened: dict[str, list[float]] = {}
        self.links: dict[str, list[FakeLink]] = {}
        self.ups: list[str] = []
        self.states: list[tuple[str, str]] = []
        self.notified: list[tuple[str, str, Json]] = []
        self.on_up: Callable[[str], None] = lambda server: None
        self.hang = asyncio.Event()

    async def open(self, spec: ServerSpec, events: LinkEvents) -> Link:
        self.opened.setdefault(spec.id, []).append(time.monotonic())
        script = self.scripts.get(spec.id, [])
        outcome = script.pop(0) if script else "ok"
        if outcome == "hang":
            await self.hang.wait()
        if isinstance(outcome, Exception):
            raise outcome
        link = FakeLink(events, outcome)
        self.links.setdefault(spec.id, []).append(link)
        return link

    def events(self) -> PoolEvents:
        def up(server: str, link: Link) -> None:
            self.ups.append(server)
            self.on_up(server)

        return PoolEvents(
            up,
            lambda health: self.states.append((health.server, health.state)),
            lambda server, method, params: self.notified.append((server, method, params)),
        )


@asynccontextmanager
async def pool_of(
    world: World,
    *ids: str,
    backoff: Backoff = QUICK,
    stderr: Callable[[str], tuple[str, ...]] = lambda server: (),
    close_s: float = 10,
    start_turn_s: float = 0.2,
    **spec: Any,
) -> AsyncIterator[Pool]:
    specs = [ServerSpec(id, "stdio", **spec) for id in ids]
    pool = Pool(
        specs,
        {"stdio": world.open},
        world.events(),
        stderr=stderr,
        backoff=backoff,
        close_s=close_s,
        start_turn_s=start_turn_s,
    )
    await pool.start()
    await pool.start()
    try:
        yield pool
    finally:
        await pool.aclose()


def health(pool: Pool, server: str = "a") -> Health:
    return next(h for h in pool.health() if h.server == server)


async def ready(pool: Pool, *servers: str) -> None:
    await until(lambda: all(health(pool, s).state == "ready" for s in servers or ("a",)))


async def test_servers_come_up_and_have_their_links() -> None:
    world = World()
    async with pool_of(world, "a", "b") as pool:
        await ready(pool, "a", "b")
        assert pool.link("a").peer is world.links["a"][0].peer
        assert [h.server for h in pool.health()] == ["a", "b"]
        assert health(pool).reason == ""
        assert health(pool).peer is not None
        assert sorted(world.ups) == ["a", "b"]
        spec = pool.spec("a")
        assert spec is not None
        assert spec.id == "a"
        assert pool.spec("c") is None
    assert all(link.closes == 1 for links in world.links.values() for link in links)


async def test_unknown_server_is_unreachable() -> None:
    async with pool_of(World(), "a") as pool:
        for attempt in (lambda: pool.link("x"), lambda: pool.set_enabled("x", True)):
            with pytest.raises(Unreachable, match="not configured"):
                attempt()
        with pytest.raises(Unreachable, match="not configured"):
            await pool.probe("x", 1)


async def test_hanging_servers_cost_only_themselves_even_when_they_fill_all_places() -> None:
    hanging = [f"h{n}" for n in range(STARTS_AT_ONCE + 4)]
    world = World(**{id: ["hang"] for id in hanging})
    async with pool_of(world, *hanging[:10], "a", *hanging[10:], "b") as pool:
        await ready(pool, "a")
        with pytest.raises(Unreachable, match="still starting"):
            pool.link("h0")
        assert health(pool, "h0").state == "starting"
        await ready(pool, "b")
        assert health(pool, "h0").state == "starting"


async def test_start_that_never_ends_is_cut_off_and_tried_again() -> None:
    world = World(a=["hang"])
    async with pool_of(world, "a", timeouts=Timeouts(connect_s=-5, initialize_s=-4.9)) as pool:
        await ready(pool)
        assert len(world.opened["a"]) == 2
    assert ("a", "down") in world.states


async def test_failed_start_is_told_with_reason_and_next_step_and_tried_again() -> None:
    world = World(a=[Unreachable("a", "command x is not on PATH")])
    async with pool_of(world, "a", backoff=SLOW, stderr=lambda server: (f"words of {server}",)) as pool:
        await until(lambda: health(pool).state == "down")
        with pytest.raises(Unreachable, match=r"command x.*next attempt in 60 s.*servers test a"):
            pool.link("a")
        assert health(pool).failures == 1
        assert health(pool).stderr == ("words of a",)
        verdict = await pool.probe("a", 5)
        assert (verdict.state, verdict.reason, verdict.failures) == ("ready", "", 0)
        pool.link("a")


async def test_failures_wait_ever_longer_and_never_end() -> None:
    world = World(a=[Unreachable("a", f"no {n}") for n in range(6)])
    async with pool_of(world, "a") as pool:
        await ready(pool)
    gaps = [b - a for a, b in zip(world.opened["a"], world.opened["a"][1:], strict=False)]
    assert len(gaps) == 6
    assert gaps[0] >= 0.009
    assert all(gap >= 0.038 for gap in gaps[3:])


@given(st.integers(-1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_to_its_cap_within_its_jitter(failures: int, dice: float) -> None:
    delay_s = Backoff().delay_s(failures, dice)
    plain = 0.0 if failures <= 0 else min(60.0, 0.5 * 2 ** min(failures - 1, 20))
    assert 0.8 * plain <= delay_s <= 1.2 * plain


async def test_lost_link_comes_back_at_once_and_a_crash_loop_does_not() -> None:
    world = World()
    async with pool_of(world, "a", backoff=SLOW) as pool:
        await ready(pool)
        world.links["a"][0].die("it exited with code 1")
        await until(lambda: len(world.links["a"]) == 2)
        await ready(pool)
        assert health(pool).restarts == 1
        assert world.links["a"][0].closes == 1
        world.links["a"][1].die("again")
        await until(lambda: health(pool).retry_in_s is not None)
        assert health(pool).state == "down"
        assert "again" in health(pool).reason
        with pytest.raises(Unreachable, match="the connection was lost: again"):
            pool.link("a")


async def test_loss_after_a_stable_time_starts_from_nothing() -> None:
    world = World(a=[Unreachable("a", "first no"), Unreachable("a", "second no")])
    async with pool_of(world, "a", backoff=replace(QUICK, stable_s=0)) as pool:
        for n in range(5):
            await until(lambda n=n: len(world.links.get("a", [])) == n + 1)  # type: ignore[misc]
            await ready(pool)
            world.links["a"][n].die()
        await until(lambda: len(world.links["a"]) == 6)


async def test_dead_link_that_told_nobody_is_not_given_out() -> None:
    world = World()
    async with pool_of(world, "a") as pool:
        await ready(pool)
        world.links["a"][0].alive = False
        with pytest.raises(Unreachable):
            pool.link("a")
        assert (await pool.probe("a", 5)).state == "ready"
        assert pool.link("a").peer is world.links["a"][1].peer


async def test_needed_login_is_told_apart_and_retried_later() -> None:
    world = World(a=[NeedsLogin("a", "answered 401"), NeedsLogin("a", "answered 401")])
    async with pool_of(world, "a") as pool:
        await until(lambda: health(pool).state == "needs_login")
        with pytest.raises(NeedsLogin, match="401"):
            pool.link("a")
        await ready(pool)
    assert world.opened["a"][1] - world.opened["a"][0] >= 0.049


async def test_probe_of_a_ready_server_asks_it_something() -> None:
    world = World(b=["legacy"])
    async with pool_of(world, "a", "b") as pool:
        await ready(pool, "a", "b")
        assert (await pool.probe("a", 5)).reason == ""
        assert (await pool.probe("b", 5)).reason == ""
        assert world.links["a"][0].asked == ["server/discover"]
        assert world.links["b"][0].asked == ["ping"]
        world.links["a"][0].silent = True
        verdict = await pool.probe("a", 5)
        assert verdict.state == "ready"
        assert "does not answer" in verdict.reason
        assert world.links["a"][0].alive


async def test_probe_gives_up_after_its_time() -> None:
    world = World(a=["hang"])
    async with pool_of(world, "a") as pool:
        verdict = await pool.probe("a", 0.05)
        assert (verdict.state, verdict.reason) == ("starting", "it is starting")
        world.hang.set()
        assert (await pool.probe("a", 5)).state == "ready"


async def test_two_probes_share_one_attempt() -> None:
    world = World(a=[Unreachable("a", "no"), Unreachable("a", "still no")])
    async with pool_of(world, "a", backoff=SLOW) as pool:
        await until(lambda: health(pool).state == "down")
        verdicts = await asyncio.gather(pool.probe("a", 5), pool.probe("a", 5))
        assert [v.reason for v in verdicts] == ["still no"] * 2
        assert len(world.opened["a"]) == 2


async def test_server_can_be_switched_off_and_on() -> None:
    world = World()
    async with pool_of(world, "a", "b") as pool:
        await ready(pool, "a", "b")
        pool.set_enabled("a", True)
        pool.set_enabled("a", False)
        await until(lambda: world.links["a"][0].closes == 1)
        await until(lambda: health(pool).state == "disabled")
        with pytest.raises(Unreachable, match="servers enable a"):
            pool.link("a")
        assert (await pool.probe("a", 5)).state == "disabled"
        pool.link("b")
        pool.set_enabled("a", True)
        await ready(pool)
        assert health(pool).restarts == 0
        assert len(world.links["a"]) == 2


async def test_server_that_is_down_can_be_switched_off_without_waiting() -> None:
    world = World(a=[Unreachable("a", "no")])
    async with pool_of(world, "a", backoff=SLOW) as pool:
        await until(lambda: health(pool).state == "down")
        waiting = asyncio.create_task(pool.probe("a", 5))
        pool.set_enabled("a", False)
        await until(lambda: health(pool).state == "disabled")
        assert (await waiting).state in ("disabled", "down")


async def test_disabled_server_is_never_started() -> None:
    world = World()
    async with pool_of(world, "a", enabled=False) as pool:
        await until(lambda: health(pool).state == "disabled")
        assert world.opened == {}
        assert (await pool.probe("a", 1)).state == "disabled"


async def test_notifications_and_noise_are_told_by_server() -> None:
    world = World()
    async with pool_of(world, "a") as pool:
        await ready(pool)
        assert health(pool).noise is None
        events = world.links["a"][0].events
        events.notified("notifications/tools/list_changed", {})
        events.noise("garbage")
        events.noise("garbage")
        assert world.notified == [("a", "notifications/tools/list_changed", {})]
        assert health(pool).noise == {"garbage": 2}


async def test_fault_of_the_hub_costs_one_server_one_attempt(caplog: pytest.LogCaptureFixture) -> None:
    world = World(a=[ValueError("secret detail")])
    raised: list[str] = []

    def up(server: str) -> None:
        if server == "a" and not raised:
            raised.append(server)
            raise RuntimeError("the catalogue broke")

    world.on_up = up
    with caplog.at_level(logging.CRITICAL):
        async with pool_of(world, "a", "b") as pool:
            await until(lambda: len(world.links.get("a", [])) == 2)
            await ready(pool, "a", "b")
            assert world.links["a"][0].closes == 1
            assert len(world.links["b"]) == 1


async def test_link_that_does_not_close_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    async with pool_of(world, "a", "b", close_s=0.2) as pool:
        await ready(pool, "a", "b")
        never = world.links["a"][0].open_end = world.links["b"][0].open_end = asyncio.Event()
        world.links["b"][0].stubborn = True
        pool.set_enabled("a", False)
        await until(lambda: health(pool).state == "disabled")
        await until(lambda: "downstream a did not close" in caplog.text)
        began = time.monotonic()
        await pool.aclose()
        assert 0.19 < time.monotonic() - began < 2
        never.set()


async def test_closing_cancels_starts_and_is_bounded_by_the_links() -> None:
    world = World(b=["hang"])
    async with pool_of(world, "a", "b") as pool:
        await ready(pool)
        await pool.aclose()
        await pool.aclose()
        with pytest.raises(DownstreamError):
            pool.link("a")
    assert world.links["a"][0].closes == 1
    assert "b" not in world.links


async def test_a_link_is_waited_for_in_the_first_start_alone() -> None:
    world = World(a=["hang"])
    async with pool_of(world, "a", "b", backoff=SLOW) as pool:
        assert (await pool.started("b", 5)).peer is world.links["b"][0].peer
        with pytest.raises(Unreachable, match="still starting"):
            await pool.started("a", 0.01)
        waiting = asyncio.create_task(pool.started("a", 5))
        world.hang.set()
        assert (await waiting).peer is world.links["a"][0].peer
        world.links["a"][0].die()
        with pytest.raises(Unreachable):
            await pool.started("a", 60)
        with pytest.raises(Unreachable, match="not configured"):
            await pool.started("nobody", 60)
