"""Every route of the assembled hub, tried without a token: only the open ones answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.routing import Route

from hub import assembly
from hub.edge.server import run_server
from tests.journeys.hub import ADMIN, CLIENT, running

OPEN: Final = {"/health", "/ready"}
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
MCP: Final = ("/mcp", "/sse", "/messages", "/one/mcp", "/one/sse", "/one/messages")
CONFIG: Final = {
    "allowed_hosts": ["127.0.0.1"],
    "mcpServers": {"sandbox": {"connector": "sandbox"}},
    "endpoints": {"/one/mcp": {"servers": ["sandbox"], "prefix": "none"}},
}
PAGE: Final = Path(__file__).resolve().parents[2] / "hub" / "docs" / "api.md"


@dataclass
class Door:
    """The app as the HTTP server has it, asked without a socket, and from so many addresses that none is held up."""

    app: Any
    addresses: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def routes(self) -> list[Route]:
        return list(self.app._rest.routes)

    async def ask(self, method: str, path: str, token: str | None = None, query: str = "") -> tuple[int, bytes]:
        sent: list[Any] = []
        number = next(self.addresses) // 25

        async def receive() -> Any:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
        await self.app(
            {
                "type": "http",
                "method": method,
                "path": path,
                "raw_path": path.encode(),
                "query_string": query.encode(),
                "headers": headers,
                "client": (f"10.0.{number >> 8}.{number & 255}", 1),
            },
            receive,
            send,
        )
        return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])


@asynccontextmanager
async def door(folder: Path, monkeypatch: pytest.MonkeyPatch, listen: str) -> AsyncIterator[Door]:
    apps: list[Any] = []

    def caught(app: Any, *args: Any, **more: Any) -> Any:
        apps.append(app)
        return run_server(app, *args, **more)

    monkeypatch.setattr(assembly, "run_server", caught)
    async with running(folder, {**CONFIG, "listen": listen}):
        yield Door(apps[0])


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "sandbox", path)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
async def test_no_route_but_the_open_ones_answers_without_a_token(
    listen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = OPEN | ({"/metrics"} if listen.startswith("127.") else set())
    async with door(tmp_path, monkeypatch, listen) as hub:
        paths = {concrete(route.path) for route in hub.routes} | set(MCP)
        assert len(paths) > 10
        assert open_ < paths
        for path in sorted(paths - open_):
            for method in METHODS:
                for token in (None, "mhk_" + "x" * 43):
                    status, body = await hub.ask(method, path, token, f"token={ADMIN}&access_token={ADMIN}")
                    assert status == 401, (method, path, body)
                    assert b"sandbox" not in body
        for path in sorted(open_):
            assert (await hub.ask("GET", path))[0] == 200
            for method in ("POST", "PUT", "DELETE"):
                assert (await hub.ask(method, path))[0] == 405


async def test_no_operation_serves_a_caller_without_its_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local client may call tools and administer nothing; the local admin administers and calls nothing."""
    async with door(tmp_path, monkeypatch, "127.0.0.1:0") as hub:
        operations = [(m, r.path) for r in hub.routes if r.path.startswith("/api/") for m in r.methods or ()]
        assert len(operations) > 30
        for method, path in operations:
            status, body = await hub.ask(method, concrete(path), CLIENT)
            assert status == 403, (method, path, body)
        for path in MCP:
            for method in ("GET", "POST"):
                assert (await hub.ask(method, path, ADMIN))[0] == 403, path


async def test_no_other_spelling_of_a_path_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twists = ("{}/", "/{}", "/health/..{}", "/health/../..{}", "/health{}", "{}/.", "{}%2f", "{};/health", "{}\x00")
    async with door(tmp_path, monkeypatch, "127.0.0.1:0") as hub:
        for route in hub.routes:
            for twist in twists:
                path = twist.format(concrete(route.path))
                for spelled in (path, path.upper()):
                    assert (await hub.ask("GET", spelled))[0] == 401, spelled


async def test_the_document_knows_every_route_and_every_route_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door(tmp_path, monkeypatch, "127.0.0.1:0") as hub:
        status, body = await hub.ask("GET", "/api/v1/openapi.json", ADMIN)
        assert status == 200
        made = json.loads(body)
        told = {(method.upper(), path) for path, item in made["paths"].items() for method in item}
        there = {
            (method, route.path)
            for route in hub.routes
            if route.path.startswith("/api/")
            for method in route.methods or ()
            if method != "HEAD"
        }
        assert told == there
        assert {route.path for route in hub.routes if not route.path.startswith("/api/")} == {*OPEN, "/metrics"}
        for method, path in sorted(told):
            if method == "GET":
                assert (await hub.ask(method, concrete(path), ADMIN))[0] in (200, 404)
        assert rows_of_page() == table(made), "hub/docs/api.md: put these rows there:\n" + "\n".join(table(made))


def rows_of_page() -> list[str]:
    return re.findall(r"^\| `[A-Z]+` \|.*$", PAGE.read_text(), re.MULTILINE)


def table(document: dict[str, Any]) -> list[str]:
    """The operations as rows of the page."""
    rows = []
    for path, item in document["paths"].items():
        for method, told in sorted(item.items()):
            scopes = " or ".join(f"`{scope}`" for each in told["security"] for scope in each["bearer"])
            short = path.removeprefix("/api/v1")
            summary = told["summary"][0].lower() + told["summary"][1:].rstrip(".")
            rows.append(f"| `{method.upper()}` | `{short}` | {scopes} | {summary} |")
    return rows
