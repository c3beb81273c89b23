"""Real servers that are killed and come back: still listed, refused in words meanwhile, and answering again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from mcp import Client

from tests.e2e.lacking import need_real_servers
from tests.e2e.real import (
    Hub,
    answers_on,
    ask,
    clean_environment,
    every,
    free_port,
    hub_over,
    node,
    process,
    wait_until,
)

pytestmark = pytest.mark.e2e

DOWN = {"downstream_down", "downstream_lost"}


class Web:
    """The everything server over Streamable HTTP, which can be killed and started again on its port."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack, self.port = folder, stack, free_port()
        self.child = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        started, log = node("everything", "streamableHttp"), self._folder / "web.log"
        env = clean_environment(self._folder) | {"PORT": str(self.port)}
        self.child = self._stack.enter_context(process([started["command"], *started["args"]], log, env=env))
        wait_until(answers_on(self.child, self.port, log), "everything over HTTP")
        return self.child

    def kill(self) -> None:
        self.child.kill()
        self.child.wait(10)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    need_real_servers()
    with ExitStack() as stack:
        yield Web(tmp_path, stack)


@pytest.fixture
def hub(tmp_path: Path, web: Web) -> Iterator[Hub]:
    servers = {"web": {"url": f"http://127.0.0.1:{web.port}/mcp"}, "child": node("everything")}
    with hub_over(tmp_path / "hub", servers) as made:
        yield made


async def echo(client: Client, id: str) -> str:
    """The text of an echo, or the code of the hub's refusal."""
    answer = await ask(client, "tools/call", {"name": f"{id}__echo", "arguments": {"message": "on"}})
    code: str | None = answer.get("_meta", {}).get("io.mcp-hub/code")
    text: str = answer["content"][0]["text"]
    return code or text


async def answers_again(client: Client, id: str) -> None:
    with anyio.fail_after(30):
        while (said := await echo(client, id)) != "Echo: on":
            assert said in DOWN
            await anyio.sleep(0.1)


def children_of(pid: int) -> list[int]:
    """All descendants, by /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, wave = list[int](), [pid]
    while wave:
        wave = [child for child, parent in parents.items() if parent in wave]
        found += wave
    return found


async def test_a_server_that_went_away_stays_listed_and_answers_when_it_is_back(hub: Hub, web: Web) -> None:
    async with hub.client("modern") as client:
        listed = await every(client, "tools/list", "tools")
        assert await echo(client, "web") == "Echo: on"
        web.kill()
        assert await echo(client, "web") in DOWN
        assert await every(client, "tools/list", "tools") == listed
        assert await echo(client, "child") == "Echo: on"
        await anyio.to_thread.run_sync(web.start)
        await answers_again(client, "web")


async def test_a_server_that_lost_its_sessions_gets_a_new_one(hub: Hub, web: Web) -> None:
    async with hub.client("legacy") as client:
        assert await echo(client, "web") == "Echo: on"
        web.kill()
        await anyio.to_thread.run_sync(web.start)
        await answers_again(client, "web")


async def test_a_child_that_was_killed_is_started_again(hub: Hub) -> None:
    assert hub.child is not None
    async with hub.client("stdio") as client:
        assert await echo(client, "child") == "Echo: on"
        (child,) = (pid for pid in children_of(hub.child.pid) if b"server-everything" in cmdline(pid))
        os.kill(child, signal.SIGKILL)
        await answers_again(client, "child")
        assert await echo(client, "web") == "Echo: on"


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
