"""One run of the real hub, from the file it reads to the day it is stopped or killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import anyio._backends._asyncio as anyio_asyncio

from conformance.faults.simulator.disk import Disk
from conformance.faults.simulator.loop import SimulatedLoop
from conformance.faults.simulator.order import numbered
from conformance.faults.simulator.servers import Machine
from hub.assembly import apps, making
from hub.assembly_parts import Parts, open_parts
from hub.audit.writer import AuditLog
from hub.config import load
from hub.core.call import Call, Outcome
from hub.downstream.counted import Counted
from hub.edge.mcp_stdio import StdioEdge
from hub.running import DataDir


class Witness(Protocol):
    """Told of every call, before and after the pipeline."""

    def entered(self, call: Call) -> None: ...

    def answered(self, call: Call, outcome: Outcome) -> None: ...

    def abandoned(self, call: Call) -> None: ...


def at_our_ports(loop: SimulatedLoop, machine: Machine, disk: Disk) -> None:
    """Put what is ours where the hub meets threads, processes and the disk. Everything else stays its own."""
    for module, name, ours in (
        ("hub.audit.writer", "threading", loop.crew.threading),
        ("hub.audit.writer", "SimpleQueue", loop.crew.queue),
        ("hub.downstream.stdio", "launch", machine.launch),
        ("hub.assembly_parts", "AuditLog", partial(AuditLog, connect=disk.connect)),
        ("anyio.to_thread", "run_sync", _inline),
        ("anyio._backends._asyncio", "CancelScope", numbered(anyio_asyncio.CancelScope)),
        ("hub.downstream.supervise", "Counted", numbered(Counted)),
    ):
        there = sys.modules[module]
        if not hasattr(there, name):
            raise RuntimeError(f"{module} has no {name} any more: put the simulator's where the hub has it now")
        setattr(there, name, ours)


async def _inline(func: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, func, *args)


class Incarnation:
    parts: Parts
    stdio: StdioEdge

    def __init__(self, path: Path, witness: Witness) -> None:
        self._path, self._witness = path, witness
        self._stack = AsyncExitStack()
        self.ended = False

    async def start(self) -> None:
        config = load(self._path, {})
        self._data = data = DataDir(config.data_dir)
        data.lock("simulator")
        self.parts = await open_parts(config, data, self._stack, making)
        _, self.stdio = apps(self.parts, data, "", lambda: True)
        self._stack.push_async_callback(self.stdio.aclose)
        inner = self.stdio.ports.handle

        async def handle(call: Call) -> Outcome:
            self._witness.entered(call)
            try:
                outcome = await inner(call)
            except asyncio.CancelledError:
                if not self.ended:
                    self._witness.abandoned(call)
                raise
            if not self.ended:
                self._witness.answered(call, outcome)
            return outcome

        self.stdio.ports.handle = handle

    async def stop(self) -> None:
        """As on SIGTERM: conversations drain, the log notes the stop."""
        await self._stack.aclose()
        self._data.unlock()
        self.ended = True

    async def kill(self, spared: set[asyncio.Task[Any]]) -> None:
        """As on SIGKILL: from this moment on nothing it does has an effect."""
        self.ended = True
        loop = cast(SimulatedLoop, asyncio.get_running_loop())
        loop.frozen = True
        loop.crew.kill()
        while left := asyncio.all_tasks() - spared:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)
        self._data.unlock()
        loop.frozen = False
