"""One call of a client of the legacy era that comes, opens a session, calls, ends the session and goes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from conformance.bench.gateways import Gateway

VERSION = "2025-11-25"


def in_session(gateway: Gateway, params: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one `tools/call`. Raises RuntimeError when it is none."""
    head = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if gateway.token:
        head["Authorization"] = f"Bearer {gateway.token}"
    opening = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        connection.request("POST", "/mcp", _message("initialize", opening, 0), head)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{gateway.name}: initialize answered {answer.status}")
        session = answer.headers.get("mcp-session-id", "")
        head |= {"MCP-Protocol-Version": VERSION, "Mcp-Session-Id": session}
        connection.request("POST", "/mcp", _message("notifications/initialized", {}, None), head)
        connection.getresponse().read()
        connection.request("POST", "/mcp", _message("tools/call", params, 1), head)
        body = connection.getresponse().read().decode()
        connection.request("DELETE", "/mcp", headers=head)
        connection.getresponse().read()
    events = (line[5:] for line in body.splitlines() if line.startswith("data:"))
    answered = json.loads(next((event for event in events if '"result"' in event), body))
    if "result" not in answered:
        raise RuntimeError(f"{gateway.name}: tools/call answered {body[:300]}")
    result: dict[str, Any] = answered["result"]
    return result


def _message(method: str, params: Mapping[str, Any], id: int | None) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if id is None else {**message, "id": id}).encode()
