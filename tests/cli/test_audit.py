"""The log from the command line: newest entries, following them over restarts, all of one call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from hub.audit.writer import AuditLog
from hub.cli.main import main
from hub.cli.place import Place
from tests.cli.hub import running


def entry(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "call": f"c{seq}",
        "kind": "call",
        "at": "2026-01-01T00:00:00.000Z",
        "who": "local:client",
        "item": "time__now",
        "outcome": "done",
        **more,
    }


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def write_log(data_dir: Path, acts: int) -> list[str]:
    async def write() -> list[str]:
        data_dir.mkdir(parents=True, exist_ok=True)
        log = AuditLog(data_dir / "audit.db", policy_version="p", hmac_key=b"k" * 32)
        await log.start()
        calls = [await log.event("admin", "local:admin", "done", None, {"act": f"a{n}"}) for n in range(acts)]
        await log.aclose()
        return calls

    return anyio.run(write)


def test_the_newest_entries_come_oldest_first(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.log.entries = [entry(seq) for seq in range(1, 2501)]
        assert main(["audit", "tail", "--limit", "2", "--json"]) == 0
        assert [line["seq"] for line in lines(capsys)] == [2499, 2500]
        assert main(["audit", "tail", "--limit", "2400", "--json"]) == 0
        assert [line["seq"] for line in lines(capsys)] == list(range(101, 2501))
        assert main(["audit", "tail", "--limit", "0", "--json"]) == 0
        assert lines(capsys) == []


def test_without_a_hub_the_file_is_read(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "tail", "--json"]) == 0
    assert lines(capsys) == []
    calls = write_log(data_dir, 2)
    assert main(["audit", "tail", "--json"]) == 0
    found = lines(capsys)
    assert [line["seq"] for line in found] == list(range(1, len(found) + 1))
    assert {"seq", "call", "kind", "at", "who", "item", "outcome"} <= set(found[1])
    assert main(["audit", "show", calls[1], "--json"]) == 0
    assert [line["detail"] for line in lines(capsys)] == [{"act": "a1"}]
    assert main(["audit", "tail"]) == 0
    assert "a1" in capsys.readouterr().out


def test_a_log_that_cannot_be_read_says_so(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir.mkdir(parents=True)
    (data_dir / "audit.db").write_bytes(b"no database at all" * 100)
    assert main(["audit", "tail"]) == 1
    assert "the log cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("hub_runs", [False, True])
def test_a_call_that_nobody_made_is_not_found(
    hub_runs: bool, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if hub_runs:
        with running(data_dir):
            assert main(["audit", "show", "nope\x1b[31m"]) == 1
    else:
        assert main(["audit", "show", "nope\x1b[31m"]) == 1
    told = capsys.readouterr().err
    assert "no entry has the call id nope" in told
    assert "\x1b" not in told


def test_a_refusal_of_another_kind_is_told(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts.log.of_call = lambda call: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        assert main(["audit", "show", "c1"]) == 1
    assert "its own log says why" in capsys.readouterr().err


def test_for_people_each_entry_is_one_line_that_no_caller_can_forge(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        hub.parts.log.entries = [entry(1, item="a\nforged \x1b[2J", ms=12.4), entry(2, item=None, method="tools/list")]
        assert main(["audit", "tail"]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert "a\\u000aforged \\u001b[2J" in first
        assert "12 ms" in first
        assert "tools/list" in second
        assert main(["audit", "show", "c2"]) == 0
        assert "outcome         done" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["-1", "x", "1000001"])
def test_a_limit_that_is_none_is_wrong_usage(limit: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "tail", "--limit", limit]) == 2


def follow(monkeypatch: pytest.MonkeyPatch, *turns: Callable[[], object]) -> None:
    """Run one of `turns` at each pause of the follower, then interrupt it."""
    left = iter(turns)

    def pause(seconds: float) -> None:
        turn = next(left, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    monkeypatch.setattr("hub.cli.audit.time.sleep", pause)


def test_a_follower_survives_the_hubs_restart(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_log(data_dir, 1)
    with running(data_dir) as hub:
        hub.parts.log.entries = [entry(1), entry(2)]
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            monkeypatch.setattr(Place, "running", lambda place: None)

        follow(monkeypatch, lambda: hub.parts.log.entries.append(entry(3)), stop, lambda: write_log(data_dir, 2))
        assert main(["audit", "tail", "--follow", "--limit", "1", "--json"]) == 0
    assert stopped.is_set()
    assert written
    found = [line["seq"] for line in lines(capsys)]
    assert found == list(range(2, len(found) + 2))
    assert len(found) > 3


def test_a_follower_of_an_empty_log_waits(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(monkeypatch, lambda: None)
    assert main(["audit", "tail", "--follow", "--json"]) == 0
    assert lines(capsys) == []


def test_a_hub_that_goes_away_in_mid_question_leaves_the_file(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(data_dir, 1)
    with running(data_dir) as hub:
        gone = hub.run
    monkeypatch.setattr(Place, "running", lambda place: gone)
    assert main(["audit", "tail", "--json", "--limit", "1"]) == 0
    assert len(lines(capsys)) == 1
