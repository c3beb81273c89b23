"""Real servers that nobody here wrote, a hub of this checkout in front of them, and the SDK's client for both.

Owns the processes: whatever a test does, their groups end with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import anyio
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import Request
from pydantic import RootModel

from tests.equipment import GIT, ROOT, TIME, npm_server

Road = Literal["modern", "legacy", "sse", "stdio"]
ROADS: Final[tuple[Road, ...]] = ("modern", "legacy", "sse", "stdio")
MODES: Final[Mapping[Road, str]] = {"modern": "2026-07-28", "legacy": "legacy", "sse": "legacy", "stdio": "auto"}
TOKEN: Final = "client-token-of-the-end-to-end-tests-0123456789"
ADMIN_TOKEN: Final = "admin-token-of-the-end-to-end-tests-0123456789"
START_S: Final = 60.0  # two cores may be busy with other tests
STOP_S: Final = 15.0
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
EVERYTHING: Final = ("every-stdio", "every-http", "every-sse")

Json = dict[str, Any]
T = TypeVar("T")


class Raw(Request[dict[str, Any], str]):
    """Any request at all, its answer as it is on the wire: the SDK's models drop what they do not know."""

    method: str
    params: dict[str, Any]


class Whole(RootModel[dict[str, Any]]):
    """A result with everything in it."""


async def ask(client: Client, method: str, params: Json | None = None, **how: Any) -> Json:
    """The whole result of one request, as JSON, without the envelope of its era."""
    result = await client.session.send_request(Raw(method=method, params=params or {}), Whole, **how)
    return bare(result.root)


async def every(client: Client, method: str, key: str) -> list[Json]:
    """All pages of one list."""
    found: list[Json] = []
    cursor: Json = {}
    while True:
        page = await ask(client, method, cursor)
        found += page[key]
        if "nextCursor" not in page:
            return found
        cursor = {"cursor": page["nextCursor"]}


def bare(result: Json) -> Json:
    made = {key: value for key, value in result.items() if key not in ("resultType", "ttlMs", "cacheScope")}
    meta = {key: value for key, value in made.get("_meta", {}).items() if key != SERVER_INFO}
    return {**{key: value for key, value in made.items() if key != "_meta"}, **({"_meta": meta} if meta else {})}


def wait_until(look: Callable[[], T | None], what: str, timeout_s: float = START_S) -> T:
    """The first thing found by looking again and again."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {timeout_s:g} s")


async def until(look: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    with anyio.move_on_after(timeout_s):
        while not look():
            await anyio.sleep(0.02)
    assert look(), f"{what} did not happen within {timeout_s:g} s"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own settings: a hub that finds his would serve his servers."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


@contextmanager
def process(command: list[str], log: Path, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends with the block; what it says is in `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **how
        )
    try:
        yield child
    finally:
        end_group(child)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask, wait, kill; then kill what it left behind in its group."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait(STOP_S)


@dataclass(slots=True)
class Hub:
    """A hub of this checkout, in a process of its own, on a configuration of its own."""

    folder: Path
    servers: Mapping[str, Json]
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def config(self) -> Path:
        return self.folder / "hub.json"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "hub.log"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **clean_environment(self.folder),
            "MCP_HUB_TOKEN": TOKEN,
            "MCP_HUB_ADMIN_TOKEN": ADMIN_TOKEN,
            "PYTHONPATH": str(ROOT),
            **self.env,
        }

    def verb(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hub.cli.main", *words, "--config", str(self.config)]

    def start(self) -> None:
        """Start it and wait until it answers; raises AssertionError with its last words."""
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"listen": "127.0.0.1:0", "data_dir": str(self.data_dir), "mcpServers": self.servers, **self.settings}
        self.config.write_text(json.dumps(said))
        self.config.chmod(0o600)
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                self.verb("serve"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.folder,
                env=self.environment,
            )
        run = wait_until(self._run, "the start of the hub")
        self.url = run["url"].removesuffix("/mcp")

    def _run(self) -> Json | None:
        assert self.child is not None
        assert self.child.poll() is None, f"the hub ended: {self.log.read_text()[-2000:]}"
        try:
            run: Json = json.loads((self.data_dir / "run.json").read_text())
        except (OSError, ValueError):
            return None
        return run if run["pid"] == self.child.pid else None

    def kill(self) -> None:
        """As the kernel would when memory is short: no farewell."""
        assert self.child is not None
        self.child.kill()
        self.child.wait(STOP_S)

    def stop(self) -> int:
        assert self.child is not None
        end_group(self.child)
        return self.child.returncode

    def told(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a verb of the command line says."""
        return subprocess.run(
            self.verb(*words), capture_output=True, text=True, timeout=60, env=self.environment, cwd=self.folder
        )

    @asynccontextmanager
    async def client(self, road: Road, mode: str | None = None, **how: Any) -> AsyncIterator[Client]:
        """The SDK's client, connected over this road in this mode (the road's own by default)."""
        chosen = MODES[road] if mode is None else mode
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        if road == "sse":
            async with Client(sse_client(f"{self.url}/sse", headers=bearer), mode=chosen, **how) as client:
                yield client
        elif road == "stdio":
            command = self.verb("stdio")
            started = StdioServerParameters(command=command[0], args=command[1:], env=self.environment, cwd=self.folder)
            async with Client(stdio_client(started, _sink()), mode=chosen, **how) as client:
                yield client
        else:
            async with create_mcp_http_client(headers=bearer) as http:
                transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
                async with Client(transport, mode=chosen, **how) as client:
                    yield client


