"""One server started for a look: what it offers is told, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from connectors.sandbox.server import build
from hub.core.call import Json
from hub.core.errors import NeedsLogin
from hub.downstream.inprocess import InprocessOpener
from hub.downstream.link import Link, LinkEvents, ServerSpec, Timeouts
from hub.downstream.stdio import StdioOpener
from hub.downstream.trial import try_out
from tests.downstream.processes import children


async def test_what_a_server_offers_is_told_under_its_public_names() -> None:
    spec = ServerSpec("box", "inprocess", connector="sandbox", enabled=False)
    tried = await try_out(spec, {"inprocess": InprocessOpener({"sandbox": build})}, lambda server: ())
    assert (tried.health.state, tried.health.reason) == ("ready", "")
    assert tried.items("tool")
    assert all(item.name.startswith("box__") for item in tried.items("tool"))


async def test_a_program_that_ends_at_once_is_told_with_its_last_words_and_leaves_no_process() -> None:
    opener = StdioOpener({"PATH": "/usr/bin:/bin"})
    code = "import sys; sys.exit('no such key')"
    spec = ServerSpec("bad", "stdio", command=(sys.executable, "-c", code), timeouts=Timeouts(initialize_s=5))
    tried = await try_out(spec, {"stdio": opener}, opener.stderr)
    await opener.aclose()
    assert tried.health.state == "down"
    assert "no such key" in " ".join(tried.health.stderr)
    assert tried.items("tool") == ()
    assert children(os.getpid()) == []


async def test_a_look_that_is_cut_short_leaves_no_process() -> None:
    opener = StdioOpener({"PATH": "/usr/bin:/bin"})
    spec = ServerSpec("slow", "stdio", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    task = asyncio.create_task(try_out(spec, {"stdio": opener}, opener.stderr))
    async with asyncio.timeout(5):
        while not children(os.getpid()):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await opener.aclose()
    assert children(os.getpid()) == []


async def test_a_server_that_wants_a_login_is_told_so() -> None:
    async def refuse(spec: ServerSpec, events: LinkEvents) -> Link:
        raise NeedsLogin(spec.id, "401")

    tried = await try_out(ServerSpec("wiki", "http", url="https://a"), {"http": refuse}, lambda server: ())
    assert (tried.health.state, tried.health.reason) == ("needs_login", "401")


async def test_a_server_that_connects_and_lists_garbage_is_down() -> None:
    class Garbage:
        def __init__(self, link: Link) -> None:
            self._link, self.peer, self.alive = link, link.peer, True
            self.notify, self.aclose = link.notify, link.aclose

        async def request(self, method: str, params: Json, exchange: object) -> Json:
            return {"tools": "none"}

    inner = InprocessOpener({"sandbox": build})

    async def opened(spec: ServerSpec, events: LinkEvents) -> Link:
        return Garbage(await inner(spec, events))

    spec = ServerSpec("box", "inprocess", connector="sandbox")
    tried = await try_out(spec, {"inprocess": opened}, lambda server: ())
    assert (tried.health.state, tried.items("tool")) == ("down", ())
    assert "has no list" in tried.health.reason
