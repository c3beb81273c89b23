"""One soak from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from conformance.soak import processes
from conformance.soak.answers import Book, Outages
from conformance.soak.callers import Key, Listener, ModernCaller, SessionUser, SseUser, World, check_abandoned
from conformance.soak.fleet import KINDS, Fleet
from conformance.soak.hub import HubProcess
from conformance.soak.samples import Figures, Sample, log_bytes
from conformance.soak.verdict import Claim, back_to, flat

BUSY: Final = 0.5  # of one core: what the load aims at
RATE: Final = (20.0, 1500.0)  # calls a second
IDLE_S: Final = 15.0  # of legacy sessions
FIRST_S: Final = 10.0  # how long the callers stay that come before anything is counted
LOOKS: Final = 20  # a second apart, before the load
QUIET_S: Final = 60.0  # within which everything has to be let go of
GRANTS: Final = {
    "web": ("m1", "m2", "l1", "l2", "e1"),
    "pipes": ("p1", "p2", "q1"),
    "one": ("m1",),
    "old": ("q1", "l1"),
}
MODERN_CALLERS, LISTENERS = 48, 8

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    minutes: float
    seed: int
    folder: Path
    sessions: int = 200
    log_gb: float = 8.0  # what the log may grow to; the load keeps below it

    @property
    def seconds(self) -> float:
        return self.minutes * 60

    @property
    def every_s(self) -> float:
        """Between two samples."""
        return min(10.0, max(1.0, self.seconds / 60))


@dataclass(slots=True)
class Report:
    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.claims) and all(claim.holds for claim in self.claims)


async def soak(plan: Plan, tell: Tell) -> Report:
    """Everything it starts is ended, whatever happens."""
    dice, report = random.Random(plan.seed), Report(plan)
    fleet = Fleet(dice)
    await fleet.start()
    hub = HubProcess(plan.folder, fleet.entries(), IDLE_S)
    try:
        await hub.start()
        figures, book = Figures(hub.pid, hub.port, hub.log), Book(Outages(), dice)
        await _all_ready(figures)
        keys = await hub.keys(GRANTS, tuple(KINDS))
        await _Load(plan, report, fleet, hub, figures, book, keys, tell).first_wave()
        base = await _before(figures, book)
        tell(f"before the load: {base}")
        load = _Load(plan, report, fleet, hub, figures, book, keys, tell)
        await load.run(plan.seconds)
        end = await _after(figures, book, base)
        tell(f"after the load: {end}")
        report.claims += [_no_wrong(book), flat(report.samples), *back_to(base, end), _kills(book.outages)]
        report.claims += await hub.stop()
        report.claims += await asyncio.to_thread(hub.records, book.sent, book.answered)
        report.counts = {"before": base, "after": end, **load.counts()}
    finally:
        await hub.kill()
        await fleet.stop()
    return report


@dataclass(slots=True)
class _Load:
    """All callers at once, and whoever watches and disturbs them."""

    plan: Plan
    report: Report
    fleet: Fleet
    hub: HubProcess
    figures: Figures
    book: Book
    keys: list[Key]
    tell: Tell
    world: World = field(init=False)
    rate: float = 100.0
    began: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        seconds = self.plan.seconds
        life_s = (min(20.0, seconds * 0.1), min(120.0, seconds * 0.4))
        self.world = World(self.hub.port, self.keys, self.book, asyncio.Semaphore(0), life_s, IDLE_S)

    async def first_wave(self) -> None:
        """Some of every kind come and go, so that what is made at first use is there before anything is counted."""
        await self._callers(FIRST_S, sessions=20, modern=8, listeners=2, watched=False)

    async def run(self, seconds: float) -> None:
        await self._callers(seconds, self.plan.sessions, MODERN_CALLERS, LISTENERS, watched=True)

    async def _callers(self, seconds: float, sessions: int, modern: int, listeners: int, watched: bool) -> None:
        world, key = self.world, self._key
        over_sse = sessions * 3 // 10
        users: list[Callable[[], Awaitable[None]]] = [
            *(ModernCaller(world, key(number)).run for number in range(modern)),
            *(Listener(world, key(number)).run for number in range(listeners)),
            *(SessionUser(world, key(number)).run for number in range(sessions - over_sse)),
            *(SseUser(world, key(number)).run for number in range(over_sse)),
        ]
        behind: list[Awaitable[None]] = [self._pace(), self._steer()]
        if watched:
            behind += [self._watch(), self._talk(), self.fleet.kill_some(world, self.hub.pid, every_s=5.0)]
        async with asyncio.TaskGroup() as tasks:
            for each in behind:
                tasks.create_task(_coroutine(each))
            for user in users:
                tasks.create_task(_coroutine(user()))
                await asyncio.sleep(min(0.02, seconds * 0.05 / len(users)))
            await asyncio.sleep(max(0.0, self.began + seconds - monotonic()))
            world.stopping.set()
            for _ in users:
                world.turns.release()
        while world.left:
            await check_abandoned(world)
            await asyncio.sleep(0.2)

    def _key(self, number: int) -> Key:
        return self.keys[number % len(self.keys)]

    async def _pace(self) -> None:
        """So many turns a second, fairly; what nobody takes is not saved up."""
        due, last = 0.0, monotonic()
        while not self.world.stopping.is_set():
            await asyncio.sleep(0.02)
            now = monotonic()
            due, last = due + self.rate * (now - last), now
            while due >= 1.0:
                due -= 1.0
                if self.world.turns.locked():
                    self.world.turns.release()

    async def _steer(self) -> None:
        """More or less of it, so that the hub uses half a core, and the log stays within its bounds."""
        used, last = processes.cpu_s(self.hub.pid), monotonic()
        first_log, first_sent = log_bytes(self.hub.log), self.book.sent
        while not self.world.stopping.is_set():
            await asyncio.sleep(2.0)
            now, cpu_s = monotonic(), processes.cpu_s(self.hub.pid)
            busy, used, last = (cpu_s - used) / (now - last), cpu_s, now
            self.rate *= max(0.8, min(1.2, BUSY / max(busy, 0.01)))
            log, sent = log_bytes(self.hub.log), self.book.sent - first_sent
            each, left_s = (log - first_log) / max(sent, 1), max(self.began + self.plan.seconds - now, 1.0)
            affordable = (self.plan.log_gb * 1e9 - log) / max(each, 1.0) / left_s
            self.rate = max(RATE[0], min(self.rate, affordable, RATE[1]))
            await check_abandoned(self.world)

    async def _watch(self) -> None:
        number = 0
        while not self.world.stopping.is_set():
            number += 1
            await asyncio.sleep(max(0.0, self.began + number * self.plan.every_s - monotonic()))
            self.report.samples.append(await self.figures.take(monotonic() - self.began, self.book.sent))

    async def _talk(self) -> None:
        while not self.world.stopping.is_set():
            await asyncio.sleep(30.0)
            if not self.report.samples:
                continue
            seen, outages = self.report.samples[-1], self.book.outages
            self.tell(
                f"{seen.at_s:6.0f} s  {self.book.sent:9,} calls ({seen.calls_per_s:.0f}/s)  {self.book.wrong} wrong  "
                f"{sum(self.book.excused.values())} excused  {outages.kills} kills  RSS {seen.rss_kb / 1024:.1f} MB  "
                f"{seen.descriptors} fds  {seen.tasks} tasks  {seen.http}+{seen.sse} sessions  "
                f"CPU {seen.cpu:.0%}  log {seen.log_mb:.0f} MB"
            )

    def counts(self) -> dict[str, Any]:
        book = self.book
        return {
            "calls": book.sent,
            "right": dict(book.right),
            "excused": dict(book.excused),
            "wrong": book.wrong,
            "wrong_words": book.wrong_words,
            "kills": book.outages.kills,
            "longest_outage_s": round(book.outages.longest_s, 2),
            "what_happened": dict(sorted(self.world.seen.items())),
        }


async def _coroutine(work: Awaitable[None]) -> None:
    await work


async def _all_ready(figures: Figures) -> None:
    end = monotonic() + 60.0
    while (await figures.take(0.0, 0)).ready < len(KINDS):
        if monotonic() > end:
            raise TimeoutError("not every server was ready within a minute")
        await asyncio.sleep(0.2)


async def _before(figures: Figures, book: Book) -> Sample:
    """The least that is held while nobody calls; the servers' own news make it open connections now and then."""
    samples = []
    for _ in range(LOOKS):
        await asyncio.sleep(1.0)
        samples.append(await figures.take(0.0, book.sent))
    return min(samples, key=lambda sample: (sample.descriptors, sample.tasks))


async def _after(figures: Figures, book: Book, base: Sample) -> Sample:
    """Once it is as it was before, and every server is ready; the last sample, should it never be."""
    end = monotonic() + QUIET_S
    while True:
        sample = await figures.take(0.0, book.sent)
        settled = all(claim.holds for claim in back_to(base, sample)) and sample.ready == len(KINDS)
        if settled or monotonic() > end:
            return sample
        await asyncio.sleep(1.0)


def _no_wrong(book: Book) -> Claim:
    seen = (
        f"{book.right['call']:,} calls and {book.right['list']:,} lists right, {sum(book.excused.values()):,} refused "
        f"while their server was killed, {book.wrong} wrong {book.wrong_words[:3] if book.wrong else ''}"
    )
    return Claim("no wrong answer", book.wrong == 0 and book.right["call"] > 0, seen.strip())


def _kills(outages: Outages) -> Claim:
    seen = f"{outages.kills} kills, the longest outage {outages.longest_s:.1f} s"
    return Claim("servers were killed, and each came back", outages.kills > 0, seen)
