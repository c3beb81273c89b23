"""What is measured: the downstream called directly, nginx in front of it, and the hub in front of it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.bench.processes import first_line, started

TOKEN = "bench-client-token-0123456789abcdef"  # of a hub that lives for one run, on loopback
ADMIN = "bench-admin-token-0123456789abcdef0"


@dataclass(frozen=True, slots=True)
class Gateway:
    name: str
    url: str
    pid: int
    prefix: str = ""  # before the tool's name
    token: str = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def echo(where: set[int], *flags: str) -> Iterator[Gateway]:
    with started([sys.executable, "-m", "conformance.servers.echo", *flags], where) as child:
        port = int(first_line(child))
        yield Gateway("direct", f"http://127.0.0.1:{port}/mcp", child.pid)


def answered(downstream: Gateway) -> int:
    """How many calls the downstream says it has answered."""
    connection = http.client.HTTPConnection("127.0.0.1", int(downstream.url.split(":")[2].split("/")[0]), timeout=10)
    connection.request("GET", "/count")
    count: int = json.loads(connection.getresponse().read())
    connection.close()
    return count


@contextmanager
def nginx(where: set[int], downstream: Gateway, folder: Path) -> Iterator[Gateway]:
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    port, upstream = free_port(), downstream.url.split(":")[2].split("/")[0]
    text = (Path(__file__).parent / "nginx.conf").read_text()
    for mark, value in (("@DIR@", str(folder)), ("@PORT@", str(port)), ("@UPSTREAM@", upstream)):
        text = text.replace(mark, value)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    with started([binary, "-c", str(conf), "-p", str(folder)], where) as child:
        wait_open(port)
        yield Gateway("nginx", f"http://127.0.0.1:{port}/mcp", child.pid)


@contextmanager
def hub(where: set[int], servers: Mapping[str, Any], folder: Path, **more: Any) -> Iterator[Gateway]:
    """A hub as users run it: all stages on, audit durable; only the per-caller limit is above what the bench sends."""
    folder.mkdir(exist_ok=True)
    config = {
        "listen": "127.0.0.1:0",
        "data_dir": str(folder / "data"),
        "mcpServers": dict(servers),
        "limits": {"per_caller": {"per_minute": 10_000_000, "burst": 1_000_000}},
        **more,
    }
    path = folder / "hub.json"
    path.write_text(json.dumps(config))
    env = {"MCP_HUB_TOKEN": TOKEN, "MCP_HUB_ADMIN_TOKEN": ADMIN}
    command = [sys.executable, "-m", "hub.cli.main", "serve", "--config", str(path)]
    with started(command, where, env, quiet="BENCH_LOUD" not in os.environ) as child:
        first_line(child)
        run = json.loads((folder / "data" / "run.json").read_text())
        wait_ready(run["port"])
        yield Gateway("hub", f"http://127.0.0.1:{run['port']}/mcp", child.pid, "echo__", TOKEN)


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


def list_tools(gateway: Gateway) -> list[str]:
    """The names of one whole tools/list, protocol 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
        **({"Authorization": f"Bearer {gateway.token}"} if gateway.token else {}),
    }
    port = int(gateway.url.split(":")[2].split("/")[0])
    status, body = ask(port, "POST", "/mcp", json.dumps(message).encode(), headers)
    if status != 200:
        raise RuntimeError(f"tools/list answered {status}: {body[:300]!r}")
    return [tool["name"] for tool in json.loads(body)["result"]["tools"]]
