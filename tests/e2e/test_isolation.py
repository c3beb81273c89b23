"""One server that hangs, dies or floods costs only its own items: every other answers as if it were not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp import Client

from tests.e2e.real import Hub, Json, answers_on, ask, every, free_port, hub_over, process, wait_until

ROTTEN: Final = Path(__file__).parent / "servers" / "rotten.py"
CALL_S: Final = 3.0
AT_START: Final = ("silent", "exits", "garbage")
IN_CALLS: Final = {  # what the caller reads of it
    "hangs__rot": {"downstream_late"},
    "dies__rot": {"downstream_lost", "downstream_down"},
    "floods__rot": {"downstream_late", "downstream_lost"},
    "endless__rot": {"too_large", "downstream_late", "downstream_lost", "downstream_garbled"},
    "web__hangs": {"downstream_late"},
    "web__dies": {"downstream_lost"},
    "web__floods": {"downstream_late", "too_large"},
}
AT_ONCE: Final = 8


def stdio(way: str) -> Json:
    return {"command": sys.executable, "args": [str(ROTTEN), "stdio", way], "timeouts": {"call": CALL_S, "hard": 5}}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("isolation")
    servers: dict[str, Any] = {way: stdio(way) for way in (*AT_START, "hangs", "dies", "floods", "endless", "noisy")}
    servers["sandbox"] = {"connector": "sandbox"}
    servers["well"] = stdio("well")
    with ExitStack() as stack:
        port, log = free_port(), folder / "web.log"
        child = stack.enter_context(process([sys.executable, str(ROTTEN), "http", str(port)], log))
        wait_until(answers_on(child, port, log), "the HTTP server")
        url = f"http://127.0.0.1:{port}/mcp"
        servers["web"] = {"url": url, "timeouts": {"call": CALL_S, "hard": 5}}
        made = stack.enter_context(
            hub_over(folder / "hub", servers, limits={"per_caller": {"per_minute": 1_000_000, "burst": 100_000}})
        )
        yield made


async def good_answers(client: Client) -> None:
    customer = {"name": "sandbox__query_customer_data", "arguments": {"customer_id": "C-1001"}}
    for _ in range(10):
        found = await ask(client, "tools/call", customer)
        assert found["structuredContent"]["customer"]["customer_id"] == "C-1001"
        well = await ask(client, "tools/call", {"name": "well__rot", "arguments": {}})
        assert well == {"content": [{"type": "text", "text": "well"}]}


async def listed(client: Client) -> set[str]:
    return {tool["name"] for tool in await every(client, "tools/list", "tools")}


async def test_servers_that_never_start_cost_only_their_own_items(hub: Hub) -> None:
    async with hub.client("modern") as client:
        tools = await listed(client)
        assert {name.split("__")[0] for name in tools}.isdisjoint(AT_START)
        assert tools >= {*IN_CALLS, "well__rot", "noisy__rot", "sandbox__query_customer_data"}
        await good_answers(client)


@pytest.mark.parametrize("tool", IN_CALLS)
async def test_a_server_that_rots_in_a_call_costs_only_its_own_calls(hub: Hub, tool: str) -> None:
    told: list[Json] = []

    async def rot(client: Client) -> None:
        told.append(await ask(client, "tools/call", {"name": tool, "arguments": {}}))

    async with hub.client("modern") as client:
        before = await listed(client)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(rot, client)
                await good_answers(client)
                assert {name for name in await listed(client) if name != tool} == before - {tool}
        assert len(told) == AT_ONCE
        for answer in told:
            assert answer["isError"] is True
            assert answer["_meta"]["io.mcp-hub/code"] in IN_CALLS[tool], answer
        await good_answers(client)


async def test_a_server_that_floods_its_stderr_is_read_on(hub: Hub) -> None:
    async with hub.client("modern") as client:
        for _ in range(2):
            answer = await ask(client, "tools/call", {"name": "noisy__rot", "arguments": {}})
            assert answer == {"content": [{"type": "text", "text": "well"}]}


async def test_a_server_that_died_is_started_again_and_answers(hub: Hub) -> None:
    async with hub.client("modern") as client:
        await ask(client, "tools/call", {"name": "dies__rot", "arguments": {}})
        with anyio.fail_after(20):
            while True:  # it dies in every call: that one is lost, not refused, shows that it was up again
                answer = await ask(client, "tools/call", {"name": "dies__rot", "arguments": {}})
                if answer["_meta"]["io.mcp-hub/code"] == "downstream_lost":
                    break
                await anyio.sleep(0.1)
