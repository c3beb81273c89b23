"""One seed, from an empty directory to the last verdict."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from conformance.faults.simulator.bugs import BUGS
from conformance.faults.simulator.clock import Clock
from conformance.faults.simulator.crew import Crew
from conformance.faults.simulator.disk import Disk
from conformance.faults.simulator.incarnation import at_our_ports
from conformance.faults.simulator.judge import Violation
from conformance.faults.simulator.loop import SimulatedLoop, Stuck
from conformance.faults.simulator.servers import Machine
from conformance.faults.simulator.world import World


def run(
    clock: Clock, seed: int, steps: int, folder: Path, *, bug: str | None = None, verbose: bool = False
) -> str | None:
    """What was violated, with the step, or None. Prints one line of what happened."""
    random.seed(seed)
    dice, crew = random.Random(seed), Crew(clock)
    disk, machine = Disk(crew), Machine()
    loop = SimulatedLoop(clock, crew, random.Random(dice.random()))
    at_our_ports(loop, machine, disk)
    if bug is not None:
        BUGS[bug]()
    began, seconds = time.perf_counter(), clock.now
    world = World(folder, clock, disk, machine, dice)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        failed = runner.run(_steps(world, steps, verbose))
    took = time.perf_counter() - began
    tally = ", ".join(f"{what} {times}" for what, times in sorted(world.judge.tally.items()))
    print(f"seed {seed}: digest {world.judge.digest}, {clock.now - seconds:.0f} s in {took:.1f} s; {tally}", flush=True)
    return failed


async def _steps(world: World, steps: int, verbose: bool) -> str | None:
    number = 0
    try:
        await world.begin()
        for number in range(1, steps + 1):
            act = await world.step(number)
            if verbose:
                print(f"{number} {world.clock.now:.3f} {act}")
        await world.end()
    except (Violation, Stuck) as exc:
        return f"step {number} of {steps}:\n  {exc}"
    return None
