"""Who calls: modern callers, listeners, and legacy sessions of both transports, each with its own way to begin and end.

Each takes its turn from the pace, asks one thing, and has the answer judged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, Final

from conformance.soak.answers import Asked, Book
from conformance.soak.wire import ANSWER_S, Answer, Gone, Wire, request

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
BOTH: Final = "application/json, text/event-stream"
GONE_S: Final = 5.0  # within which the hub notices that a stream was left

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    token: str
    servers: Sequence[str]


@dataclass(slots=True)
class World:
    """What all callers share."""

    port: int
    keys: Sequence[Key]
    book: Book
    turns: asyncio.Semaphore
    life_s: tuple[float, float]
    idle_s: float
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[tuple[float, Key, str]] = field(default_factory=list)  # sessions that were abandoned: since when
    seen: dict[str, int] = field(default_factory=dict)  # how often each way to begin or end was taken

    def tally(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    async def turn(self) -> bool:
        """Wait for it. False when there is none any more."""
        if not self.stopping.is_set():
            await self.turns.acquire()
        return not self.stopping.is_set()

    def until(self) -> float:
        return monotonic() + self.book.dice.uniform(*self.life_s)


def dumps(id: int | None, method: str, params: Json) -> bytes:
    message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if id is None else {**message, "id": id}).encode()


class ModernCaller:
    """One connection, kept for a while; now and then it leaves in the middle of a call."""

    def __init__(self, world: World, key: Key) -> None:
        self._world, self._key, self._ids = world, key, count(1)

    async def run(self) -> None:
        while not self._world.stopping.is_set():
            wire, until = await Wire.connect(self._world.port), self._world.until()
            self._world.tally("modern connections")
            try:
                while monotonic() < until and await self._world.turn():
                    if self._world.book.dice.random() < 0.01:
                        await self._leave_in_mid_call(wire)
                        break
                    await self._one(wire)
            except (Gone, TimeoutError) as exc:
                self._world.book.fault(f"modern caller {self._key.name}: no answer ({type(exc).__name__})")
            finally:
                wire.close()

    async def _one(self, wire: Wire) -> None:
        book, id = self._world.book, next(self._ids)
        if book.dice.random() < 0.03:
            answer = await wire.ask(self.data(id, "tools/list", {}))
            book.judge_list(self._key.servers, answer.messages, f"modern {self._key.name}")
            return
        asked = book.ask(self._key.servers)
        answer = await wire.ask(self._call(id, asked))
        book.judge(asked, id, answer.messages, f"modern {self._key.name}")

    async def reaches(self, wire: Wire, server: str) -> bool:
        """Whether a call of this server is answered by it. A failure has to be one that a kill explains."""
        book, id = self._world.book, next(self._ids)
        asked = book.probe(server)
        answer = await wire.ask(self._call(id, asked))
        return book.judge(asked, id, answer.messages, "after its kill")

    async def _leave_in_mid_call(self, wire: Wire) -> None:
        """The hub has to cancel it: nothing else would ever end it."""
        asked = self._world.book.ask(self._key.servers)
        wire.send(self._call(next(self._ids), Asked(asked.server, "hold", "", asked.began)))
        self._world.tally("modern calls left")
        await asyncio.sleep(self._world.book.dice.uniform(0.05, 1.0))

    def _call(self, id: int, asked: Asked) -> bytes:
        arguments = {} if asked.tool == "hold" else {"text": asked.text}
        meta: Json = {"progressToken": id} if asked.tool == "steps" else {}
        return self.data(id, "tools/call", {"name": asked.name, "arguments": arguments, "_meta": meta}, asked.name)

    def data(self, id: int, method: str, params: Json, name: str = "") -> bytes:
        meta = {
            **params.get("_meta", {}),
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
        }
        headers = {"Accept": BOTH, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if name:
            headers["Mcp-Name"] = name
        body = dumps(id, method, {**params, "_meta": meta})
        return request("POST", "/mcp", self._world.port, self._key.token, headers, body)


class Listener:
    """Listens for changes of the lists, of which there are none; leaves and comes again."""

    def __init__(self, world: World, key: Key) -> None:
        self._world, self._caller = world, ModernCaller(world, key)

    async def run(self) -> None:
        world = self._world
        while not world.stopping.is_set():
            wire = await Wire.connect(world.port)
            heard: list[Json] = []
            asked = {"notifications": {"toolsListChanged": True}}
            status = await wire.stream(self._caller.data(1, "subscriptions/listen", asked), heard.append)
            world.tally("listens")
            over = asyncio.create_task(world.stopping.wait())
            ended = asyncio.create_task(wire.ended())
            await asyncio.wait({over, ended}, timeout=world.until() - monotonic(), return_when=asyncio.FIRST_COMPLETED)
            if status != 200 or not wire.open or any("list_changed" in m.get("method", "") for m in heard):
                world.book.fault(f"a listen: status {status}, open {wire.open}, heard {str(heard)[:300]}")
            over.cancel()
            ended.cancel()
            wire.close()


class SessionUser:
    """One legacy Streamable HTTP session after the other: ended by DELETE or abandoned, some with a stream."""

    def __init__(self, world: World, key: Key) -> None:
        self._world, self._key, self._ids = world, key, count(1)
        self._session, self._revision, self._heard = "", "", list[Json]()
        self._streams = False

    async def run(self) -> None:
        world = self._world
        while not world.stopping.is_set():
            wire: Wire | None = None
            stream: Wire | None = None
            try:
                wire = await self._begin()
                stream = await self._listen() if self._streams else None
                until = world.until()
                while monotonic() < until and await world.turn():
                    if world.book.dice.random() < 0.02:  # the session outlives its connection
                        wire.close()
                        wire = await Wire.connect(world.port)
                        world.tally("sessions taken up on another connection")
                    await self._one(wire)
                await self._end(wire, stream)
            except (Gone, TimeoutError) as exc:
                world.book.fault(f"session of {self._key.name}: no answer ({type(exc).__name__})")
            finally:
                for each in (wire, stream):
                    if each is not None:
                        each.close()

    async def _begin(self) -> Wire:
        world, wire = self._world, await Wire.connect(self._world.port)
        self._session, self._revision = "", world.book.dice.choice(LEGACY)
        self._streams = world.book.dice.random() < 0.4
        info = {"name": "soak", "version": "1"}
        params = {"protocolVersion": self._revision, "capabilities": {}, "clientInfo": info}
        answer = await wire.ask(self._post(dumps(next(self._ids), "initialize", params)))
        self._session = answer.headers.get("mcp-session-id", "")
        if answer.status != 200 or answer.messages[-1]["result"]["protocolVersion"] != self._revision:
            world.book.fault(f"initialize answered {answer.status}: {answer.body[:300]!r}")
        await wire.ask(self._post(dumps(None, "notifications/initialized", {})))
        world.tally("sessions opened")
        return wire

    async def _listen(self) -> Wire | None:
        stream = await Wire.connect(self._world.port)
        headers = {"Accept": "text/event-stream", **self._headers()}
        status = await stream.stream(
            request("GET", "/mcp", self._world.port, self._key.token, headers), self._heard.append
        )
        if status != 200:
            self._world.book.fault(f"the stream of a session answered {status}")
        return stream

    async def _one(self, wire: Wire) -> None:
        book, id, where = self._world.book, next(self._ids), f"session of {self._key.name}"
        luck = book.dice.random()
        if luck < 0.03:
            answer = await wire.ask(self._post(dumps(id, "tools/list", {})))
            book.judge_list(self._key.servers, answer.messages, where)
        elif luck < 0.04:
            await self._cancel(wire, id)
        else:
            asked = book.ask(self._key.servers)
            answer = await wire.ask(self._post(_call(id, asked)))
            book.judge(asked, id, answer.messages, where)

    async def _cancel(self, wire: Wire, id: int) -> None:
        """A call that nothing but its cancellation ends, on another connection of the same session."""
        world, asked = self._world, self._world.book.ask(self._key.servers)
        held = asyncio.create_task(wire.ask(self._post(_call(id, Asked(asked.server, "hold", "", asked.began)))))
        await asyncio.sleep(world.book.dice.uniform(0.05, 0.5))
        other = await Wire.connect(world.port)
        try:
            await other.ask(self._post(dumps(None, "notifications/cancelled", {"requestId": id})))
        finally:
            other.close()
        answer = await held
        world.tally("session calls cancelled")
        if answer.messages and not world.book.outages.excuses(asked.server, asked.began, monotonic()):
            world.book.fault(f"a cancelled call was answered: {answer.body[:300]!r}")

    async def _end(self, wire: Wire, stream: Wire | None) -> None:
        """By DELETE, after which it is gone; or not at all, and then its idle time has to end it."""
        world, luck = self._world, self._world.book.dice.random()
        if not world.stopping.is_set() and luck < 0.3:
            world.tally("sessions abandoned")
            world.left.append((monotonic(), self._key, self._session))
            return
        headers = self._headers()
        answer = await wire.ask(request("DELETE", "/mcp", world.port, self._key.token, headers))
        world.tally("sessions deleted")
        if answer.status != 200:
            world.book.fault(f"DELETE of a session answered {answer.status}")
        if (await wire.ask(self._post(dumps(next(self._ids), "ping", {})))).status != 404:
            world.book.fault("a session that was deleted goes on")
        if stream is not None:
            try:
                async with asyncio.timeout(GONE_S):
                    await stream.ended()
            except TimeoutError:
                world.book.fault("the stream of a session that was deleted goes on")

    def _headers(self) -> dict[str, str]:
        named = {"Mcp-Session-Id": self._session} if self._session else {}
        return named | ({"MCP-Protocol-Version": self._revision} if self._session else {})

    def _post(self, body: bytes) -> bytes:
        headers = {"Accept": BOTH, **self._headers()}
        return request("POST", "/mcp", self._world.port, self._key.token, headers, body)


async def check_abandoned(world: World, slack_s: float = 2.0) -> None:
    """Every abandoned session has to be unknown once its idle time is over."""
    while world.left:
        since, key, session = world.left[0]
        if monotonic() < since + world.idle_s + slack_s:
            return
        world.left.pop(0)
        wire = await Wire.connect(world.port)
        try:
            headers = {"Accept": BOTH, "Mcp-Session-Id": session}
            answer = await wire.ask(request("POST", "/mcp", world.port, key.token, headers, dumps(1, "ping", {})))
            if answer.status != 404:
                world.book.fault(f"an abandoned session answered {answer.status} after its idle time")
            world.tally("abandoned sessions found expired")
        finally:
            wire.close()


class SseUser:
    """One HTTP+SSE session after the other; it ends with its stream."""

    def __init__(self, world: World, key: Key) -> None:
        self._world, self._key, self._ids = world, key, count(1)
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._told: list[Json] = []
        self._address: asyncio.Future[str]

    async def run(self) -> None:
        world = self._world
        while not world.stopping.is_set():
            stream, wire = await Wire.connect(world.port), await Wire.connect(world.port)
            try:
                await self._begin(stream, wire)
                until = world.until()
                while monotonic() < until and await world.turn():
                    await self._one(wire)
                stream.close()
                await self._check_gone(wire)
            except (Gone, TimeoutError) as exc:
                world.book.fault(f"HTTP+SSE session of {self._key.name}: no answer ({type(exc).__name__})")
            finally:
                stream.close()
                wire.close()

    async def _begin(self, stream: Wire, wire: Wire) -> None:
        world = self._world
        self._address = asyncio.get_running_loop().create_future()
        headers = {"Accept": "text/event-stream"}
        await stream.stream(request("GET", "/sse", world.port, self._key.token, headers), self._heard)
        async with asyncio.timeout(ANSWER_S):
            await self._address
        info = {"name": "soak", "version": "1"}
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": info}
        answered = await self._ask(wire, next(self._ids), "initialize", params)
        if "result" not in answered[-1]:
            world.book.fault(f"initialize over HTTP+SSE was answered with {answered[-1]}")
        await wire.ask(self._post(dumps(None, "notifications/initialized", {})))
        world.tally("HTTP+SSE sessions opened")

    async def _one(self, wire: Wire) -> None:
        book, id, where = self._world.book, next(self._ids), f"HTTP+SSE session of {self._key.name}"
        if book.dice.random() < 0.03:
            book.judge_list(self._key.servers, await self._ask(wire, id, "tools/list", {}), where)
            return
        asked = book.ask(self._key.servers)
        book.judge(asked, id, await self._ask(wire, id, "tools/call", _params(id, asked)), where)

    async def _ask(self, wire: Wire, id: int, method: str, params: Json) -> list[Json]:
        """What came on the stream for one request, its answer last."""
        self._told = []
        answered = self._answers[id] = asyncio.get_running_loop().create_future()
        try:
            accepted: Answer = await wire.ask(self._post(dumps(id, method, params)))
            if accepted.status != 202:
                self._world.book.fault(f"a message over HTTP+SSE was answered {accepted.status}")
            async with asyncio.timeout(ANSWER_S):
                await answered
        finally:
            del self._answers[id]
        return self._told

    def _heard(self, message: Json) -> None:
        if "endpoint" in message:
            if not self._address.done():
                self._address.set_result(message["endpoint"])
            return
        if "id" in message:
            answered = self._answers.get(message["id"])
            if answered is None or answered.done():
                self._world.book.fault(f"an answer that nobody waits for: {str(message)[:300]}")
                return
            self._told.append(message)
            answered.set_result(None)
        else:
            self._told.append(message)

    async def _check_gone(self, wire: Wire) -> None:
        """The hub has to notice that the stream was left."""
        end = monotonic() + GONE_S
        while (await wire.ask(self._post(dumps(None, "notifications/initialized", {})))).status != 404:
            if monotonic() > end:
                self._world.book.fault("an HTTP+SSE session goes on without its stream")
                return
            await asyncio.sleep(0.05)
        self._world.tally("HTTP+SSE sessions left")

    def _post(self, body: bytes) -> bytes:
        return request("POST", self._address.result(), self._world.port, self._key.token, {}, body)


def _params(id: int, asked: Asked) -> Json:
    arguments: Mapping[str, str] = {} if asked.tool == "hold" else {"text": asked.text}
    params: Json = {"name": asked.name, "arguments": arguments}
    return {**params, "_meta": {"progressToken": id}} if asked.tool == "steps" else params


def _call(id: int, asked: Asked) -> bytes:
    return dumps(id, "tools/call", _params(id, asked))
