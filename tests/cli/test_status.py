"""How the hub does, once and live; and the level of its log."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.admin import log_level, traffic
from hub.admin.ports import AdminPorts
from hub.admin.recent import Recent
from hub.cli import status
from hub.cli.failure import Failed
from hub.cli.hub_client import HubGone
from hub.cli.main import main
from tests.admin.fakes import Parts, health
from tests.cli.hub import running

STARTED = "2026-01-01T00:00:00Z"


class Watched(Parts):
    def ports(self, **changes: Any) -> AdminPorts:
        recent = Recent()
        recent.answered("time", "done", 0.02)
        recent.answered("time", "denied", 0.04)
        self.pool.states = {"time": health("time"), "wiki": health("wiki", "down", reason="refused\x1b[31m")}
        more = (
            *traffic.operations("1.2.3", STARTED, self.pool.health, recent),
            *log_level.operations(self.journal),
        )
        return super().ports(more=more, **changes)


def interrupted_after(turns: int) -> Callable[[float], None]:
    left = turns

    def sleep(seconds: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    return sleep


def test_servers_calls_denials_and_times_are_shown(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts = Watched()
        assert main(["status"]) == 0
        out = capsys.readouterr().out
        assert main(["status", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
    lines = out.splitlines()
    assert lines[0] == f"mcp-hub 1.2.3 at {hub.run.url} (process {hub.run.pid})"
    assert lines[2] == "servers: 1 down, 1 ready"
    assert [line.split() for line in lines[5:]] == [
        ["time", "ready", "2", "1", "0", "2", "20.0", "40.0", "-"],
        ["wiki", "down", "0", "0", "0", "0", "-", "-", "refused\\u001b[31m"],
        ["all", "-", "2", "1", "0", "2", "20.0", "40.0", "with", "lists"],
    ]
    assert (told["running"], told["total"]["calls"]) == (True, 2)


def test_without_a_hub_it_says_so_and_starts_none(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert capsys.readouterr().out == f"no hub runs on {data_dir}; start one: mcp-hub serve\n"
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": False, "data_dir": str(data_dir)}
    assert not data_dir.exists()


def test_where_nobody_looks_each_second_is_a_line_of_json_through_restarts(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.cli.status.time.sleep", interrupted_after(2))
    with running(data_dir) as hub:
        hub.parts = Watched()
        assert main(["status", "--watch"]) == 0
    monkeypatch.setattr("hub.cli.status.time.sleep", interrupted_after(1))
    assert main(["status", "--watch", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["running"] for line in lines] == [True, True, False]
    assert all(datetime.fromisoformat(line["at"]).tzinfo is UTC for line in lines)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_is_drawn_anew_within_the_screen(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("hub.cli.status.time.sleep", interrupted_after(2))
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 6)))
    with running(data_dir) as hub:
        hub.parts = Watched()
        assert main(["status", "--watch"]) == 0
    first, second = screen.getvalue().split("\x1b[H\x1b[2J")[1:]
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    status._redraw(["one", "two"])
    assert screen.getvalue().endswith("\x1b[2Jone\ntwo\n")
    for drawn in (first, second):
        lines = drawn.splitlines()
        assert len(lines) == 5
        assert all(len(line) <= 30 for line in lines)
        assert lines[0].endswith("…")
        assert lines[-1] == "... 4 more lines"


def test_a_hub_that_cannot_answer_is_no_end_of_watching(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Failed] = [HubGone("it went"), Failed("it answered 500")]

    def api(*args: Any) -> Any:
        raise failures.pop(0)

    monkeypatch.setattr(status, "api", api)
    monkeypatch.setattr("hub.cli.status.time.sleep", interrupted_after(2))
    with running(data_dir):
        assert main(["status", "--watch"]) == 0
    gone, failed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (gone["running"], failed["running"], failed["error"]) == (False, False, "it answered 500")
    assert status.lines_of(failed, datetime.now(UTC)) == ["it answered 500"]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-01-01T00:00:05Z", "5s"),
        ("2026-01-01T00:05:06Z", "5m 6s"),
        ("2026-01-01T04:00:06Z", "4h 0m"),
        ("2026-01-04T04:05:06Z", "3d 4h"),
        ("2026-01-31T00:00:00Z", "30d 0h"),
        ("2025-12-31T00:00:00Z", "0s"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(now: str, words: str) -> None:
    assert status._since(STARTED, datetime.fromisoformat(now)) == words


def test_the_last_reload_is_told() -> None:
    nothing = {"calls": 0, "denied": 0, "errors": 0}
    total = {**nothing, "last_minute": {**nothing, "p50_ms": None, "p95_ms": None}}
    who = {"running": True, "version": "1", "url": "u", "pid": 1, "started_at": STARTED}
    told = {**who, "trouble": ["a: b"], "servers": [], "total": total}
    now = datetime.fromisoformat("2026-01-01T00:05:06Z")
    lines = status.lines_of({**told, "reloaded_at": "2026-01-01T00:05:00Z"}, now)
    assert lines[1:4] == ["up 5m 6s, configuration read 6s ago", "servers: none", "not in force: a: b"]
    assert "read at the start" in status.lines_of({**told, "reloaded_at": None}, now)[1]
    lines = status.lines_of({**told, "reloaded_at": None, "trouble": ["line 3: results: must be\x1b[31m"]}, now)
    assert lines[3] == "not in force: line 3: results: must be\\u001b[31m"


def test_the_level_of_the_log_is_shown_and_changed(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel("WARNING")
    try:
        with running(data_dir) as hub:
            hub.parts = Watched()
            assert main(["log-level"]) == 0
            assert main(["log-level", "error"]) == 0
            assert main(["log-level", "--json"]) == 0
            assert root.level == logging.ERROR
            assert [detail["act"] for _, _, _, detail in hub.parts.journal.events] == ["log_level.set"]
    finally:
        root.setLevel(before)
    shown, changed, *rest = capsys.readouterr().out.splitlines()
    assert (shown, changed) == ("warning", "warning -> error, until the next start")
    assert json.loads("".join(rest)) == {"level": "error"}


def test_a_level_needs_a_hub_and_a_known_word(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log-level", "debug"]) == 1
    assert "log: {level: LEVEL}" in capsys.readouterr().err
    assert main(["log-level", "loud"]) == 2
