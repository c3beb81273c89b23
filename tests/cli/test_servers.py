"""Servers from the command line: how they stand, what changed, and the approval of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli import servers
from hub.cli.main import main
from hub.downstream.likeness import Likeness
from tests.admin.fakes import changed, health
from tests.cli.hub import running


def test_servers_are_listed_with_what_waits(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.pool.states = {"time": health("time"), "wiki": health("wiki", "needs_login")}
        hub.parts.catalogue.changes = (changed("time", "now"),)
        assert main(["servers", "list"]) == 0
        out, err = capsys.readouterr()
        assert main(["servers", "list", "--json"]) == 0
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "ready" in rows["time"]
    assert "needs_login: look" in rows["wiki"]
    assert "1 changed definitions of time wait: mcp-hub servers diff time" in err
    assert len(json.loads(capsys.readouterr().out)["servers"]) == 5


def test_servers_in_their_first_start_are_waited_for(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(data_dir) as hub:
        hub.parts.pool.states["time"] = health("time", "starting")

        def settle(seconds: float) -> None:
            hub.parts.pool.states["time"] = health("time")

        monkeypatch.setattr("hub.cli.servers.time.sleep", settle)
        assert main(["servers", "list"]) == 0
        assert "starting" not in capsys.readouterr().out
        hub.parts.pool.states["time"] = health("time", "starting")
        monkeypatch.setattr(servers, "SETTLE_S", -1.0)
        assert main(["servers", "list"]) == 0
    assert "starting" in capsys.readouterr().out


def test_a_server_that_works_passes_its_test(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.pool.states["time"] = health("time")
        assert main(["servers", "test", "time"]) == 0
    out = capsys.readouterr().out
    assert "time: ready, modern (2026-07-28)" in out
    assert "  2 tools\n" in out
    assert "not shown: tool bad: inputSchema is no object" in out


def test_a_server_that_fails_its_test_exits_1_with_its_last_words(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        hub.parts.pool.states["wiki"] = health("wiki", "down", peer=None, stderr=("boom \x1b[2J",))
        assert main(["servers", "test", "wiki"]) == 1
        out = capsys.readouterr().out
        assert main(["servers", "test", "wiki", "--json"]) == 1
    assert "wiki: down\n  down: look\n" in out
    assert "stderr: boom \\u001b[2J" in out
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_difference_is_shown_and_approved(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.catalogue.changes = (changed("time", "now"), changed("time", "zone", "b" * 64))
        assert main(["servers", "diff", "time"]) == 0
        out = capsys.readouterr().out
        assert f"tool time__now  sha256 {'a' * 64}" in out
        assert "  v: added\n    + 2\n" in out
        assert main(["servers", "diff", "time", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["changes"]) == 2
        assert main(["servers", "approve", "time", "now", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"approved": ["time__now"]}
        assert main(["servers", "approve", "time"]) == 0
        assert capsys.readouterr().out == "approved time__zone\n"
        assert main(["servers", "diff", "time"]) == 0
        assert "nothing of time waits" in capsys.readouterr().out


def test_what_was_swapped_after_it_was_read_is_not_approved(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.catalogue.changes = (changed("time", "now"),)
        assert main(["servers", "approve", "time", "--seen", "c" * 64]) == 1
        assert len(hub.parts.catalogue.changes) == 1
    assert "waits for approval" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["test", "diff", "approve"])
def test_a_server_that_does_not_exist_is_told(verb: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir):
        assert main(["servers", verb, "../keys"]) == 1
    assert "mcp-hub: " in capsys.readouterr().err


def test_a_difference_cannot_reach_the_terminal(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = {"description": "Reads."}, {"description": "Reads.\x1b[2J\u202e\n  - harmless"}
    with running(data_dir) as hub:
        hub.parts.catalogue.changes = (replace(changed("time", "now"), old=old, new=new),)
        assert main(["servers", "diff", "time"]) == 0
        out = capsys.readouterr().out
        assert main(["servers", "diff", "time", "--json"]) == 0
    assert out.endswith("  description: changed\n    - Reads.\n    + Reads.\\u001b[2J\\u202e\\n  - harmless\n")
    [change] = json.loads(capsys.readouterr().out)["changes"]
    assert change["new"] == new
    assert [run["mark"] for run in change["diff"]["differences"][0]["words"]] == ["-", "+"]


def test_tools_that_are_like_another_servers_are_warned_of(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alike = Likeness("time", "time__now", "near_name", "wiki__know")
    with running(data_dir) as hub:
        hub.parts.pool.states["time"] = health("time")
        hub.parts.catalogue.alike = (alike,)
        assert main(["servers", "test", "time"]) == 0
        assert "  warning: time__now is one character away from wiki__know\n" in capsys.readouterr().out
        assert main(["servers", "test", "time", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["likenesses"][0]["why"] == "near_name"
        assert main(["servers", "list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["servers"]
        assert {row["id"]: row["warnings"] for row in rows if row["warnings"]} == {"time": 1}
        assert main(["servers", "list"]) == 0
        assert "WARNINGS" in capsys.readouterr().out
