from __future__ import annotations

from typing import Any

import pytest

from hub.edge.era import era_of, has_modern_header
from hub.wire.decode import VERSION_KEY, Refusal
from hub.wire.revisions import LEGACY

MODERN = "2026-07-28"


def message(method: str = "tools/list", version: Any = None, **params: Any) -> dict[str, Any]:
    meta = {} if version is None else {"_meta": {VERSION_KEY: version}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}


INIT = message("initialize", protocolVersion=MODERN)


@pytest.mark.parametrize(
    ("header", "body", "era"),
    [
        (None, INIT, "legacy"),
        ("2025-11-25", INIT, "legacy"),
        (None, message(), "legacy"),
        ("2025-06-18", message(), "legacy"),
        (None, {"jsonrpc": "2.0", "method": "notifications/initialized"}, "legacy"),
        (None, {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, "legacy"),
        (None, {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": 1}}, "legacy"),
        (None, {"anything": 1}, "legacy"),
        ("2025-03-26", [message(), message()], "legacy"),
        (None, [], "legacy"),
        (MODERN, message(version=MODERN), "modern"),
        (MODERN, message(), "modern"),
        (MODERN, INIT, "modern"),
        (MODERN, {"jsonrpc": "2.0", "method": "notifications/initialized"}, "modern"),
        ("1999-01-01", message(), "modern"),
        ("", message(), "modern"),
        (None, message(version=MODERN), "modern"),
        (None, message(version=7), "modern"),
        (None, message("initialize", version=MODERN), "modern"),
        ("2025-11-25", message(version="2025-11-25"), "modern"),
    ],
)
def test_the_era_is_decided_by_header_and_body_together(header: str | None, body: Any, era: str) -> None:
    assert era_of({} if header is None else {"mcp-protocol-version": header}, body) == era


@pytest.mark.parametrize("revision", LEGACY)
def test_a_legacy_header_on_a_modern_body_is_a_mismatch(revision: str) -> None:
    found = era_of({"mcp-protocol-version": revision}, message(version=MODERN))
    assert isinstance(found, Refusal)
    assert (found.code, found.status) == (-32020, 400)


@pytest.mark.parametrize("headers", [{}, {"mcp-protocol-version": "2025-03-26"}, {"mcp-protocol-version": MODERN}])
@pytest.mark.parametrize("body", ["x", 7, None, True])
def test_a_body_that_is_no_message_is_an_invalid_request(headers: dict[str, str], body: Any) -> None:
    found = era_of(headers, body)
    assert isinstance(found, Refusal)
    assert (found.code, found.status) == (-32600, 400)


def test_a_batch_under_a_modern_header_never_reaches_the_legacy_road() -> None:
    found = era_of({"mcp-protocol-version": MODERN, "mcp-session-id": "s"}, [message()])
    assert isinstance(found, Refusal)
    assert found.code == -32600


def test_an_unknown_version_header_is_for_the_modern_era_to_negotiate() -> None:
    assert has_modern_header({"mcp-protocol-version": "2099-01-01"})
    assert not has_modern_header({"mcp-protocol-version": "2024-11-05"})
    assert not has_modern_header({})
