"""Backup and restore from the command line, with the hub running and without one."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub.admin import archive, backup, backups
from hub.admin.ports import AdminPorts
from hub.cli.main import main
from hub.running import DataDir
from tests.admin import data
from tests.admin.fakes import Parts
from tests.cli.hub import running


class WithBackups(Parts):
    def ports(self, **changes: Any) -> AdminPorts:
        return super().ports(more=backups.operations(self.journal), **changes)


def made(data_dir: Path) -> None:
    data_dir.parent.mkdir(parents=True)
    asyncio.run(data.made(data_dir))


def test_a_stopped_hub_is_backed_up_noted_and_restored(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(data_dir)
    assert main(["backup", "b.tar.gz", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["logged"], told["secrets"]) == (str(tmp_path / "b.tar.gz"), True, True)
    assert told["bytes"] == (tmp_path / "b.tar.gz").stat().st_size
    assert data.acts(data_dir / "audit.db")[-1] == "backups.record"
    assert main(["restore", "b.tar.gz", "--into", "new", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)
    assert back["data_dir"] == str(tmp_path / "new")
    assert back["audit"]["head"] == told["audit"]["head"]
    assert (tmp_path / "new" / "kek").read_bytes() == data.KEK
    DataDir(data_dir).lock("the next", 0.1)  # nobody holds it any more


def test_people_are_told_what_the_file_is_and_what_to_do_with_it(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(data_dir)
    (tmp_path / "hub.yaml").write_text(f"data_dir: {data_dir}\n")
    assert main(["backup", "b.tar.gz"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'b.tar.gz'}: ")
    assert "the log to entry 7" in out
    assert "it holds its keys" in err
    assert f"the configuration {tmp_path / 'hub.yaml'} is not in it" in err
    assert main(["restore", "b.tar.gz", "--into", "new"]) == 0
    out, err = capsys.readouterr()
    assert "7 entries of the log checked" in out
    assert f"set data_dir: {tmp_path / 'new'}" in err
    (tmp_path / "hub.yaml").write_text("data_dir: again\n")
    assert main(["restore", "b.tar.gz", "--into", "again"]) == 0
    assert "start the hub: mcp-hub serve" in capsys.readouterr().err
    (tmp_path / "hub.yaml").write_text("data_dir: [wrong")
    assert main(["restore", "b.tar.gz", "--into", "once-more"]) == 0
    assert "set data_dir: " in capsys.readouterr().err


def test_what_has_to_be_set_again_is_named_on_both_ways(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(data_dir)
    assert main(["backup", "b.tar.gz", "--without-secrets"]) == 0
    assert "mcp-hub secrets set WIKI_TOKEN" in capsys.readouterr().err
    assert main(["restore", "b.tar.gz", "--into", "new"]) == 0
    err = capsys.readouterr().err
    assert "set again: mcp-hub secrets set WIKI_TOKEN" in err
    assert "new ones, which every client has to be given" in err


def test_a_running_hub_is_backed_up_and_notes_it_itself(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(data_dir)
    with running(data_dir) as hub:
        hub.parts = WithBackups()
        assert main(["backup", "b.tar.gz", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        [(_, who, _, detail)] = hub.parts.journal.events
    assert (who, detail["act"], detail["after"]["seq"]) == ("local:admin", "backups.record", 7)
    assert told["logged"] is True
    assert "backups.record" not in data.acts(data_dir / "audit.db")


def test_a_backup_that_cannot_be_noted_is_kept_and_says_so(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(data_dir)
    with running(data_dir) as hub:
        hub.parts = WithBackups()
        hub.parts.journal.broken = True
        assert main(["backup", "b.tar.gz", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["logged"] is False
    assert "the backup is made, but the log does not tell of it" in err
    assert (tmp_path / "b.tar.gz").exists()


def test_a_directory_that_another_verb_holds_is_backed_up_all_the_same(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(data_dir)
    monkeypatch.setattr("hub.cli.backup.LOCK_S", 0.1)
    held = DataDir(data_dir)
    held.lock("another verb")
    try:
        assert main(["backup", "b.tar.gz"]) == 0
    finally:
        held.unlock()
    assert "is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["backup", "b.tar.gz"], 1, "no hub was ever started on it"),
        (["backup"], 2, "FILE"),
        (["backup", "b.tar.gz", "--config", "no.yaml"], 2, "no.yaml"),
        (["restore", "b.tar.gz", "--into", "new"], 1, "there is no backup at b.tar.gz"),
        (["restore", "b.tar.gz"], 2, "--into"),
    ],
)
def test_what_cannot_be_done_is_told(
    argv: list[str], status: int, words: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == status
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_acts_that_may_be_missing_are_told(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(data_dir)
    real = backup._copy_hub

    def copied(source: Path, folder: Path, secrets: bool) -> list[str]:
        found = real(source, folder, secrets)
        asyncio.run(data.written(source, 1))
        return found

    monkeypatch.setattr(backup, "_copy_hub", copied)
    assert main(["backup", "b.tar.gz"]) == 0
    assert main(["restore", "b.tar.gz", "--into", "new"]) == 0
    assert "the log's last 3 entries were written during the backup" in capsys.readouterr().err


def test_the_commands_of_the_page_do_what_it_says(data_dir: Path, tmp_path: Path) -> None:
    made(data_dir)
    page = Path(archive.__file__).resolve().parents[1] / "docs" / "rescue.md"
    commands = re.findall(r"^mcp-hub ((?:backup|restore) .*)$", page.read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["backup", "restore"]
    for command in commands:
        words = [re.sub(r"^/backups/.*gz$", "b.tar.gz", word) for word in re.sub(r"\$\(.*?\)", "now", command).split()]
        assert main([re.sub(r"^/var/lib/", "", word) for word in words]) == 0
    assert (tmp_path / "mcp-hub-restored" / "hub.db").exists()