def _sink() -> Any:
    """Where children write what is no MCP. Opened once: a file a test leaves open would be a warning, and an error."""
    global _devnull
    if _devnull is None:
        _devnull = open(os.devnull, "w")  # noqa: SIM115
    return _devnull


_devnull: Any = None


@contextmanager
def hub_over(folder: Path, servers: Mapping[str, Json], **settings: Any) -> Iterator[Hub]:
    hub = Hub(folder, servers, settings)
    try:
        hub.start()
        yield hub
    finally:
        if hub.child is not None:
            end_group(hub.child)


@dataclass(frozen=True, slots=True)
class RealServer:
    """One real server: how the hub is told of it, how to reach it without the hub, and what to ask of it."""

    id: str
    entry: Json
    tool: str  # its native name
    arguments: Json
    says: str  # a text that its answer holds

    @asynccontextmanager
    async def direct(self, **how: Any) -> AsyncIterator[Client]:
        """The SDK's client, connected without the hub, declaring no capability."""
        if "command" in self.entry:
            env = self.entry.get("env", {})
            started = StdioServerParameters(command=self.entry["command"], args=self.entry["args"], env=env)
            transport: Any = stdio_client(started, _sink())
        elif self.entry.get("type") == "sse":
            transport = sse_client(self.entry["url"])
        else:
            transport = streamable_http_client(self.entry["url"])
        async with Client(transport, mode="auto" if self.id == "git" else "legacy", **how) as client:
            yield client


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub
    servers: Mapping[str, RealServer]


def node(name: str, *args: str, **env: str) -> Json:
    found = shutil.which("node")
    assert found is not None
    return {"command": found, "args": [str(npm_server(name)), *args], "env": env}


