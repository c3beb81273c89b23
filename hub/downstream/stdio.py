"""Servers that are child processes: starts them, finds out their era, and is their link while they live.

Framing, pipes, processes and correlation each have a file of their own; here is what holds them together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from hub.core.call import Era, Json
from hub.core.errors import DownstreamError, Late, Lost, Oversize, Unreachable
from hub.downstream.child import Guard, Program
from hub.downstream.correlate import Correlator
from hub.downstream.framing import Overlong
from hub.downstream.handshake import discover, initialize
from hub.downstream.link import Exchange, LinkEvents, Peer, ServerSpec
from hub.downstream.listen import keep_listening
from hub.downstream.pipes import LastWords, Pipes, launch
from hub.wire import jsonrpc

log = logging.getLogger(__name__)

INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "SHELL", "TERM")
PROBE_S: Final = 5.0  # the first question to a server of unknown era
SLACK_BYTES: Final = 64 * 1024  # around a result of the cap
MAX_GARBAGE: Final = 100  # lines in a row that are no messages
LAST_ANSWER_S: Final = 0.25  # from the end of a process to the end of its output, which others may hold open
EXIT_CODE_S: Final = 1.0  # from the end of the output to the end of the process, to name its exit code
GRACE_S: Final = 2.0  # from the end of stdin to TERM, and from TERM to KILL
KILLED_S: Final = 0.7  # from KILL to the end of the process


class StdioLink:
    """A live child process. Its `peer` is known once negotiation is over."""

    def __init__(self, server: str, events: LinkEvents, grace_s: float) -> None:
        self.peer = Peer("legacy", "", {}, {}, None)
        self._server, self._events, self._grace_s = server, events, grace_s
        self._garbage = 0
        self._closed: str | None = None
        self._settled = False  # negotiated: from now on the pool is told of the end
        self._silenced = asyncio.Event()
        self._pipes: Pipes  # from `start` on, as the watcher
        self._watcher: asyncio.Task[None]
        self._listener: asyncio.Task[None] | None = None
        self.correlator = Correlator(server, self._send, replace(events, noise=self._noise), era="modern")

    async def start(self, guard: Guard, program: Program, words: LastWords, cap: int) -> None:
        """Start the process. Raises `Unreachable`."""
        self._pipes = await launch(guard, program, words, cap, self._take, self._silenced.set)
        self._watcher = asyncio.create_task(self._watch(self._pipes))

    def adopt(self, peer: Peer) -> None:
        """Negotiation is over."""
        self.peer = peer
        self.correlator.adopt(peer)
        if self._closed is not None:
            raise Unreachable(self._server, self._closed)
        self._settled = True
        if peer.era == "modern":
            listening = keep_listening(self._server, self.request, peer.capabilities, self._events.notified)
            self._listener = asyncio.create_task(listening)

    def request(self, method: str, params: Json, exchange: Exchange) -> Coroutine[Any, Any, Json]:
        return self.correlator.request(method, params, exchange)

    async def notify(self, method: str, params: Json) -> None:
        await self.correlator.notify(method, params)

    @property
    def alive(self) -> bool:
        return self._closed is None

    async def aclose(self) -> None:
        """End the process and everything it started: end of input, then TERM, then KILL."""
        self._settled = False
        self._die("the hub closed the connection")
        self._silenced.set()
        await asyncio.wait((self._watcher,))  # bounded by its own graces; goes on when this wait is cancelled

    def drop(self) -> None:
        """End a process that was of no use: TERM at once, KILL after the grace. Never waits."""
        self._die("it was of no use")
        self._silenced.set()
        self._pipes.child.stop(self._grace_s)

    def _send(self, message: bytes) -> Awaitable[None] | None:
        return self._pipes.send(message)

    def _take(self, line: bytes | Overlong) -> None:
        if self._closed is not None:
            return
        if isinstance(line, Overlong):
            self._events.noise("oversize")
            self._tell_oversize(line)
            return
        try:
            message = jsonrpc.loads(line)
        except jsonrpc.Malformed:
            self._noise("garbage")
            return
        if self.correlator.feed(message, len(line)):
            self._garbage = 0

    def _tell_oversize(self, line: Overlong) -> None:
        """The request whose answer was too large: by its id where that can be read, else the only one there is."""
        waiting = self.correlator.in_flight
        id = line.id if line.id is not None else (waiting[0] if len(waiting) == 1 else None)
        if id in waiting:
            self.correlator.fail_one(id, Oversize(self._server, "the answer passed the size cap and was thrown away"))

    def _noise(self, what: str) -> None:
        self._events.noise(what)
        if what == "garbage":
            self._garbage += 1
            if self._garbage >= MAX_GARBAGE:
                self._die(f"it printed {MAX_GARBAGE} lines in a row on stdout that are no MCP messages")
                self._silenced.set()

    async def _watch(self, pipes: Pipes) -> None:
        """Wait for the end of the process, of its output or of the hub's patience, and see the process gone."""
        exited, silenced = pipes.child.exited, asyncio.ensure_future(self._silenced.wait())
        try:
            await asyncio.wait((silenced, exited), return_when=asyncio.FIRST_COMPLETED)
            if self._closed is None:
                await asyncio.wait((silenced, exited), timeout=LAST_ANSWER_S if exited.done() else EXIT_CODE_S)
            if exited.done():
                code = exited.result()
                how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
                self._die(f"its process {how}; its last words: mcp-hub servers test {self._server}")
            else:
                self._die("it closed its output, but its process is still there")
            pipes.close_stdin()
            await asyncio.wait((exited,), timeout=self._grace_s)
            if not exited.done():
                pipes.child.stop(self._grace_s)
                await asyncio.wait((exited,), timeout=self._grace_s + KILLED_S)
        finally:
            silenced.cancel()
            if not exited.done():
                pipes.child.kill()
            pipes.close()

    def _die(self, reason: str) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        self.correlator.fail(Lost(self._server, reason))
        if self._listener is not None:
            self._listener.cancel()
        if self._settled:
            self._events.closed(reason)


