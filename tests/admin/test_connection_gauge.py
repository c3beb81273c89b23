from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from hub.admin.connection_gauge import ConnectionGauge


def test_accounts_are_counted_by_server_and_state_as_they_are_now() -> None:
    found = [("wiki", "connected"), ("wiki", "connected"), ("wiki", "needs_login"), ("crm", "connected")]
    registry = CollectorRegistry()
    registry.register(ConnectionGauge(lambda: found))
    expected = [
        'mcp_hub_connections{server_name="crm",state="connected"} 1.0',
        'mcp_hub_connections{server_name="wiki",state="connected"} 2.0',
        'mcp_hub_connections{server_name="wiki",state="needs_login"} 1.0',
    ]
    assert [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")] == expected
    found.clear()
    assert b"server_name" not in generate_latest(registry)
