"""A client of the SDK at a hub, of either generation: told what to do line by line, says JSON.

    python calling.py URL TOKEN modern|legacy|v1

Line in: `{"do": "tools"}`, `{"do": "call", "name": NAME}`. While it works it may say `{"open": URL}` and then waits for
a line: somebody goes there meanwhile. `modern` is asked by the protocol itself and goes on with its call; `legacy`
(2025-11-25) gets the error -32042 and calls again; `v1` is the SDK before 2.0 without a way to be asked, and finds the
address in what it reads. Every kind keeps one connection. Imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from contextlib import AsyncExitStack
from typing import Any

LIMIT_S = 60.0
LOGINS = 3  # of one call
REQUIRED = -32042
ADDRESS = re.compile(r"https?://\S+/oauth/connect\?c=[\w.~%-]+")


class Failed(Exception):
    """The hub said no; the text is what it said."""


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def heard() -> dict[str, Any]:
    line = await asyncio.to_thread(sys.stdin.readline)
    found: dict[str, Any] = json.loads(line) if line else {"do": "end"}
    return found


async def gone_to(url: str) -> None:
    say({"open": url})
    await heard()


class Caller:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.client: Any = None

    async def open(self, url: str, token: str, stack: AsyncExitStack) -> None:
        http = importlib.import_module("mcp.client.streamable_http")
        mcp = importlib.import_module("mcp")
        bearer = {"Authorization": f"Bearer {token}"}
        if self.kind == "v1":
            streams = await stack.enter_async_context(http.streamablehttp_client(url, headers=bearer))
            self.client = await stack.enter_async_context(mcp.ClientSession(*streams[:2]))
            await self.client.initialize()
            return
        made = importlib.import_module("mcp.shared._httpx_utils").create_mcp_http_client(headers=bearer)
        transport = http.streamable_http_client(url, http_client=await stack.enter_async_context(made))
        mode = "2026-07-28" if self.kind == "modern" else "legacy"
        client = mcp.Client(transport, mode=mode, elicitation_callback=self._elicit)
        self.client = await stack.enter_async_context(client)

    async def _elicit(self, context: Any, params: Any) -> Any:
        types = importlib.import_module("mcp_types")
        if params.mode != "url":
            return types.ElicitResult(action="decline")
        await gone_to(params.url)
        return types.ElicitResult(action="accept")

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        for _ in range(LOGINS):
            try:
                result = await self.client.call_tool(name, arguments)
            except Exception as exc:  # the error of either generation
                url = url_in(exc)
                if self.kind != "legacy" or url is None:
                    raise
                await gone_to(url)
                continue
            text = "\n".join(block.text for block in result.content)
            is_error = result.isError if self.kind == "v1" else result.is_error
            found = ADDRESS.search(text) if is_error and self.kind == "v1" else None
            if found is not None:
                await gone_to(found[0])
                continue
            if is_error:
                raise Failed(text)
            return text
        raise Failed(f"asked for a login {LOGINS} times")


def url_in(exc: Exception) -> str | None:
    error = getattr(exc, "error", None)
    if error is None or error.code != REQUIRED:
        return None
    return str(error.data["elicitations"][0]["url"])


async def main(url: str, token: str, kind: str) -> None:
    caller = Caller(kind)
    async with AsyncExitStack() as stack:
        await caller.open(url, token, stack)
        while (asked := await heard())["do"] != "end":
            try:
                async with asyncio.timeout(LIMIT_S):
                    if asked["do"] == "tools":
                        say({"done": await caller.tools()})
                    else:
                        say({"done": await caller.call(asked["name"], asked.get("arguments", {}))})
            except Exception as exc:
                say({"failed": [f"{type(exc).__name__}: {exc}"]})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
