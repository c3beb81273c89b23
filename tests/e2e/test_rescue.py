"""A hub that runs is backed up under calls, restored elsewhere, upgraded from an older one; each as operators do it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from hub.audit.read import check_chain
from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Place, raw_server
from tests.e2e.raw_http import Http
from tests.stores.test_upgrade import FIXTURES, KEY

pytestmark = pytest.mark.e2e


def placed(home: Path, server: str) -> Place:
    config = {"mcpServers": {server: raw_server("legacy")}}
    return Place(home, config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)


def test_a_backup_under_calls_restores_to_a_hub_that_goes_on(tmp_path: Path) -> None:
    place = placed(tmp_path / "one", "a")
    with Hub(place) as hub:
        hub.wait_for("a__echo")
        key = place.json("keys", "create", "--name", "ci", "--server", "*")["key"]
        http, failed, stop = Http(hub.port, key), list[object](), threading.Event()

        def calling() -> None:
            while not stop.is_set():
                answer = http.modern("tools/call", {"name": "a__echo", "arguments": {"text": "x"}}).message
                if "result" not in answer:
                    failed.append(answer)

        caller = threading.Thread(target=calling)
        caller.start()
        try:
            made = [place.json("backup", str(tmp_path / f"{number}.tar.gz")) for number in range(3)]
        finally:
            stop.set()
            caller.join(10)
        assert failed == []
        assert all(each["logged"] for each in made)
        assert made[0]["audit"]["head"]["seq"] < made[2]["audit"]["head"]["seq"]
        acts = [entry["detail"]["act"] for entry in place.entries() if entry["kind"] == "admin"]
        assert acts.count("backups.record") == 3
        status = place.json("status")
        assert status["total"]["calls"] > 0
        assert status["servers"][0]["last_minute"]["p95_ms"] > 0
        assert place.json("doctor")["problems"] == 0
        assert place.json("log-level", "debug")["before"] == "info"

    other = placed(tmp_path / "two", "a")
    back = other.json("restore", str(tmp_path / "2.tar.gz"), "--into", str(other.data_dir))
    assert back["audit"]["head"] == made[2]["audit"]["head"]
    with Hub(other) as hub:
        hub.wait_for("a__echo")
        assert Http(hub.port, key).modern("tools/list").status == 200
        assert other.json("servers", "diff", "a") == {"changes": []}
    assert check_chain(other.data_dir / "audit.db").ok


def test_the_data_of_an_older_hub_are_taken_over(tmp_path: Path) -> None:
    place = placed(tmp_path, "notes")
    place.data_dir.mkdir(mode=0o700)
    for name in ("hub", "audit"):
        shutil.copy(FIXTURES / f"{name}-v1.db", place.data_dir / f"{name}.db")
    with Hub(place) as hub:
        hub.wait_for("notes__echo")
        http = Http(hub.port, KEY)
        answer = http.modern("tools/call", {"name": "notes__echo", "arguments": {"text": "still here"}}).result
        assert "still here" in str(answer)
        assert {row["name"]: row["state"] for row in place.json("keys", "list")["keys"]} == {
            "ci": "live",
            "old": "revoked",
        }
        assert place.json("servers", "diff", "notes") == {"changes": []}
        assert place.json("doctor")["problems"] == 0
    assert (place.data_dir / "hub.db.schema-1").exists()
    assert check_chain(place.data_dir / "audit.db").ok
