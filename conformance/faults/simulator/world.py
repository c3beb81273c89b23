"""The world around the hub, and every step it may take."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from conformance.faults.simulator.asking import Asking
from conformance.faults.simulator.clock import Clock
from conformance.faults.simulator.disk import Disk, Trouble
from conformance.faults.simulator.incarnation import Incarnation
from conformance.faults.simulator.judge import CALL_S, Judge
from conformance.faults.simulator.loop import SimulatedLoop
from conformance.faults.simulator.people import Line, Person
from conformance.faults.simulator.servers import CALM, ROUGH, FakeServer, Machine
from conformance.faults.simulator.setting import FIXED, Setting, entry
from hub.config import ConfigError
from hub.core.errors import HubError
from hub.core.ports import Conflict

ROVING: Final = ("extra-a", "extra-b")  # registered and removed at run time
GRANTS: Final[tuple[tuple[tuple[str, ...] | None, tuple[str, ...] | None], ...]] = (
    (("*",), None),
    (("*",), None),
    (("alpha", "beta", "gamma"), None),
    (("steady", "alpha"), None),
    (("beta", "gamma"), ("*__get_*",)),
    (None, ("alpha__*", "steady__get_one")),
    (("*",), ("*__put_*",)),
    (("steady",), None),
)
LINES: Final = 14
SETTLE_EVERY: Final = 2_000


class World:
    def __init__(self, folder: Path, clock: Clock, disk: Disk, machine: Machine, dice: random.Random) -> None:
        self.clock, self.disk, self.machine, self.dice = clock, disk, machine, dice
        self.judge = Judge(clock)
        self.setting = Setting(folder, dice)
        self.people = {name: Person(name) for name in ("ann", "bob", "cas", "dee", "eve")}
        self.lines: list[Line] = []
        self._last_key = 0
        self.asking = Asking(self)
        self.admin: set[asyncio.Task[None]] = set()
        self.me: set[asyncio.Task[Any]] = set()
        for id, era in FIXED.items():
            self._install(id, "legacy" if era == "auto" else era)
        for id in ROVING:
            self._install(id, dice.choice(["modern", "legacy"]))
        for server in machine.servers.values():
            server.temper = CALM if server.id == "steady" else ROUGH
        self.hub = Incarnation(self.setting.path, self.judge)
        self._acts = self._all_acts()

    def _install(self, id: str, era: str) -> None:
        server = FakeServer(id, era, random.Random(self.dice.random()), self.judge.work)
        self.machine.servers[id] = server

    # A run.

    async def begin(self) -> None:
        self.me = {task for task in (asyncio.current_task(),) if task is not None}
        await self._start(killed=False)
        for person in self.people.values():
            await self._new_key(person)
        for _ in range(LINES // 2):
            self._connect()
        await asyncio.sleep(3)

    async def step(self, number: int) -> str:
        """One act, some time, and the verdict; the act's name. Raises Violation."""
        acts, weights = self._acts
        act = self.dice.choices(acts, weights)[0]
        if number % SETTLE_EVERY == 0:
            act = self.settle
        done = act()
        if done is not None:
            await done
        await asyncio.sleep(self._some_time())
        self.lines = [line for line in self.lines if self._kept(line)]
        self._verdict()
        return act.__name__.strip("_")

    async def end(self) -> None:
        await self.settle()
        self._verdict()
        await self._stop()
        await self._start(killed=False)
        self._verdict()
        await self._stop()

    async def settle(self) -> None:
        """Let everything be well, and see that nothing is left of what was not."""
        self._disk("none")
        for server in self.machine.servers.values():
            server.temper, server.refuses_start = CALM, False
        for line in self.lines:
            line.go_on(self.clock.now)
        await asyncio.sleep(CALL_S + 90.0)
        for line in self.lines:
            left = [q.method for q in line.questions.values() if not q.open_ended and not q.cancelled]
            if line.open and left:
                self.judge.fault(f"all is well, and {line.person.name} still waits for {left}")
        for health in self.hub.parts.pool.health():
            if health.state not in ("ready", "disabled"):
                self.judge.fault(f"all is well, and {health.server} is {health.state}: {health.reason}")
        for server in self.machine.servers.values():
            if server.id != "steady":
                server.temper = self.dice.choice([CALM, ROUGH, ROUGH])

    def _verdict(self) -> None:
        loop = cast(SimulatedLoop, asyncio.get_running_loop())
        self.judge.step(self.lines, len(self.machine.servers), loop.timers)

    def _some_time(self) -> float:
        dice = self.dice.random()
        if dice < 0.5:
            return 0.0
        if dice < 0.9:
            return self.dice.expovariate(30.0)
        return self.dice.expovariate(1.0) if dice < 0.97 else self.dice.expovariate(0.1)

    def _all_acts(self) -> tuple[list[Callable[[], Awaitable[None] | None]], list[float]]:
        weights: dict[Callable[[], Awaitable[None] | None], float] = {
            self.asking.ask: 50,
            self.asking.burst: 4,
            self.asking.list_is_call: 6,
            self.asking.cancel: 4,
            self._connect: 4,
            self._leave: 2,
            self._stall: 1,
            self._read_on: 2,
            self._temper: 4,
            self._server_dies: 2,
            self._server_gone: 0.5,
            self._definitions_change: 2,
            self._approve: 4,
            self._enable: 2,
            self._register: 1.5,
            self._unregister: 0.4,
            self._rekey: 1.5,
            self._rotate: 0.7,
            self._reload: 1.5,
            self._bad_reload: 0.5,
            self._disk_trouble: 1,
            self._disk_well: 8,
            self._wall_jump: 0.5,
            self._long_time: 0.8,
            self._restart: 0.2,
            self._kill: 0.3,
        }
        return [*weights], [*weights.values()]

    # The hub itself.

    async def _start(self, *, killed: bool) -> None:
        self.judge.unrest()
        self.hub = Incarnation(self.setting.path, self.judge)
        await self.hub.start()
        self.judge.restarted(self.setting.data_dir, killed=killed)
        self.judge.unrest()

    async def _stop(self) -> None:
        self._disk("none")
        await asyncio.sleep(0.5)  # the log tries again every quarter of a second
        await self.hub.stop()
        self._hub_is_gone()
        if self.admin:
            await asyncio.wait(self.admin)

    async def _restart(self) -> None:
        await self._stop()
        await self._start(killed=False)

    async def _kill(self) -> None:
        """At any moment: a few turns of the loop after some calls came in."""
        for _ in range(self.dice.randint(0, 6)):
            self.asking.ask()
        for _ in range(self.dice.randint(0, 40)):
            await asyncio.sleep(0)
        self._hub_is_gone()
        await self.hub.kill(self.me)
        self.disk.trouble = "none"
        await self._start(killed=True)

    def _hub_is_gone(self) -> None:
        for line in self.lines:
            line.over = True
            line.leave()
        self.lines.clear()
        self.machine.die()

    # The people.

    def _connect(self) -> None:
        if len(self.lines) >= LINES:
            return
        person = self.dice.choice([*self.people.values()])
        endpoint = self.dice.choice(["", "", "narrow"])
        line = Line(person, person.key, self.dice.choice(["modern", "legacy"]), endpoint, self.asking.heard)
        who = self.hub.parts.identities.verify(line.key, "mcp")
        expired = self.clock.wall() >= person.expires.get(line.key, float("inf"))
        if who is None:
            if not expired and line.key not in person.ended:
                self.judge.fault(f"the key of {person.name} is in force and was refused")
            return
        if expired or line.key in person.ended:
            self.judge.fault(f"the key of {person.name} had ended and was taken")
        self.lines.append(line)
        self.asking.open(line, who)

    def _kept(self, line: Line) -> bool:
        if not line.over:
            return not (line.left and not line.questions)
        if not line.left and not line.stalled_once and self._in_force(line):
            self.judge.fault(f"the connection of {line.person.name} was closed for no reason")
        line.leave()
        return False

    def _in_force(self, line: Line) -> bool:
        expires = line.person.expires.get(line.key, float("inf"))
        return line.key not in line.person.ended and self.clock.wall() < expires

    def _any_line(self) -> Line | None:
        lines = [line for line in self.lines if line.open]
        return self.dice.choice(lines) if lines else None

    def _leave(self) -> None:
        if (line := self._any_line()) is not None:
            line.leave()
            line.questions.clear()

    def _stall(self) -> None:
        if (line := self._any_line()) is not None:
            line.stall()

    def _read_on(self) -> None:
        for line in self.lines:
            line.go_on(self.clock.now)

    async def _new_key(self, person: Person) -> None:
        servers, tools = self.dice.choice(GRANTS)
        hours = timedelta(hours=2) if person.name == "eve" else None
        self._last_key += 1
        name = f"{person.name}-{self._last_key}"
        row, key = await self.hub.parts.keys.create(name, servers=servers, tools=tools, expires_in=hours)
        person.key, person.key_name, person.servers, person.tools = key, row.id, servers, tools
        if hours is not None:
            person.expires[key] = self.clock.wall() + hours.total_seconds()

    async def _rekey(self) -> None:
        """Another key, wider or narrower, in place of the one that is revoked."""
        person = self.dice.choice([*self.people.values()])
        old, now = person.key, self.clock.now
        person.ended[old] = now
        await self.hub.parts.keys.revoke(person.key_name)
        await self._new_key(person)

    async def _rotate(self) -> None:
        person = self.dice.choice([*self.people.values()])
        if not self.hub.parts.identities.verify(person.key, "mcp"):
            return
        overlap = timedelta(minutes=self.dice.choice([1, 10]))
        old = person.key
        _, row, key = await self.hub.parts.keys.rotate(person.key_name, overlap)
        ends = self.clock.wall() + overlap.total_seconds()
        if old in person.expires:
            person.expires[key] = self.clock.wall() + 7200.0
        person.expires[old] = min(ends, person.expires.get(old, ends))
        person.key, person.key_name = key, row.id

    # The servers.

    def _rough_server(self) -> FakeServer:
        others = [server for id, server in self.machine.servers.items() if id != "steady"]
        return self.dice.choice(others)

    def _temper(self) -> None:
        self._rough_server().temper = self.dice.choice([CALM, ROUGH, ROUGH])

    def _server_dies(self) -> None:
        self._rough_server().die(self.dice.choice([0, 1, -9]))

    def _server_gone(self) -> None:
        server = self._rough_server()
        server.refuses_start = not server.refuses_start

    def _definitions_change(self) -> None:
        self._rough_server().change()

    # Those who administer.

    def _administer(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Begun, and not waited for: calls go on meanwhile."""
        if len(self.admin) > 5:
            return

        async def alone() -> None:
            self.judge.unrest()
            try:
                await act()
            except (ConfigError, Conflict, LookupError, ValueError, HubError) as exc:
                self.judge.tally[f"admin: {type(exc).__name__}"] += 1
            except asyncio.CancelledError:
                if not self.hub.ended:
                    raise
            self.judge.unrest()
            self.asking.rules_changed()

        task = asyncio.create_task(alone(), name="an admin's act")
        self.admin.add(task)
        task.add_done_callback(self.admin.discard)

    def _approve(self) -> None:
        catalogue = self.hub.parts.catalogue
        self._administer(lambda: catalogue.approve(self._rough_server().id))

    def _enable(self) -> None:
        id, on = self._rough_server().id, self.dice.random() < 0.8
        self._administer(lambda: self.hub.parts.live.set_enabled(id, on, "sim"))

    def _register(self) -> None:
        id, live = self.dice.choice(ROVING), self.hub.parts.live
        row = live.row("server", id)
        made = entry(id, "auto", pins=self.dice.choice(["quarantine", "off"]))
        self._administer(lambda: live.put_server(id, made, "sim", None if row is None else row.version))

    def _unregister(self) -> None:
        id, live = self.dice.choice(ROVING), self.hub.parts.live
        if (row := live.row("server", id)) is not None:
            self._administer(lambda: live.remove_server(id, "sim", row.version))

    def _reload(self) -> None:
        self.setting.change()
        self._administer(lambda: self.hub.parts.live.reload("sim"))

    async def _bad_reload(self) -> None:
        """What has a fault changes nothing."""
        if self.admin or self.disk.trouble != "none":
            return
        before = self.hub.parts.current.config
        self.setting.spoil()
        reloaded = await self.hub.parts.live.reload("sim")
        self.setting.write()
        now = self.hub.parts.current.config
        if not reloaded.faults or (now.endpoints, now.servers) != (before.endpoints, before.servers):
            self.judge.fault("a file with a fault was put in force")

    # The disk and the clock.

    def _disk(self, trouble: Trouble) -> None:
        self.disk.trouble = trouble
        self.judge.disk_well_since = self.clock.now + 1.0 if trouble == "none" else float("inf")
        self.judge.unrest()

    def _disk_trouble(self) -> None:
        if self.disk.trouble == "none":
            troubles: tuple[Trouble, ...] = ("full", "broken", "slow")
            self.disk.slow_s = self.dice.choice([0.2, 2.0, 7.0])
            self._disk(self.dice.choice(troubles))

    def _disk_well(self) -> None:
        if self.disk.trouble != "none":
            self._disk("none")

    def _wall_jump(self) -> None:
        self.clock.wall_offset += self.dice.choice([-3600.0, 86_400.0, -5.0, 60.0])
        for line in self.lines:
            for question in line.questions.values():  # not all of them have been read yet
                question.sent_wall = min(question.sent_wall, self.clock.wall())

    async def _long_time(self) -> None:
        await asyncio.sleep(self.dice.uniform(5.0, 90.0))
