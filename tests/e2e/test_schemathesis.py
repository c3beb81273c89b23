"""The admin API against its own OpenAPI document: what schemathesis makes of it, against a running hub."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Place, log_lines, raw_server
from tests.e2e.lacking import lack
from tests.equipment import SCHEMATHESIS

pytestmark = pytest.mark.e2e

SETTINGS: Final = Path(__file__).with_name("schemathesis.toml")
EXAMPLES: Final = 25
RUN_S: Final = 180.0


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    if not SCHEMATHESIS.ready:
        lack("schemathesis is not installed: run `python -m tests.equipment`")
    nowhere = tmp_path / "no-launchers"  # made-up servers must start nothing of this machine
    nowhere.mkdir()
    servers = {"raw": raw_server("legacy"), "kept": raw_server("legacy"), "away": {"url": "http://127.0.0.1:9/mcp"}}
    place = Place(
        tmp_path / "home", {"mcpServers": servers}, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN, PATH=str(nowhere)
    )
    with Hub(place) as hub:
        hub.wait_for("raw__echo", "kept__echo")
        program = SCHEMATHESIS.python.with_name("schemathesis")
        url = f"http://127.0.0.1:{hub.port}/api/v1/openapi.json"
        bounds = ["--max-examples", str(EXAMPLES), "--seed", "20261", "--request-timeout", "30", "--no-shrink"]
        done = subprocess.run(
            [program, "--config-file", SETTINGS, "run", url, "-H", f"Authorization: Bearer {ADMIN}", *bounds],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=RUN_S,
        )
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        assert hub.admin.request("GET", "/api/v1/status").status == 200
        assert hub.call("kept__echo", {"text": "still here"}).result["content"]
        told = hub.stderr()
        assert [line for line in log_lines(told) if line["level"] == "error"] == []
        assert ADMIN not in told
