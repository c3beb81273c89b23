"""Starts and ends the processes of stdio servers, through one guard process that survives a killed hub.

It knows processes, not MCP: pipes are given to it, and what flows through them is not its business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.core.errors import Unreachable

log = logging.getLogger(__name__)

PROGRAM: Final = Path(__file__).with_name("guard.py")
ENDED: Final = "the guard of the stdio servers ended"
MAX_ORDER_BYTES: Final = 128 * 1024  # one order must fit the socket whole
ANSWER_S: Final = 5.0
FAREWELL_S: Final = 6.0  # the guard gives its children 1.5 s and leaves within 4
GONE: Final = -9
LOADER: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and everything its process will know of the world."""

    server: str
    path: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None


@dataclass(slots=True, eq=False)
class Child:
    """One running process, leader of its own session."""

    id: int
    pid: int
    exited: asyncio.Future[int]  # its exit code; negative: the signal that ended it
    guard: Guard

    def stop(self, grace_s: float) -> None:
        """TERM to it and all its descendants, KILL to what is left after the grace. Never waits."""
        self.guard.order({"op": "stop", "id": self.id, "grace_s": grace_s})

    def kill(self) -> None:
        """KILL to it and all its descendants. Never waits."""
        self.stop(0.0)


class Guard:
    """The hub's side of the guard process: started with the first child, again if it is lost."""

    def __init__(
        self,
        environ: Mapping[str, str] = {},
        *,
        python: str = sys.executable,
        answer_s: float = ANSWER_S,
        farewell_s: float = FAREWELL_S,
    ) -> None:
        """Of the hub's own environment the guard gets only what the loader of its interpreter may need."""
        self._python, self._answer_s, self._farewell_s = python, answer_s, farewell_s
        self._environ = {name: environ[name] for name in LOADER if name in environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._last_id = 0
        self._starting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._groups: dict[int, int] = {}  # of living children, by id
        self._unread = b""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._socket is not None else None

    async def spawn(self, program: Program, fds: tuple[int, int, int]) -> Child:
        """Start a process with these standard streams, which stay the caller's to close. Raises `Unreachable`."""
        async with self._turn:  # one order at a time: it always finds the socket empty
            if self._socket is None:
                await self._start(program.server)
            self._last_id += 1
            id = self._last_id
            order = {
                "op": "spawn",
                "id": id,
                "path": program.path,
                "argv": list(program.argv),
                "env": dict(program.env),
                "cwd": program.cwd,
            }
            loop = asyncio.get_running_loop()
            self._starting[id], self._exits[id] = loop.create_future(), loop.create_future()
            exited = self._exits[id]
            try:
                if not self.order(order, fds):
                    large = "its arguments and environment are too large to be handed over"
                    raise Unreachable(program.server, ENDED if self._socket is None else large)
                async with asyncio.timeout(self._answer_s):
                    answer = await self._starting[id]
            except BaseException as exc:
                self._exits.pop(id, None)
                self.order({"op": "stop", "id": id, "grace_s": 0})
                if isinstance(exc, TimeoutError):
                    _kill(self._groups.values())
                    self._lost()
                    raise Unreachable(program.server, "it could not be started: the guard does not answer") from exc
                raise
            finally:
                self._starting.pop(id, None)
            if "pid" not in answer:
                self._exits.pop(id, None)
                raise Unreachable(program.server, f"its command cannot be started: {answer.get('failed')}")
            return Child(id, answer["pid"], exited, self)

    def order(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send one order whole; False when that is not possible."""
        body = json.dumps(order).encode()
        if self._socket is None or len(body) > MAX_ORDER_BYTES:
            return False
        frame = len(body).to_bytes(4, "big") + body
        try:
            sent = socket.send_fds(self._socket, [frame], list(fds)) if fds else self._socket.send(frame)
        except OSError:
            sent = 0
        if sent == len(frame):
            return True
        self._lost()  # half an order would corrupt all that follow
        return False

    async def aclose(self) -> None:
        """End every child and the guard itself, within its own deadlines."""
        groups = tuple(self._groups.values())
        self._lost()
        await self._farewell(groups)

    async def _start(self, server: str) -> None:
        await self._farewell(())
        ours, theirs = socket.socketpair()
        command = [self._python, "-I", "-S", "-B", "-X", "utf8", str(PROGRAM), str(theirs.fileno())]
        try:
            self._process = _popen(command, theirs.fileno(), self._environ)  # 2 ms, once: a thread could lose it
        except OSError as exc:
            ours.close()
            raise Unreachable(server, "it could not be started: no process for its guard") from exc
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket, self._unread = ours, b""
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            log.warning("the guard of the stdio servers is gone; they are started again under a new one")
            _kill(self._groups.values())  # its end took the leaders along, and nobody else
            self._lost()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._on_report(json.loads(line))

    def _on_report(self, report: dict[str, Any]) -> None:
        id = report["id"]
        if "exit" in report:
            self._groups.pop(id, None)
            exited = self._exits.pop(id, None)
            if exited is not None and not exited.done():
                exited.set_result(report["exit"])
            return
        if "pid" in report:
            self._groups[id] = report["pid"]
        if id in self._starting and not self._starting[id].done():
            self._starting[id].set_result(report)

    async def _farewell(self, groups: Collection[int]) -> None:
        """Wait until the old guard has left; one that does not is killed, and the groups it held with it."""
        if self._process is None:
            return
        try:
            await asyncio.to_thread(self._process.wait, self._farewell_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _kill(groups)
            await asyncio.to_thread(self._process.wait)
        self._process = None

    def _lost(self) -> None:
        """Without the socket the guard ends all children: they count as ended from now on."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for starting in self._starting.values():
            if not starting.done():
                starting.set_result({"failed": ENDED})
        for exited in self._exits.values():
            if not exited.done():
                exited.set_result(GONE)
        self._exits.clear()
        self._groups.clear()


def _popen(command: Sequence[str], fd: int, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=nowhere, stdout=nowhere, stderr=nowhere, pass_fds=(fd,), env=env, cwd="/", start_new_session=True
    )


def _kill(groups: Collection[int]) -> None:
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue
