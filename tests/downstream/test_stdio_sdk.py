"""The SDK's server as a real peer of both eras over stdio."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Literal

import pytest

from hub.core.errors import Late
from hub.downstream.link import ServerSpec
from hub.downstream.stdio import StdioOpener
from tests.downstream.heard import Heard, exchange

SDK = str(Path(__file__).parent / "servers" / "sdk.py")


@pytest.mark.parametrize(("pin", "era"), [("auto", "modern"), ("legacy", "legacy")])
async def test_sdk_server_lists_calls_reports_and_is_cancelled(
    pin: Literal["auto", "legacy"], era: Literal["modern", "legacy"]
) -> None:
    opener, heard = StdioOpener(dict(os.environ)), Heard()
    spec = ServerSpec("sdk", "stdio", command=(sys.executable, SDK), era=pin)
    link = await opener(spec, heard.events)
    assert link.peer.era == era
    assert link.peer.info["name"] == "sdk"
    listed = await link.request("tools/list", {}, exchange())
    assert [tool["name"] for tool in listed["tools"]] == ["add", "hang"]
    with pytest.raises(Late):
        await link.request("tools/call", {"name": "hang"}, exchange(0.05))
    given = exchange(heard=heard, log_level="info")
    calls = [
        asyncio.create_task(link.request("tools/call", {"name": "add", "arguments": {"a": n, "b": 2**60}}, exchange()))
        for n in range(20)
    ]
    assert [r["structuredContent"]["sum"] for r in await asyncio.gather(*calls)] == [2**60 + n for n in range(20)]
    result = await link.request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, given)
    assert result["structuredContent"] == {"sum": 3, "cancelled": 1}
    methods = [method for method, _ in heard.notices]
    assert methods.count("notifications/progress") == 1
    # in the older era nobody can say whether the call that was given up is what the server logs about
    assert ("notifications/message" in methods) is (era == "modern")
    assert heard.noise["foreign"] == heard.noise["garbage"] == 0
    await link.aclose()
    await opener.aclose()
