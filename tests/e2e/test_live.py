"""A hub that is changed all the time while others work with it: nobody else notices, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import pytest

from hub.config import ConfigError
from tests.e2e.live_hub import ADMIN, LiveHub, connected, descendants, descriptors, live_hub
from tests.journeys.hub import downstream

pytestmark = pytest.mark.e2e

SERVERS: Final = Path(__file__).resolve().parent / "servers"
CALLERS, EACH_S = 6, 0.12  # fifty calls a second
OPERATIONS: Final = 200


def child(mode: str = "legacy", *more: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw_stdio.py"), mode, *more]}


async def until(true: Callable[[], bool | Awaitable[bool]], what: str, timeout_s: float = 15) -> None:
    end = monotonic() + timeout_s
    while True:
        found = true()
        if found if isinstance(found, bool) else await found:
            return
        assert monotonic() < end, f"{what}: not within {timeout_s:g} s"
        await asyncio.sleep(0.02)


def lists(hub: LiveHub, *names: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return set(names) <= set(await hub.names())

    return look


def lacks(hub: LiveHub, name: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return name not in await hub.names()

    return look


def ready(hub: LiveHub, server: str) -> Callable[[], bool]:
    return lambda: any(each.server == server and each.state == "ready" for each in hub.parts.pool.health())


class Load:
    """Six keys that call two servers all the time. Every answer is looked at."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.wrong: list[Any] = []

    async def call(self, port: int, key: str, number: int) -> None:
        async with connected(port, key) as caller:
            while True:
                began = monotonic()
                for tool in ("steady__echo", "web__echo"):
                    text = f"{number} {self.answered[tool]}"
                    answer = await caller.ask("tools/call", {"name": tool, "arguments": {"text": text}})
                    result = answer.get("result", {})
                    if result.get("isError") or text not in json.dumps(result.get("content")):
                        self.wrong.append(answer)
                    self.answered[tool] += 1
                await asyncio.sleep(max(0.0, 2 * EACH_S - (monotonic() - began)))

    @asynccontextmanager
    async def on(self, hub: LiveHub) -> AsyncIterator[None]:
        keys = [await hub.key(f"key-{n}") for n in range(CALLERS)]
        calling = [asyncio.create_task(self.call(hub.port, key, n)) for n, key in enumerate(keys)]
        try:
            yield
            ended = [task for task in calling if task.done()]
            assert ended == []
        finally:
            for task in calling:
                task.cancel()
            await asyncio.gather(*calling, return_exceptions=True)


class Admin:
    """Random acts, and what must be true right after each."""

    def __init__(self, hub: LiveHub, dice: Random, file: dict[str, Any], url: str) -> None:
        self.hub, self.dice, self.file, self.url = hub, dice, file, url
        self.there: dict[str, bool] = {}  # registered servers: whether they are enabled
        self.done: Counter[str] = Counter()

    async def act(self) -> None:
        id = f"s{self.dice.randrange(5)}"
        acts = ("change", "switch", "remove", "reload", "endpoint") if id in self.there else ("add", "reload")
        name = self.dice.choice(acts)
        await getattr(self, name)(id)
        self.done[name] += 1

    def entry(self) -> dict[str, Any]:
        pins = {"pins": "off"}  # one id is another program each time: that it may be is the admin's word here
        if self.dice.random() < 0.5:
            return {"url": f"{self.url}?n={self.dice.randrange(1000)}", **pins}
        mode = "modern" if self.dice.random() < 0.5 else "legacy"
        return {**child(mode), "env": {"N": str(self.dice.random())}, **pins}

    async def add(self, id: str) -> None:
        await self.hub.live.put_server(id, self.entry(), "ann", None)
        self.there[id] = True

    async def change(self, id: str) -> None:
        row = self.hub.live.row("server", id)
        assert row is not None
        await self.hub.live.put_server(id, self.entry(), "ann", row.version)
        self.there[id] = True

    async def switch(self, id: str) -> None:
        self.there[id] = not self.there[id]
        await self.hub.live.set_enabled(id, self.there[id], "ann")

    async def remove(self, id: str) -> None:
        row = self.hub.live.row("server", id)
        assert row is not None
        await self.hub.live.remove_server(id, "ann", row.version)
        del self.there[id]

    async def endpoint(self, id: str) -> None:
        row = await self.hub.live.put_endpoint("team", {"servers": [id], "prefix": "none"}, "ann", None)
        with pytest.raises(ConfigError, match="change or remove that first"):
            await self.remove(id)
        await self.hub.live.remove_endpoint("team", "ann", row.version)

    async def reload(self, id: str) -> None:
        broken = self.dice.random() < 0.3
        servers = {**self.file["mcpServers"], "extra": {"url": f"{self.url}?f={self.dice.randrange(9)}"}}
        self.hub.write({**self.file, "mcpServers": servers, **({"nonsense": 1} if broken else {})})
        done = await self.hub.live.reload("ann")
        assert bool(done.faults) is broken

    async def check(self, steady: list[str]) -> None:
        """Untouched names stand as they were; of the others, those that are enabled at most."""
        names = await self.hub.names()
        assert [name for name in names if name.startswith(("steady__", "web__"))] == steady
        on = {id for id, enabled in self.there.items() if enabled}
        assert {name.partition("__")[0] for name in names} <= {"steady", "web", "extra"} | on


