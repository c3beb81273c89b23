"""Everything looked at in one go; the exit status says whether something is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.admin import checkup, surroundings, traffic
from hub.admin.ports import AdminPorts
from hub.admin.recent import Recent
from hub.cli.main import main
from tests.admin import data
from tests.admin.fakes import STARTED, Parts, changed, health
from tests.cli.hub import running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A roomy machine with one launcher, and no look at the clock that takes time."""
    monkeypatch.setattr(checkup, "LOOK_S", 0.0)
    monkeypatch.setattr(checkup, "LOW_BYTES", 1)
    monkeypatch.setattr(surroundings, "FEW", 1)
    monkeypatch.setattr(surroundings, "LAUNCHERS", {"python3": "install Python 3"})
    level = logging.getLogger("hub").level
    yield
    logging.getLogger("hub").setLevel(level)


class Running(Parts):
    def ports(self, **changes: Any) -> AdminPorts:
        trouble = ("mcpServers.jira: no secret is called k",)
        more = traffic.operations("1.2.3", STARTED, self.pool.health, Recent(), trouble=lambda: trouble)
        return super().ports(more=more, **changes)


def made(data_dir: Path) -> None:
    data_dir.parent.mkdir(parents=True)
    asyncio.run(data.made(data_dir))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_sound_hub_that_is_stopped_has_no_problem(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(data_dir)
    assert main(["doctor", "--json"]) == 0
    found = told(capsys)
    assert (found["ok"], found["problems"]) == (True, 0)
    checks = {each["check"] for each in found["findings"]}
    assert checks == {
        *("versions", "configuration", "store", "vault", "log", "modes"),
        *("disk", "clock", "descriptors", "isolation", "launchers", "hub"),
    }


def test_every_server_that_runs_is_told(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(data_dir)
    with running(data_dir) as hub:
        hub.parts = Running()
        hub.parts.pool.states = {"time": health("time"), "wiki": health("wiki", "down")}
        hub.parts.catalogue.changes = (changed("time", "now"),)
        assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "ok       hub: it answers at" in out
    assert "PROBLEM  servers: wiki is down: down: look\n         -> mcp-hub servers test wiki\n" in out
    assert "note     servers: 1 changed definitions of time are hidden" in out
    assert "PROBLEM  launchers: /usr/bin/uvx is not to be found on PATH, and time" in out  # as the hub says, not a file
    assert "PROBLEM  configuration: not in force: mcpServers.jira: no secret is called k" in out
    assert out.endswith("3 problems\n")


def test_a_damaged_store_is_a_problem_with_a_next_step(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(data_dir)
    data.change(data_dir / "audit.db", "DELETE FROM entries WHERE seq = 3")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM  log: the log was changed: entry 3 is missing" in out
    assert out.endswith("one problem\n")


def test_a_wrong_configuration_is_a_problem_and_the_machine_is_looked_at_all_the_same(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.yaml").write_text("listn: x\noutput_bytes: -1\n")
    assert main(["doctor", "--json"]) == 1
    found = told(capsys)["findings"]
    assert (found[0]["check"], found[0]["level"]) == ("configuration", "problem")
    assert "listn" in found[0]["said"]
    assert "output_bytes" in found[0]["said"]
    assert {each["check"] for each in found} == {"configuration", "versions", "launchers", "isolation"}


def test_servers_of_the_file_need_their_programs(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = {
        "own": {"command": sys.executable},
        "lost": {"command": "no-such-program"},
        "off": {"command": "no-such-program-either", "disabled": True},
        "elsewhere": {"command": "in-its-own-path", "env": {"PATH": "/opt/bin"}},
        "web": {"url": "https://example.com/mcp", "headers": {"X-Api-Key": "a-literal-secret-value"}},
    }
    (tmp_path / "hub.json").write_text(json.dumps({"mcpServers": servers, "data_dir": str(data_dir)}))
    (tmp_path / "hub.json").chmod(0o644)
    assert main(["doctor", "--config", "hub.json", "--json"]) == 1
    text = capsys.readouterr().out
    found = json.loads(text)["findings"]
    wrong = [each["said"] for each in found if each["level"] == "problem"]
    assert wrong == ["no-such-program is not to be found on PATH, and lost cannot start without it"]
    notes = [each["said"] for each in found if each["check"] == "configuration" and each["level"] == "note"]
    assert any("plain text" in note for note in notes)
    assert "a-literal-secret-value" not in text


def test_a_hub_that_does_not_answer_is_a_problem(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(data_dir)
    with running(data_dir) as hub:
        hub.parts = Running()
        monkeypatch.setattr(hub.parts.pool, "health", lambda: 1 / 0)
        logging.getLogger("hub").setLevel("CRITICAL")
        assert main(["doctor", "--json"]) == 1
    wrong = [each for each in told(capsys)["findings"] if each["level"] == "problem"]
    assert [each["check"] for each in wrong] == ["hub"]
    assert "does not answer" in wrong[0]["said"]