class StdioOpener:
    """Opens links to stdio servers. One per hub: its children share one guard.

    `environ` is the hub's own environment, of which a child gets only `INHERITED`.
    """

    def __init__(self, environ: Mapping[str, str], *, probe_s: float = PROBE_S, grace_s: float = GRACE_S) -> None:
        self._inherited = {name: environ[name] for name in INHERITED if name in environ}
        self._probe_s, self._grace_s = probe_s, grace_s
        self._guard = Guard(environ)
        self._eras: dict[tuple[object, ...], Era] = {}
        self._words: dict[str, LastWords] = {}

    async def __call__(self, spec: ServerSpec, events: LinkEvents) -> StdioLink:
        """Start and negotiate. Raises `DownstreamError`; nothing of a failed start is left running."""
        key = (spec.id, spec.command, spec.cwd)
        era = self._eras.get(key) if spec.era == "auto" else spec.era
        try:
            link = await (self._open_unknown(spec, events) if era is None else self._open_known(spec, events, era))
        except BaseException:
            self._eras.pop(key, None)  # a verdict that does not hold is found anew
            raise
        self._eras[key] = link.peer.era
        return link

    def stderr(self, server: str) -> tuple[str, ...]:
        """The last lines that the newest process of this server printed, oldest first."""
        words = self._words.get(server)
        return words.lines() if words is not None else ()

    def forget(self, servers: Collection[str]) -> None:
        """These servers are gone: what was learned of them is let go."""
        self._eras = {key: era for key, era in self._eras.items() if key[0] not in servers}
        self._words = {server: words for server, words in self._words.items() if server not in servers}

    async def aclose(self) -> None:
        """End the guard, and with it every process that is still there. Close the links first."""
        await self._guard.aclose()

    async def _open_unknown(self, spec: ServerSpec, events: LinkEvents) -> StdioLink:
        """The modern question first; a process that swallows it or dies of it is replaced, then `initialize`."""
        link = await self._launch(spec, events)
        async with _dropped_on_failure(link):
            try:
                peer = await discover(link.correlator, spec.id, self._probe_s)
            except (Late, Lost, Oversize) as exc:
                log.info("%s did not answer the modern question (%s); starting it again", spec.id, exc.text)
            else:
                return await self._settle(spec, link, peer)
        link.drop()
        link = await self._launch(spec, events)
        async with _dropped_on_failure(link):
            return await self._settle(spec, link, None)

    async def _open_known(self, spec: ServerSpec, events: LinkEvents, era: Era) -> StdioLink:
        link = await self._launch(spec, events)
        async with _dropped_on_failure(link):
            if era == "legacy":
                return await self._settle(spec, link, None)
            peer = await discover(link.correlator, spec.id, spec.timeouts.initialize_s)
            if peer is None and spec.era == "modern":
                raise Unreachable(spec.id, "it is no modern server, but its configuration says `era: modern`")
            return await self._settle(spec, link, peer)

    async def _settle(self, spec: ServerSpec, link: StdioLink, peer: Peer | None) -> StdioLink:
        """Come to a verdict: the peer that was found, or what `initialize` says."""
        if peer is None:
            peer = await initialize(link.correlator, spec.id, spec.timeouts.initialize_s)
        if peer is None:  # it says that it is modern: a slow start outlasted the first question
            peer = await discover(link.correlator, spec.id, self._probe_s)
        if peer is None:
            raise Unreachable(spec.id, "it accepts neither the modern nor the legacy protocol")
        link.adopt(peer)
        return link

    async def _launch(self, spec: ServerSpec, events: LinkEvents) -> StdioLink:
        program = self._program(spec)
        words = self._words[spec.id] = LastWords(spec.id, spec.env)
        link = StdioLink(spec.id, events, self._grace_s)
        await link.start(self._guard, program, words, spec.max_result_bytes + SLACK_BYTES)
        return link

    def _program(self, spec: ServerSpec) -> Program:
        env = {**self._inherited, **spec.env}
        if not spec.command:
            raise Unreachable(spec.id, "it has no command")
        if any("\0" in text for text in (*spec.command, *env, *env.values(), spec.cwd or "")):
            raise Unreachable(spec.id, "its command, environment or working directory holds a zero byte")
        if spec.cwd is not None and not os.path.isdir(spec.cwd):
            raise Unreachable(spec.id, f"its working directory {spec.cwd} does not exist")
        command = spec.command[0]
        if os.sep in command:
            command = os.path.abspath(os.path.join(spec.cwd or "", command))
        path = shutil.which(command, path=env.get("PATH", os.defpath))
        if path is None:
            where = "is no executable file" if os.sep in command else "is not on PATH; install it or give its full path"
            raise Unreachable(spec.id, f"its command {spec.command[0]} {where}")
        return Program(spec.id, os.path.abspath(path), spec.command, env, os.path.abspath(spec.cwd or ""))


@asynccontextmanager
async def _dropped_on_failure(link: StdioLink) -> AsyncIterator[None]:
    """No call of a client was sent yet: whatever broke while connecting, it is safe to try again."""
    try:
        yield
    except Unreachable:
        link.drop()
        raise
    except DownstreamError as exc:
        link.drop()
        raise Unreachable(exc.server, f"it could not be connected: {exc.text}") from exc
    except BaseException:
        link.drop()
        raise
