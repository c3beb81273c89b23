"""The servers behind the hub, and who kills them: kill -9 at random, one at a time, and only ones that had some rest.

Servers over HTTP are started anew from here after a while; those on pipes are the hub's to start.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from conformance.soak import processes
from conformance.soak.callers import ModernCaller, World
from conformance.soak.wire import Gone, Wire

PROGRAM: Final = Path(__file__).with_name("server.py")
KINDS: Final[Mapping[str, str]] = {  # by server id
    "m1": "modern",
    "m2": "modern",
    "l1": "legacy",
    "l2": "legacy",
    "e1": "sse",
    "p1": "stdio-modern",
    "p2": "stdio-modern",
    "q1": "stdio-legacy",
}
REST_S: Final = 35.0  # the hub takes a server for stable after 30
BACK_S: Final = 20.0  # within which a server that was started again has to answer through the hub
AWAY_S: Final = (0.1, 3.0)  # how long a server over HTTP stays away


class Fleet:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._ports: dict[str, int] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        for id, kind in KINDS.items():
            if not kind.startswith("stdio"):
                self._ports[id] = _port(self._dice, set(self._ports.values()))
                await self._launch(id)

    def entries(self) -> dict[str, Any]:
        """`mcpServers` of the hub's configuration."""
        entries: dict[str, Any] = {}
        for id, kind in KINDS.items():
            if kind.startswith("stdio"):
                entries[id] = {"command": sys.executable, "args": ["-I", "-S", str(PROGRAM), kind, id]}
            else:
                path = "/sse" if kind == "sse" else "/mcp"
                entries[id] = {"url": f"http://127.0.0.1:{self._ports[id]}{path}"}
        return entries

    async def kill_some(self, world: World, hub_pid: int, every_s: float) -> None:
        """Until the callers stop."""
        while not world.stopping.is_set():
            await asyncio.sleep(self._dice.uniform(0.5, 1.5) * every_s)
            rested = [id for id in KINDS if world.book.outages.rested(id, REST_S)]
            if rested and not world.stopping.is_set():
                await self._kill(self._dice.choice(rested), world, hub_pid)

    async def _kill(self, id: str, world: World, hub_pid: int) -> None:
        outages = world.book.outages
        outages.begin(id)
        if id in self._running:
            process = self._running[id]
            process.kill()
            await process.wait()
            await asyncio.sleep(self._dice.uniform(*AWAY_S))
            await self._launch(id)
        else:
            for pid in processes.children(hub_pid):
                if processes.words(pid)[-1:] == [id]:
                    os.kill(pid, signal.SIGKILL)
        world.tally(f"kills of {KINDS[id]}")
        await _answers_again(id, world)
        outages.end(id)

    async def _launch(self, id: str) -> None:
        command = [sys.executable, "-I", "-S", str(PROGRAM), KINDS[id], id, str(self._ports[id])]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the server {id} did not start on port {self._ports[id]}")
        self._running[id] = process

    async def stop(self) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _answers_again(id: str, world: World) -> None:
    """Ask it through the hub until it answers; that it never does is a fault."""
    caller, end = ModernCaller(world, world.keys[0]), monotonic() + BACK_S
    wire = await Wire.connect(world.port)
    try:
        while monotonic() < end:
            if await caller.reaches(wire, id):
                return
            await asyncio.sleep(0.05)
        world.book.fault(f"{id} was killed and did not answer within {BACK_S:g} s of being started again")
    except (Gone, TimeoutError) as exc:
        world.book.fault(f"a call to {id} after its kill: no answer ({type(exc).__name__})")
    finally:
        wire.close()


def _port(dice: random.Random, taken: set[int]) -> int:
    """Below those that the kernel gives to outgoing connections: it must still be free when the server comes back."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = dice.randrange(10_000, max(first, 11_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken:
            return port
