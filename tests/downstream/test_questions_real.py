"""Questions of a real modern server over each kind of link: asked whole, answered exactly, capabilities per request."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import Refused
from hub.downstream.http import HttpOpener
from hub.downstream.inprocess import InprocessOpener
from hub.downstream.link import Link, ServerSpec
from hub.downstream.stdio import StdioOpener
from tests.downstream.heard import Heard, exchange
from tests.downstream.servers import asking
from tests.downstream.servers.asking import STATE

SERVER = str(Path(asking.__file__))
CAN: Json = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}, "context": {}}, "roots": {}}
ADA = {"action": "accept", "content": {"name": "Ada"}}


@asynccontextmanager
async def linked(transport: Any) -> AsyncIterator[Link]:
    events = Heard().events
    if transport == "inprocess":
        opened: Link = await InprocessOpener({"ask": asking.build})(ServerSpec("s", transport, connector="ask"), events)
        yield opened
        await opened.aclose()
    elif transport == "stdio":
        opener = StdioOpener(dict(os.environ))
        opened = await opener(ServerSpec("s", "stdio", command=(sys.executable, SERVER)), events)
        yield opened
        await opened.aclose()
        await opener.aclose()
    else:
        command = [sys.executable, SERVER, "http"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
            opened = await HttpOpener()(ServerSpec("s", "http", url=url), events)
            yield opened
            await opened.aclose()
            process.kill()


async def ask(link: Link, name: str, capabilities: Json = CAN, **more: Any) -> Json:
    given = exchange()
    given.capabilities = capabilities
    return await link.request("tools/call", {"name": name, "arguments": {}, **more}, given)


@pytest.mark.parametrize("transport", ["http", "stdio", "inprocess"])
async def test_a_real_server_asks_is_answered_and_knows_what_the_client_can(transport: str) -> None:
    asking.seen.clear()
    async with linked(transport) as link:
        assert link.peer.era == "modern"
        first = await ask(link, "steps")
        assert (first["resultType"], first["requestState"]) == ("input_required", STATE)
        assert first["inputRequests"]["one"]["params"]["message"] == "one?"
        second = await ask(link, "steps", inputResponses={"one": ADA}, requestState=STATE)
        assert second["requestState"] == STATE + "2"
        done = await ask(link, "steps", inputResponses={"two": ADA}, requestState=STATE + "2")
        assert done["structuredContent"]["got"] == {"two": ADA}
        await ask(link, "form", {"elicitation": {}})
        await ask(link, "form", {})
        with pytest.raises(Refused) as refused:
            await ask(link, "lacking")
        assert refused.value.error["code"] == -32021
        assert refused.value.error["data"] == {"requiredCapabilities": {"sampling": {}}}
        seen = (await ask(link, "seen"))["structuredContent"]["got"]
        assert [call["declared"] for call in seen] == [CAN, CAN, CAN, {"elicitation": {}}, {}, CAN]
        assert [call["state"] for call in seen] == [None, STATE, STATE + "2", None, None, None]
        prompt = await link.request("prompts/get", {"name": "ask"}, exchange())
        assert prompt["resultType"] == "input_required"
        read = await link.request("resources/read", {"uri": "doc://ask"}, exchange())
        assert read["requestState"] == STATE
