"""Stands in for a hub that is killed: starts a stdio server with offspring, prints their pids, and waits."""

import asyncio
import json
import os
import sys
from math import inf

from hub.downstream.link import Exchange, LinkEvents, ServerSpec
from hub.downstream.stdio import StdioOpener


async def main() -> None:
    opener = StdioOpener(dict(os.environ))
    spec = ServerSpec("raw", "stdio", command=(sys.executable, "-I", "-S", sys.argv[1], "stubborn"))
    link = await opener(spec, LinkEvents(lambda method, params: None, lambda reason: None))
    pids = []
    for name in ("pid", "grandchild", "daemon"):
        answer = await link.request("tools/call", {"name": name}, Exchange(5, inf, 10_000))
        pids.append(answer["structuredContent"]["pid"])
    print(json.dumps([*pids, opener._guard.pid]), flush=True)
    await asyncio.sleep(60)


asyncio.run(main())
