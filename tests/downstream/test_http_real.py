"""Links against the SDK's own servers: modern, legacy with and without sessions, and HTTP+SSE."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import Lost, NeedsLogin, Refused
from hub.downstream.http import HttpOpener
from hub.downstream.link import Link
from hub.downstream.sse import open_sse
from hub.wire import jsonrpc
from tests.downstream.raw_http import Heard, exchange, spec

SERVERS = Path(__file__).parent / "servers" / "real_http.py"
KINDS = ("modern", "modern-json", "legacy", "legacy-json", "legacy-stateless", "sse")
BIG = 2**70


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[str, str]]:
    """By kind of server."""
    with subprocess.Popen([sys.executable, str(SERVERS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        ports: dict[str, int] = jsonrpc.loads(process.stdout.readline())
        try:
            yield {kind: f"http://127.0.0.1:{port}/mcp" for kind, port in ports.items()}
        finally:
            process.kill()


async def link_to(url: str, kind: str, heard: Heard) -> Link:
    if kind == "sse":
        return await open_sse(spec(url), heard.events())
    era = "legacy" if kind.startswith("legacy") else "auto"
    return await HttpOpener()(spec(url, era=era), heard.events())


async def call(link: Link, name: str, **arguments: Any) -> Json:
    return await link.request("tools/call", {"name": name, "arguments": arguments}, exchange())


async def seen(link: Link) -> list[str]:
    """What happened inside the server since the last time."""
    told: list[str] = (await call(link, "seen"))["structuredContent"]["seen"]
    return told


async def seen_until(link: Link, word: str) -> None:
    async with asyncio.timeout(5):
        while word not in await seen(link):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_lists_and_calls_arrive_whole(urls: Mapping[str, str], kind: str) -> None:
    heard = Heard()
    link = await link_to(urls[kind], kind, heard)
    assert link.peer.era == ("modern" if kind.startswith("modern") else "legacy")
    assert (link.peer.info["name"], link.peer.info["version"]) == ("real", "9")
    assert link.peer.instructions == "handle with care"
    assert "tools" in link.peer.capabilities
    tools = await link.request("tools/list", {}, exchange())
    assert [tool["name"] for tool in tools["tools"]][:2] == ["echo", "slow"]
    for _ in range(3):
        got = await call(link, "echo", n=BIG, s="é\U0001f600")
        assert got["structuredContent"] == {"got": {"n": BIG, "s": "é\U0001f600"}, "big": BIG}
    assert (await call(link, "fail"))["isError"] is True
    with pytest.raises(Refused):
        await link.request("prompts/list", {}, exchange())
    await link.aclose()
    assert (heard.closed, heard.noise) == ([], [])


@pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])
async def test_progress_and_logs_cross(urls: Mapping[str, str], kind: str) -> None:
    link = await link_to(urls[kind], kind, Heard())
    await seen(link)
    told: list[tuple[str, Json]] = []
    ex = exchange(notice=lambda method, params: told.append((method, params)), log_level="info")
    await link.request("tools/call", {"name": "slow", "arguments": {}}, ex)
    progress = [params for method, params in told if method == "notifications/progress"]
    assert [(p["progress"], p["total"], p["message"]) for p in progress] == [(n, 3, f"step {n}") for n in (1, 2, 3)]
    logs = [params for method, params in told if method == "notifications/message"]
    assert [(p["level"], p["data"]) for p in logs] == [("warning", "careful")]
    assert await seen(link) == ([] if kind == "modern" else ["level info"])
    await link.aclose()


@pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])
async def test_cancelling_reaches_the_server(urls: Mapping[str, str], kind: str) -> None:
    link = await link_to(urls[kind], kind, Heard())
    task = asyncio.create_task(call(link, "hang"))
    await seen_until(link, "hanging")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen_until(link, "cancelled")
    await link.aclose()


@pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])
async def test_list_changes_are_heard(urls: Mapping[str, str], kind: str) -> None:
    heard = Heard()
    link = await link_to(urls[kind], kind, heard)
    await call(link, "poke")
    async with asyncio.timeout(5):
        while ("notifications/tools/list_changed", {}) not in heard.notified:
            await asyncio.sleep(0.01)
    await link.aclose()


async def test_what_a_legacy_server_asks_is_answered_in_mid_call(urls: Mapping[str, str]) -> None:
    link = await link_to(urls["legacy"], "legacy", Heard())
    await seen(link)
    await call(link, "ask")
    pong, refused = await seen(link)
    assert pong == "pong"
    assert refused.startswith("refused")
    await link.aclose()


async def test_session_that_the_server_forgot_ends_the_link_and_a_new_one_works(urls: Mapping[str, str]) -> None:
    heard = Heard()
    link = await link_to(urls["legacy"], "legacy", heard)
    await call(link, "forget")
    with pytest.raises(Lost, match="session"):
        await call(link, "echo")
    assert (link.alive, len(heard.closed)) == (False, 1)
    await link.aclose()
    again = await link_to(urls["legacy"], "legacy", Heard())
    assert (await call(again, "echo"))["content"]
    await again.aclose()


async def test_goodbye_ends_the_session_on_the_server(urls: Mapping[str, str]) -> None:
    link, other = [await link_to(urls["legacy"], "legacy", Heard()) for _ in range(2)]
    before = (await call(other, "seen"))["structuredContent"]["sessions"]
    await link.aclose()
    assert (await call(other, "seen"))["structuredContent"]["sessions"] == before - 1
    await other.aclose()


async def test_sse_is_found_behind_a_plain_url(urls: Mapping[str, str]) -> None:
    link = await HttpOpener()(spec(urls["sse"]), Heard().events())
    assert (await link.request("tools/list", {}, exchange()))["tools"]
    await link.aclose()


async def test_server_behind_a_login_says_so(urls: Mapping[str, str]) -> None:
    with pytest.raises(NeedsLogin):
        await HttpOpener()(spec(urls["login"]), Heard().events())
    with pytest.raises(NeedsLogin):
        await open_sse(spec(urls["login"]), Heard().events())
