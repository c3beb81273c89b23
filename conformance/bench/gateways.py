"""What is measured: the downstream called directly, nginx in front of it, and the hub in front of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.bench.equipment import lacking, nginx_binary
from conformance.bench.processes import cpu_ns, first_line, load, started

TOKEN = "bench-client-token-0123456789abcdef"  # of a hub that lives for one run, on loopback
ADMIN = "bench-admin-token-0123456789abcdef0"
STAGES = "stages.json"


@dataclass(frozen=True, slots=True)
class Gateway:
    name: str
    url: str
    pid: int
    prefix: str = ""  # before the tool's name
    token: str = ""
    era: str = "modern"  # of the client that talks to it
    apart: str = ""  # a word in the command line of servers below it: they are not its cost
    share: float = 1.0  # of the calls of a round: what takes milliseconds a call is asked less often
    folder: Path | None = None  # of a hub: where its log and its list of stages are

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @contextmanager
    def loaded(self, where: set[int], **options: Any) -> Iterator[Callable[[int], dict[str, Any]]]:
        """What makes a run of so many calls each time, and tells the CPU time of this gateway over it: `cpu_ns`.

        `options` are those of `load.py`.
        """
        with load(self.url, where, token=self.token, era=self.era, **options) as generator:

            def run(calls: int) -> dict[str, Any]:
                generator.prepare()
                before = cpu_ns(self.pid, self.apart)
                seen = generator.run(calls)
                return {**seen, "cpu_ns": cpu_ns(self.pid, self.apart) - before}

            yield run

    def asked(self, where: set[int], calls: int, **options: Any) -> dict[str, Any]:
        """One such run, on connections of its own."""
        with self.loaded(where, **options) as run:
            return run(calls)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def echo(where: set[int], *flags: str) -> Iterator[Gateway]:
    with started([sys.executable, "-m", "conformance.servers.echo", *flags], where) as child:
        port = int(first_line(child))
        era = "legacy" if "--legacy" in flags else "modern"
        yield Gateway("direct", f"http://127.0.0.1:{port}/mcp", child.pid, era=era)


def answered(downstream: Gateway) -> int:
    """How many calls the downstream says it has answered."""
    status, body = ask(downstream.port, "GET", "/count")
    if status != 200:
        raise RuntimeError(f"the server at port {downstream.port} does not count")
    count: int = json.loads(body)
    return count


@contextmanager
def nginx(where: set[int], downstream: Gateway, folder: Path) -> Iterator[Gateway]:
    binary = nginx_binary()
    if binary is None:
        raise FileNotFoundError(lacking("nginx"))
    folder.mkdir(exist_ok=True)
    port = free_port()
    text = (Path(__file__).parent / "nginx.conf").read_text()
    for mark, value in (("@DIR@", str(folder)), ("@PORT@", str(port)), ("@UPSTREAM@", str(downstream.port))):
        text = text.replace(mark, value)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    with started([str(binary), "-c", str(conf), "-p", str(folder)], where) as child:
        wait_open(port)
        yield Gateway("nginx", f"http://127.0.0.1:{port}/mcp", child.pid, era=downstream.era)


def write_config(folder: Path, servers: Mapping[str, Any], **more: Any) -> Path:
    config = {
        "listen": "127.0.0.1:0",
        "data_dir": str(folder / "data"),
        "mcpServers": dict(servers),
        "limits": {"per_caller": {"per_minute": 10_000_000, "burst": 1_000_000}},
        **more,
    }
    path = folder / "hub.json"
    path.write_text(json.dumps(config))
    return path


@contextmanager
def hub(where: set[int], servers: Mapping[str, Any], folder: Path, *without: str, **more: Any) -> Iterator[Gateway]:
    """A hub as users run it: all stages on, log durable; only the per-caller limit is above what the bench sends.

    `without`: stages that it must do without, which no configuration can tell it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = write_config(folder, servers, **more)
    env = {"MCP_HUB_TOKEN": TOKEN, "MCP_HUB_ADMIN_TOKEN": ADMIN}
    command = [sys.executable, "-m", "conformance.bench.launch", str(folder / STAGES)]
    for name in without:
        command += ["--without", name]
    command += ["--", "serve", "--config", str(path)]
    with started(command, where, env, quiet="BENCH_LOUD" not in os.environ) as child:
        first_line(child)
        run = json.loads((folder / "data" / "run.json").read_text())
        wait_ready(run["port"])
        yield Gateway("hub", f"http://127.0.0.1:{run['port']}/mcp", child.pid, "echo__", TOKEN, folder=folder)


