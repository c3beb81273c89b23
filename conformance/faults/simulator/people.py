"""Who calls: people with keys, their connections, and what each of them has asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from hub.core.ports import Endpoint


@dataclass(frozen=True)
class Rules:
    """What a credential may reach at an endpoint, said a second time and in other words than the hub's."""

    servers: tuple[str, ...] | None
    tools: tuple[str, ...] | None
    endpoint: Endpoint
    trusted: frozenset[str]

    def allow(self, server: str, kind: str, public: str) -> bool:
        if self.endpoint.servers is not None and server not in self.endpoint.servers:
            return False
        if self.servers is not None and not {server, "*"} & set(self.servers):
            return False
        if kind != "tool":
            return self.servers is not None
        if self.servers is None and self.tools is None:
            return False
        if self.endpoint.read_only and not (server in self.trusted and public.partition("__")[2].startswith("get_")):
            return False
        return all(
            globs is None or any(fnmatchcase(public, glob) for glob in globs)
            for globs in (self.tools, self.endpoint.tools)
        )


@dataclass
class Person:
    """One caller, and the key in force."""

    name: str
    key: str = ""
    key_name: str = ""
    servers: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    ended: dict[str, float] = field(default_factory=dict)  # keys that were revoked, and when (monotonic)
    expires: dict[str, float] = field(default_factory=dict)  # keys that end by themselves (wall clock)


@dataclass(eq=False)
class Question:
    """One request, until it has its answer."""

    id: int
    line: Line
    method: str
    sent: float
    sent_wall: float
    token: str = ""
    server: str = ""
    kind: str = ""
    public: str = ""
    rules: list[Rules] = field(default_factory=list)  # those in force at any time since it was sent
    steady: bool = False  # of the server that never fails
    open_ended: bool = False
    cancelled: bool = False
    answer: dict[str, Any] | None = None
    answered: float = 0.0
    then: Callable[[Question], None] | None = None

    def may_reach(self, server: str, kind: str, public: str) -> bool:
        return any(rules.allow(server, kind, public) for rules in self.rules)


class Line:
    """One connection of one person: the hub's lines, and the program at their other end."""

    def __init__(self, person: Person, key: str, era: str, endpoint: str, heard: Callable[[Line, bytes], None]) -> None:
        self.person, self.key, self.era, self.endpoint = person, key, era, endpoint
        self.grants = (person.servers, person.tools)
        self.questions: dict[int, Question] = {}  # without answer
        self.done: dict[int, Question] = {}  # a few of those that have theirs
        self.task: asyncio.Task[None] | None = None
        self.ready = False  # it may ask
        self.over = False  # the hub has closed it
        self.left = False  # its own side is closed
        self.reading_since = 0.0
        self.backlog = 0  # notifications that had waited for it to read on
        self.stalled_once = False
        self.listens = False
        self._heard = heard
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._reads = asyncio.Event()
        self._reads.set()

    # The hub's side.

    async def read(self) -> bytes | None:
        return await self._inbox.get()

    async def write(self, line: bytes) -> None:
        while not self._reads.is_set():
            await self._reads.wait()
        if self.over or self.left:
            raise BrokenPipeError
        self._heard(self, line)

    def close(self) -> None:
        self.over = True

    def abort(self) -> None:
        self.over = True

    # The program's side.

    @property
    def open(self) -> bool:
        return not self.over and not self.left

    @property
    def reads(self) -> bool:
        return self._reads.is_set()

    def say(self, message: dict[str, Any]) -> None:
        self._inbox.put_nowait(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def leave(self) -> None:
        """Close its end; it reads nothing more."""
        self.left = True
        self._reads.set()
        self._inbox.put_nowait(None)

    def stall(self) -> None:
        self.stalled_once = True
        self._reads.clear()

    def go_on(self, now: float) -> None:
        if not self._reads.is_set():
            self.reading_since, self.backlog = now, 0
            self._reads.set()
