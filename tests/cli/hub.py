"""A hub as the command line meets it: a locked directory, `run.json`, the real admin API, and a scripted `/mcp`."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.admin.api import admin_app
from hub.core.call import Principal
from hub.running import DataDir, Run, listen_on
from tests.admin.fakes import Parts

SECRET = "local-secret-" + "s" * 32
ADMIN = Principal("local", "local:admin", "local:admin", frozenset({"admin", "audit:read"}))

Answer = tuple[str, bytes]  # content type, body


@dataclass
class FakeHub:
    data_dir: Path
    parts: Parts = field(default_factory=Parts)
    answer: Callable[[dict[str, Any]], Any] = lambda message: {}  # the result, an error, or a whole Answer
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)  # path, headers, message
    run: Run = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            await Response(status_code=401)(scope, receive, send)
        elif scope["path"].endswith("/mcp"):
            await (await self._mcp(request))(scope, receive, send)
        else:
            scope["state"] = {"principal": ADMIN}
            await self.admin(scope, receive, send)

    @property
    def admin(self) -> ASGIApp:
        return admin_app(self.parts.ports())

    async def _mcp(self, request: Request) -> Response:
        message = await request.json()
        self.seen.append((request.url.path, dict(request.headers), message))
        told = self.answer(message)
        if isinstance(told, tuple):
            return Response(told[1], headers={"content-type": told[0]})
        answer = {"jsonrpc": "2.0", "id": message["id"], **told}
        return Response(json.dumps(answer), headers={"content-type": "application/json"})


@contextmanager
def running(data_dir: Path, stdio_port: int = 0) -> Iterator[FakeHub]:
    """A fake hub that serves until the block ends."""
    hub = FakeHub(data_dir)
    sock = listen_on("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(hub, lifespan="off", log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    data = DataDir(data_dir)
    data.lock("a fake hub")
    hub.run = Run(os.getpid(), f"http://127.0.0.1:{port}/mcp", "127.0.0.1", port, stdio_port, SECRET, "1.2.3", "now")
    data.write_run(hub.run)
    try:
        end = time.monotonic() + 5
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        yield hub
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        sock.close()
        data.remove_run()
        data.unlock()


def stream(*messages: dict[str, Any]) -> Answer:
    """The messages as a `text/event-stream`."""
    body = b": awake\n\n" + b"".join(b"event: message\ndata: " + json.dumps(m).encode() + b"\n\n" for m in messages)
    return "text/event-stream; charset=utf-8", body
