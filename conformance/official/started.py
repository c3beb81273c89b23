"""What the suite is pointed at: a reference server, or a hub that has one behind an endpoint without prefix."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from conformance.official.bearer import bearer_door
from tests.equipment import OLD_CLIENT, ROOT

REFERENCES: Final[Mapping[str, tuple[str, str]]] = {
    "modern": (sys.executable, "conformance.servers.reference_modern"),
    "legacy": (str(OLD_CLIENT.python), "conformance.servers.reference_legacy"),
}
"""The reference servers: which Python runs which module."""

STOP_S: Final = 15.0
READY_S: Final = 60.0
_ENDPOINT: Final = "/suite/mcp"


@contextmanager
def process(command: list[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[tuple[Any, str]]:
    """A child and its first line; ended, and its log named when it has nothing to say."""
    with log.open("wb") as err:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=err, text=True, env=env)
    try:
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{' '.join(command)} ended without a word:\n{log.read_text()[-3000:]}")
        yield child, line
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert child.stdout is not None
        child.stdout.close()


@contextmanager
def reference(name: str, folder: Path) -> Iterator[str]:
    """The address of a running reference server."""
    python, module = REFERENCES[name]
    command = [python, "-m", module, "--port", "0"]
    with process(command, folder / f"reference-{name}.log") as (_, port):
        yield f"http://127.0.0.1:{port}/mcp"


@contextmanager
def hub(servers: Mapping[str, Any], folder: Path, **more: Any) -> Iterator[tuple[int, str]]:
    """The port of a hub with these servers, and a token that it takes."""
    home = folder / "hub"
    home.mkdir()
    config = {"listen": "127.0.0.1:0", "data_dir": str(home / "data"), "mcpServers": dict(servers), **more}
    path = home / "hub.json"
    path.write_text(json.dumps(config))
    token = secrets.token_urlsafe(32)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "MCP_HUB_TOKEN": token, "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "hub.cli.main", "serve", "--config", str(path)]
    with process(command, home / "hub.log", env):
        run = json.loads((home / "data" / "run.json").read_text())
        yield run["port"], token


@contextmanager
def door(port: int, token: str) -> Iterator[int]:
    """The port of a door that adds the token, served by a thread of its own."""
    opened: list[int] = []
    ready, close = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with bearer_door(port, token) as found:
            opened.append(found)
            ready.set()
            await close.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        if not ready.wait(STOP_S):
            raise RuntimeError("the door with the token did not open")
        yield opened[0]
    finally:
        loop.call_soon_threadsafe(close.set)
        thread.join(STOP_S)
        loop.close()


@contextmanager
def hub_before(name: str, folder: Path) -> Iterator[str]:
    """The address of an endpoint without prefix, through the door, with one reference server behind."""
    endpoints = {_ENDPOINT: {"servers": ["reference"], "prefix": "none"}}
    with (
        reference(name, folder) as url,
        hub({"reference": {"url": url}}, folder, endpoints=endpoints) as (port, token),
        door(port, token) as opened,
    ):
        yield f"http://127.0.0.1:{opened}{_ENDPOINT}"


@contextmanager
def hub_before_both(folder: Path) -> Iterator[str]:
    """The address of the endpoint of everything, with both reference servers behind, named `modern` and `legacy`."""
    with (
        reference("modern", folder) as modern,
        reference("legacy", folder) as legacy,
        hub({"modern": {"url": modern}, "legacy": {"url": legacy}}, folder) as (port, token),
        door(port, token) as opened,
    ):
        yield f"http://127.0.0.1:{opened}/mcp"
