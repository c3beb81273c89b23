"""A client of the hub's own endpoint for the `tools` verbs: protocol 2026-07-28 over HTTP, stateless."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPResponse
from itertools import count
from typing import Any, Final

from hub import VERSION
from hub.cli.failure import Failed
from hub.cli.hub_client import MAX_ANSWER, decoded, exchange
from hub.running import Run
from hub.wire.headers import param_headers, routing_headers
from hub.wire.revisions import LATEST_MODERN

CALL_S: Final = 660.0  # longer than the hub lets any call take, so that its own words come first
PAGES: Final = 1000
HEADER_MISMATCH: Final = -32020
_PREFIX: Final = "io.modelcontextprotocol"

OnProgress = Callable[[Mapping[str, Any]], None]


class Endpoint:
    """One endpoint of one running hub."""

    def __init__(self, run: Run, name: str = "", on_progress: OnProgress = lambda params: None) -> None:
        self._run, self._on_progress = run, on_progress
        self._path = f"/{name}/mcp" if name else "/mcp"
        self._ids = count(1)

    def tools(self) -> list[dict[str, Any]]:
        """Every tool, all pages. Raises Failed."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(PAGES):
            page = _result(self._send("tools/list", params, {}))
            found.extend(page.get("tools", ()))
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return found
            params = {"cursor": cursor}
        raise Failed(f"the list does not end after {PAGES} pages")

    def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The tool's result, whole. Raises Failed with the hub's words."""
        params = {"name": name, "arguments": arguments}
        answer = self._send("tools/call", params, {})
        if answer.get("error", {}).get("code") == HEADER_MISMATCH:  # the tool wants arguments in headers too
            schema = next((tool.get("inputSchema") for tool in self.tools() if tool.get("name") == name), None)
            answer = self._send("tools/call", params, param_headers(f"cli:{name}", schema, arguments))
        return _result(answer)

    def _send(self, method: str, params: Mapping[str, Any], extra: Mapping[str, str]) -> dict[str, Any]:
        """One request; its response, whatever it says."""
        id = next(self._ids)
        meta = {
            f"{_PREFIX}/protocolVersion": LATEST_MODERN,
            f"{_PREFIX}/clientCapabilities": {},
            f"{_PREFIX}/clientInfo": {"name": "mcp-hub-cli", "version": VERSION},
            "progressToken": id,
        }
        body = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **routing_headers(method, params, LATEST_MODERN),
            **extra,
        }
        with exchange(self._run, "POST", self._path, json.dumps(body).encode(), headers, CALL_S) as response:
            if "text/event-stream" in (response.getheader("content-type") or ""):
                return self._streamed(response, id)
            answer = decoded(response)
        if not isinstance(answer, dict):
            raise Failed("the hub's answer is no MCP")
        return answer

    def _streamed(self, response: HTTPResponse, id: int) -> dict[str, Any]:
        for message in events(response):
            if message.get("id") == id and ("result" in message or "error" in message):
                return message
            if message.get("method") == "notifications/progress":
                self._on_progress(message.get("params", {}))
        raise Failed("the stream ended before the answer; the outcome is unknown")


def events(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """The JSON objects of an event stream."""
    data: list[str] = []
    while line := response.readline(MAX_ANSWER):
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            message = json.loads("\n".join(data))
            data.clear()
            if isinstance(message, dict):
                yield message


def _result(answer: Mapping[str, Any]) -> dict[str, Any]:
    result = answer.get("result")
    if isinstance(result, dict):
        return result
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else answer.get("detail")
    raise Failed(str(message or "the hub's answer is no MCP"))
