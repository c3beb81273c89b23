"""A client of the SDK that logs in by OAuth, of either generation: told what to do line by line, says JSON.

    python login_client.py URL modern|legacy|v1

`{"do": "use"}` lists the tools and calls one; `{"do": "expire"}` makes its own token old for it, so that the next use
refreshes. While it works it may say `{"open": URL}`: somebody has to go there. Imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOOL = "echo__echo"
LIMIT_S = 60.0


class Kept:
    """What the client stores: in memory, with a count of how often it got tokens."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None
        self.stored = 0

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens
        self.stored += 1

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client: Any) -> None:
        self.client = client


class Denied(Exception):
    """The answer that came back was an error of OAuth."""


class Listener:
    """The loopback address that the answer comes to."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.url = ""

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        while (await reader.readline()).strip():
            continue
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nThanks")
        await writer.drain()
        writer.close()
        goal = urlsplit(line.split(" ")[1])
        if goal.path == "/callback":
            await self.answers.put(dict(parse_qsl(goal.query)))


class Caller:
    def __init__(self, url: str, kind: str, listener: Listener) -> None:
        self._url, self._kind, self._listener = url, kind, listener
        self.kept = Kept()
        auth = importlib.import_module("mcp.client.auth")
        shared = importlib.import_module("mcp.shared.auth")
        self._shared = shared
        about = shared.OAuthClientMetadata(
            client_name=f"a client of the SDK ({kind})",
            redirect_uris=[listener.url],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        )
        self.provider = auth.OAuthClientProvider(
            server_url=url,
            client_metadata=about,
            storage=self.kept,
            redirect_handler=self._open,
            callback_handler=self._answer,
        )

    async def _open(self, url: str) -> None:
        say({"open": url})

    async def _answer(self) -> Any:
        found = await self._listener.answers.get()
        if "error" in found:
            raise Denied(f"{found['error']}: {found.get('error_description', '')}")
        if self._kind == "v1":
            return found["code"], found["state"]
        return self._shared.AuthorizationCodeResult(**found)

    async def use(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            client, tools = await self._connected(stack)
            called = await client.call_tool(TOOL, {"text": "said by a person"})
        kept = self.kept
        tokens = {"access": kept.tokens.access_token, "refresh": kept.tokens.refresh_token}
        names = [tool.name for tool in tools]
        return {"tools": names, "called": called.content[0].text, "stored": kept.stored, "tokens": tokens}

    async def _connected(self, stack: AsyncExitStack) -> tuple[Any, Any]:
        http = importlib.import_module("mcp.client.streamable_http")
        mcp = importlib.import_module("mcp")
        if self._kind == "v1":
            streams = await stack.enter_async_context(http.streamablehttp_client(self._url, auth=self.provider))
            session = await stack.enter_async_context(mcp.ClientSession(*streams[:2]))
            await session.initialize()
            return session, (await session.list_tools()).tools
        made = importlib.import_module("mcp.shared._httpx_utils").create_mcp_http_client(auth=self.provider)
        transport = http.streamable_http_client(self._url, http_client=await stack.enter_async_context(made))
        mode = "2026-07-28" if self._kind == "modern" else "legacy"
        client = await stack.enter_async_context(mcp.Client(transport, mode=mode))
        return client, (await client.list_tools()).tools

    def expire(self) -> None:
        self.provider.context.token_expiry_time = time.time() - 1


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def causes(exc: BaseException) -> list[str]:
    """Every failure in a group, and what each came from."""
    inner = list(exc.exceptions) if isinstance(exc, BaseExceptionGroup) else []
    found = [f"{type(exc).__name__}: {exc}"] if not inner else []
    for one in (*inner, *(cause for cause in (exc.__cause__, exc.__context__) if cause is not None)):
        found += causes(one)
    return found


async def main(url: str, kind: str) -> None:
    listener = Listener()
    server = await listener.open()
    caller = Caller(url, kind, listener)
    async with server:
        while line := await asyncio.to_thread(sys.stdin.readline):
            do = json.loads(line)["do"]
            if do == "expire":
                caller.expire()
                say({"done": True})
                continue
            try:
                async with asyncio.timeout(LIMIT_S):
                    say({"done": await caller.use()})
            except Exception as exc:
                say({"failed": causes(exc)})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