def reload(hub: Gateway) -> None:
    """Have the hub read its file anew, now."""
    status, body = ask(hub.port, "POST", "/api/v1/reload", b"", {"Authorization": f"Bearer {ADMIN}"})
    if status != 200:
        raise RuntimeError(f"the reload answered {status}: {body[:300]!r}")


def wait_for_servers(hub: Gateway, count: int, within_s: float = 60.0) -> None:
    """Until so many servers are ready and their tools known. Nobody lists anything by that."""
    end = time.monotonic() + within_s
    while True:
        status, body = ask(hub.port, "GET", "/api/v1/servers?limit=100", None, {"Authorization": f"Bearer {ADMIN}"})
        rows = json.loads(body)["servers"] if status == 200 else []
        if sum(row["state"] == "ready" and bool(row["items"].get("tool")) for row in rows) >= count:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"not all {count} servers became ready: {status} {body[:300]!r}")
        time.sleep(0.05)


def stages_of(hub: Gateway) -> list[str]:
    """The stages that the pipeline of this running hub was built with, outermost first."""
    assert hub.folder is not None
    return read_stages(hub.folder)


def read_stages(folder: Path) -> list[str]:
    names: list[str] = json.loads((folder / STAGES).read_text())
    return names


def logged(hub: Gateway) -> int:
    """How many calls are on the disk in the log of this hub, with how they ended."""
    assert hub.folder is not None
    uri = f"file:{hub.folder / 'data' / 'audit.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM entries WHERE kind = 'call'").fetchone()[0]
        return count


def wait_open(port: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def wait_ready(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ask(port, "GET", "/ready")[0] == 200:
            return
        time.sleep(0.02)
    raise TimeoutError("the hub did not become ready")


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """One plain HTTP request; status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def rpc(gateway: Gateway, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one request of the modern era."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": str(params["name"])} if "name" in params else {}),
        **({"Authorization": f"Bearer {gateway.token}"} if gateway.token else {}),
    }
    status, body = ask(gateway.port, "POST", "/mcp", json.dumps(message).encode(), headers)
    if status != 200:
        raise RuntimeError(f"{gateway.name}: {method} answered {status}: {body[:300]!r}")
    answer = json.loads(body)
    if "result" not in answer:
        raise RuntimeError(f"{gateway.name}: {method} answered {body[:300]!r}")
    result: dict[str, Any] = answer["result"]
    return result


def list_tools(gateway: Gateway) -> list[str]:
    """The names of one whole tools/list, page by page, protocol 2026-07-28."""
    names: list[str] = []
    asked: dict[str, Any] = {}
    while True:
        page = rpc(gateway, "tools/list", asked)
        names += [tool["name"] for tool in page["tools"]]
        if "nextCursor" not in page:
            return names
        asked = {"cursor": page["nextCursor"]}


def wait_for_tools(gateway: Gateway, *names: str, within_s: float = 60.0) -> None:
    """Until all of these are listed: the first list waits for servers in their first start."""
    end = time.monotonic() + within_s
    while not set(names) <= set(list_tools(gateway)):
        if time.monotonic() > end:
            raise TimeoutError(f"{gateway.name} does not list {', '.join(names)}")
        time.sleep(0.02)