def git_repository(folder: Path, home: Path) -> Path:
    """A repository with one commit, whose hash depends on nothing but what stands here."""
    folder.mkdir()
    who = {"NAME": "Ada", "EMAIL": "ada@example.com", "DATE": "2026-01-02T03:04:05+00:00"}
    env = clean_environment(home)
    env |= {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    (folder / "notes.txt").write_text("one line\n")
    for words in (["init", "-q", "-b", "main"], ["add", "notes.txt"], ["commit", "-q", "-m", "The first commit"]):
        subprocess.run(["git", *words], cwd=folder, env=env, check=True, timeout=30)
    return folder


def real_servers(folder: Path, http_port: int, sse_port: int) -> dict[str, RealServer]:
    """Seven servers at once, their files in `folder`."""
    papers, memory = folder / "papers", folder / "memory.jsonl"
    letter = {"path": str(papers / "letter.txt")}
    papers.mkdir()
    (papers / "letter.txt").write_text("Dear reader, ü.\n", encoding="utf-8")
    memory.write_text(json.dumps({"type": "entity", "name": "Ada", "entityType": "person", "observations": ["counts"]}))
    repository = git_repository(folder / "repository", folder)
    sum_of = ("get-sum", {"a": 2, "b": 40}, "42")
    convert = {"source_timezone": "UTC", "time": "12:30", "target_timezone": "Asia/Tokyo"}
    rows = (
        RealServer("every-stdio", node("everything"), *sum_of),
        RealServer("every-http", {"url": f"http://127.0.0.1:{http_port}/mcp"}, *sum_of),
        RealServer("every-sse", {"type": "sse", "url": f"http://127.0.0.1:{sse_port}/sse"}, *sum_of),
        RealServer("files", node("filesystem", str(papers)), "read_text_file", letter, "ü"),
        RealServer("memory", node("memory", MEMORY_FILE_PATH=str(memory)), "read_graph", {}, "counts"),
        RealServer(
            "time",
            {"command": str(TIME.python), "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"]},
            "convert_time",
            convert,
            "21:30",
        ),
        RealServer(
            "git",
            {"command": str(GIT.python), "args": ["-m", "mcp_server_git", "--repository", str(repository)]},
            "git_log",
            {"repo_path": str(repository)},
            "The first commit",
        ),
    )
    return {row.id: row for row in rows}


def answers_on(child: subprocess.Popen[bytes], port: int, log: Path) -> Callable[[], bool | None]:
    """A look at whether this process accepts connections; AssertionError once it has ended."""

    def look() -> bool | None:
        assert child.poll() is None, f"a server ended: {log.read_text()[-2000:]}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return None
        return True

    return look


@contextmanager
def real_world(folder: Path) -> Iterator[World]:
    """One hub over seven real servers, ready when all of them are."""
    with ExitStack() as stack:
        ports = []
        for mode in ("streamableHttp", "sse"):
            port, log = free_port(), folder / f"{mode}.log"
            started = node("everything", mode)
            env = clean_environment(folder) | {"PORT": str(port)}
            child = stack.enter_context(process([started["command"], *started["args"]], log, env=env))
            wait_until(answers_on(child, port, log), f"everything over {mode}")
            ports.append(port)
        servers = real_servers(folder, *ports)
        entries = {id: server.entry for id, server in servers.items()}
        plenty = {"per_caller": {"per_minute": 1_000_000, "burst": 100_000}}
        hub = stack.enter_context(hub_over(folder / "hub", entries, limits=plenty))
        wait_until(lambda: _all_ready(hub, len(servers)), "the start of every server")
        yield World(hub, servers)


def _all_ready(hub: Hub, count: int) -> bool | None:
    told = hub.told("servers", "list", "--json")
    assert told.returncode == 0, told.stderr
    listed = json.loads(told.stdout)["servers"]
    return True if sum(server["state"] == "ready" for server in listed) == count else None


_CLOCK: Final = re.compile(r"\d{1,2}:\d\d:\d\d(\s[AP]M)?|\d{4}-\d\d-\d\d")


def timeless(value: Any) -> Any:
    """The same without the times of day and dates that some servers put into their answers."""
    match value:
        case str():
            return _CLOCK.sub("<time>", value)
        case list():
            return [timeless(one) for one in value]
        case dict():
            return {key: timeless(_plain(one) if key == "blob" else one) for key, one in value.items()}
        case _:
            return value


def _plain(blob: str) -> str:
    return b64decode(blob, validate=True).decode("latin-1")


def public(server: str, uri: str) -> str:
    """The uri by which the hub's clients know it."""
    return f"{server}+{uri}"


def renamed(server: str, value: Any) -> Any:
    """What a direct answer becomes behind the hub: every structured `uri` is public; texts stay."""
    match value:
        case list():
            return [renamed(server, one) for one in value]
        case dict():
            return {k: public(server, v) if k == "uri" else renamed(server, v) for k, v in value.items()}
        case _:
            return value