async def test_two_hundred_changes_under_load_fail_no_call_and_leave_nothing_behind(tmp_path: Path) -> None:
    dice, load = Random(20), Load()
    async with downstream() as url:
        file = {"mcpServers": {"steady": child(), "web": {"url": url}}}
        async with live_hub(tmp_path, file, watch_s=30) as hub:
            await until(lists(hub, "steady__echo", "web__echo"), "the two servers are listed")
            steady = [name for name in await hub.names()]
            links = [hub.parts.pool.link(id) for id in ("steady", "web")]
            await hub.names()
            await asyncio.sleep(0.2)
            before = (descendants(), descriptors(), len(asyncio.all_tasks()))
            admin = Admin(hub, dice, file, url)
            async with load.on(hub):
                for _ in range(OPERATIONS):
                    await admin.act()
                    await admin.check(steady)
                for id, enabled in admin.there.items():
                    await until(lambda id=id, on=enabled: not on or ready(hub, id)(), f"{id} is up")  # type: ignore[misc]
                on = [id for id, enabled in admin.there.items() if enabled]
                await until(lists(hub, *(f"{id}__echo" for id in on)), "all that is enabled is listed")
                await until(lambda: min(load.answered.values(), default=0) > 100, "the load is heard all along")
                for id in list(admin.there):
                    await admin.remove(id)
                hub.write(file)
                await hub.live.reload("ann")
            assert load.wrong == []
            assert len(load.answered) == 2
            assert sum(admin.done.values()) == OPERATIONS
            assert set(admin.done) == {"add", "change", "switch", "remove", "reload", "endpoint"}
            assert [hub.parts.pool.link(id) for id in ("steady", "web")] == links
            assert await hub.names() == steady
            await until(lambda: descendants() == before[0], "no process is left")
            await until(lambda: descriptors() <= before[1], "no descriptor is left")
            await until(lambda: len(asyncio.all_tasks()) <= before[2], "no task is left")


async def test_a_call_that_is_under_way_is_answered_by_the_server_it_was_made_to(tmp_path: Path) -> None:
    async with (
        live_hub(tmp_path, {"mcpServers": {"a": child()}}) as hub,
        connected(hub.port, await hub.key("k")) as one,
    ):
        await until(lists(hub, "a__slow"), "a is listed")
        for change in ({}, {"a": {**child(), "enabled": False}}, {"a": child("legacy", "other")}):
            hub.write({"mcpServers": {"a": child()}})
            await hub.live.reload("ann")
            await until(ready(hub, "a"), "a is up")
            calling = asyncio.create_task(one.ask("tools/call", {"name": "a__slow", "arguments": {"ms": 700}}))
            await asyncio.sleep(0.2)
            hub.write({"mcpServers": change})
            await hub.live.reload("ann")
            assert not calling.done()
            answer = await calling
            assert answer["result"].get("isError") is not True, answer


