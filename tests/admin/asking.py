"""Requests to the admin API as the edge passes them on, without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp

from hub.admin.api import admin_app
from hub.admin.ports import AdminPorts
from hub.core.call import Grants, Principal

ADMIN = Principal("local", "local:admin", "local:admin", frozenset({"admin", "audit:read"}))
READER = Principal("local", "key:reader", "key:1", frozenset({"audit:read"}))
CLIENT = Principal("local", "local:client", "local:client", frozenset({"mcp"}), Grants(frozenset({"*"})))
NARROW = Principal("local", "key:ci", "key:2", frozenset({"mcp"}), Grants(frozenset({"*"}), ("time__*",)))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    def __init__(self, ports: AdminPorts) -> None:
        self.app: ASGIApp = admin_app(ports)

    async def ask(
        self,
        method: str,
        path: str,
        who: Principal | None = ADMIN,
        body: Any = None,
        chunks: list[Any] | None = None,
        headers: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        """One request, as the edge passes it on."""
        data = b"" if body is None else json.dumps(body).encode()
        waiting = list(chunks) if chunks is not None else [{"type": "http.request", "body": data}]

        async def receive() -> Any:
            return waiting.pop(0)

        return await self.ask_with(receive, method, path, who, headers)

    async def ask_with(
        self,
        receive: Any,
        method: str,
        path: str,
        who: Principal | None = ADMIN,
        headers: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        path, _, query = path.partition("?")
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        pairs = headers.items() if isinstance(headers, Mapping) else headers
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
            "state": {} if who is None else {"principal": who},
        }
        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(part.get("body", b"") for part in sent[1:]))
