"""Keys from the command line, with the hub running and without one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hub.admin.audit_file import AuditFile
from hub.cli import stores
from hub.cli.main import main
from hub.cli.place import Place
from hub.running import DataDir
from tests.cli.hub import running


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_without_a_hub_a_key_is_made_listed_revoked_and_logged(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--name", "ci", "--server", "*", "--expires", "30d", "--json"]) == 0
    made = told(capsys)
    assert made["key"].startswith("mhk_")
    assert (made["name"], made["scopes"], made["servers"]) == ("ci", ["mcp"], ["*"])
    assert main(["keys", "list", "--json"]) == 0
    [row] = told(capsys)["keys"]
    assert (row["id"], row["state"]) == (made["id"], "live")
    assert main(["keys", "revoke", "ci", "--json"]) == 0
    assert told(capsys)["revoked_at"]
    assert main(["keys", "list"]) == 0
    assert "revoked" in capsys.readouterr().out
    acts = [(e["who"], e["detail"]["act"]) for e in AuditFile(data_dir / "audit.db").tail(50) if e["kind"] == "admin"]
    assert acts == [("local:admin", "keys.create"), ("local:admin", "keys.revoke")]
    assert made["key"] not in (data_dir / "audit.db").read_bytes().decode("latin-1")


def test_with_a_hub_running_it_is_the_hub_that_makes_keys(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        assert main(["keys", "create", "--name", "ci", "--tool", "time__*", "--scope", "mcp", "--json"]) == 0
        made = told(capsys)
        [row] = hub.parts.keys.rows()
        assert (row.id, row.tools) == (made["id"], ("time__*",))
        assert main(["keys", "list"]) == 0
        assert made["id"] in capsys.readouterr().out
        assert main(["keys", "revoke", made["id"]]) == 0
        assert capsys.readouterr().out == f"revoked ci ({made['id']})\n"
        assert hub.parts.keys.rows()[0].revoked_at is not None
    assert not (data_dir / "hub.db").exists()


def test_for_people_the_key_alone_is_on_standard_output(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "ci", "--tool", "x*"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mhk_")
    assert len(out.split()) == 1
    assert "shown this once" in err


def test_a_key_that_sees_nothing_is_warned_of_on_standard_error(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--name", "ci", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "warnings" not in json.loads(out)
    assert "warning: this key sees nothing" in err


@pytest.mark.parametrize("hub_runs", [False, True])
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["create", "--name", "no blanks"], "letters, digits"),
        (["create", "--name", "x", "--scope", "root"], "audit:read"),
        (["create", "--name", "x", "--expires", "soon"], "30d"),
        (["revoke", "nobody"], "no key 'nobody'"),
        (["rotate", "nobody"], "no key 'nobody'"),
        (["rotate", "nobody", "--overlap", "31d"], "at most 30d"),
    ],
)
def test_what_may_not_be_is_refused_in_words(
    argv: list[str], words: str, hub_runs: bool, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if hub_runs:
        with running(data_dir):
            assert main(["keys", *argv]) == 1
    else:
        assert main(["keys", *argv]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("hub_runs", [False, True])
def test_a_key_is_rotated_and_its_name_revoked_with_both(
    hub_runs: bool, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) if hub_runs else nullcontext():
        assert main(["keys", "create", "--name", "ci", "--tool", "x*", "--expires", "5d", "--json"]) == 0
        old = told(capsys)
        assert main(["keys", "rotate", "ci", "--overlap", "1h", "--json"]) == 0
        new = told(capsys)
        assert (new["replaces"]["id"], new["replaces"]["replaced_by"]) == (old["id"], new["id"])
        assert (new["name"], new["tools"]) == ("ci", ["x*"])
        assert new["key"].startswith("mhk_")
        assert main(["keys", "list"]) == 0
        out, err = capsys.readouterr()
        assert f"by {new['id']}" in out
        assert f"({new['id']}) expires at" in err
        assert f"({old['id']})" not in err
        assert main(["keys", "rotate", old["id"]]) == 1
        assert f"its successor is {new['id']}" in capsys.readouterr().err
        assert main(["keys", "revoke", "ci"]) == 0
        assert capsys.readouterr().out == f"revoked ci ({new['id']})\nrevoked ci ({old['id']})\n"


def test_for_people_the_new_key_alone_is_on_standard_output(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "ci", "--tool", "x*"]) == 0
    capsys.readouterr()
    assert main(["keys", "rotate", "ci", "--expires", "30d"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mhk_")
    assert len(out.split()) == 1
    assert "is good until" in err


def test_a_directory_held_by_another_program_is_refused_with_its_name(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LOCK_S", 0.1)
    held = DataDir(data_dir)
    held.lock("a backup")
    try:
        assert main(["keys", "list"]) == 1
        assert "(a backup)" in capsys.readouterr().err
    finally:
        held.unlock()


def test_a_hub_that_starts_in_between_is_asked(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LOCK_S", 0.1)
    looks = iter([None])
    with running(data_dir) as hub:
        real = Place.running
        monkeypatch.setattr(Place, "running", lambda place: next(looks, hub.run) and real(place))
        assert main(["keys", "list", "--json"]) == 0
    assert told(capsys) == {"keys": []}


def test_a_newer_database_is_refused_in_words(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir.mkdir(parents=True)
    connection = sqlite3.connect(data_dir / "hub.db")
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert main(["keys", "list"]) == 1
    assert "mcp-hub: " in capsys.readouterr().err