async def test_an_edit_of_the_file_is_in_force_by_itself_and_a_broken_one_is_told(tmp_path: Path) -> None:
    async with live_hub(tmp_path, {"mcpServers": {"a": child()}}) as hub:
        await until(lists(hub, "a__echo"), "a is listed")
        kept = hub.parts.pool.link("a")
        hub.write({"mcpServers": {"a": child(), "b": child()}, "endpoints": {"/team/mcp": {"servers": ["b"]}}})
        await until(lists(hub, "a__echo", "b__echo"), "b is listed")
        assert {name.partition("__")[0] for name in await hub.names("team")} == {"b"}
        hub.path.write_text('{"mcpServers": {"a": \n')
        async with connected(hub.port, ADMIN) as admin:
            await until(lambda: bool(hub.live.status()["config_faults"]), "the fault is noticed")
            status = await admin.send("GET", "/api/v1/status")
            assert status["config_faults"][0]["line"] == 2
            assert set(await hub.names()) >= {"a__echo", "b__echo"}
            entries = (await admin.send("GET", "/api/v1/audit?limit=50"))["entries"]
            reloads = [e for e in entries if (e.get("detail") or {}).get("act") == "config.reload"]
            assert [(e["kind"], e["outcome"]) for e in reloads] == [("system", "done"), ("system", "error")]
            hub.write({"mcpServers": {"a": child()}})
            await until(lacks(hub, "b__echo"), "b is gone")
            await until(lambda: hub.live.status()["config_faults"] == [], "the fault is over")
        assert hub.parts.pool.link("a") is kept


async def test_a_hangup_reads_the_file_anew(tmp_path: Path) -> None:
    async with live_hub(tmp_path, {"mcpServers": {"a": child()}}, watch_s=30) as hub:
        hub.write({"mcpServers": {"a": child(), "b": child()}, "allowed_hosts": ["hub.example.com"]})
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lists(hub, "b__echo"), "b is listed")
        assert "hub.example.com" in hub.parts.current.config.allowed_hosts


async def test_what_was_registered_is_there_after_a_restart_under_the_same_names(tmp_path: Path) -> None:
    file = {"mcpServers": {"a": child(), "b": child()}}
    async with live_hub(tmp_path, file) as hub:
        await hub.live.put_server("own", child(), "ann", None)
        await hub.live.put_endpoint("team", {"servers": ["own"]}, "ann", None)
        await hub.live.set_enabled("b", False, "ann")
        await until(lists(hub, "a__echo", "own__echo"), "all are listed")
        before = await hub.names()
    async with live_hub(tmp_path, file) as hub:
        await until(lists(hub, "a__echo", "own__echo"), "all are listed")
        assert await hub.names() == before
        assert {name.partition("__")[0] for name in await hub.names("team")} == {"own"}


async def test_a_flapping_server_comes_back_by_itself_and_adding_others_moves_no_name(tmp_path: Path) -> None:
    async with (
        live_hub(tmp_path, {"mcpServers": {"a": child()}}) as hub,
        connected(hub.port, await hub.key("k")) as one,
    ):
        await until(lists(hub, "a__echo"), "a is listed")
        names = await hub.names()
        for round in range(3):
            await one.ask("tools/call", {"name": "a__die", "arguments": {}})
            await hub.live.put_server(f"b{round}", child(), "ann", None)
            assert [name for name in await hub.names() if name.startswith("a__")] == names
            await until(ready(hub, "a"), "a is back", 20)
        answer = await one.ask("tools/call", {"name": "a__echo", "arguments": {"text": "on"}})
        assert answer["result"].get("isError") is not True
