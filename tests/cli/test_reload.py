from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.admin import reload
from hub.admin.ports import AdminPorts
from hub.cli.main import main
from hub.config_yaml import Fault
from tests.admin.fakes import Parts
from tests.admin.test_reload import Done, Reloads
from tests.cli.hub import running


class Reloading(Parts):
    def __init__(self, done: Done) -> None:
        super().__init__()
        self.reloads = Reloads(done)

    def ports(self, **changes: Any) -> AdminPorts:
        return super().ports(more=reload.operations(self.reloads), **changes)


def test_what_the_reload_changed_is_printed(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts = Reloading(Done(("server a: added\x1b[31m",), (), ("listen changes with a restart",)))
        assert main(["reload"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "server a: added\\u001b[31m",
            "listen changes with a restart",
            "mcpServers.jira: no secret is called k",
        ]
        assert main(["reload", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["restart"] == ["listen changes with a restart"]
        hub.parts = Reloading(Done())
        assert main(["reload"]) == 0
        assert capsys.readouterr().out.startswith("nothing changed\n")


def test_a_file_with_faults_fails_in_words(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.parts = Reloading(Done((), (Fault(3, "results", "must be one of off, warn, strict"),)))
        assert main(["reload"]) == 1
        assert "line 3: results: must be one of" in capsys.readouterr().err


def test_faults_that_the_verb_itself_finds_are_told_whole(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("listen: 5\nresults: odd\n")
    assert main(["reload", "--config", str(path)]) == 2
    err = capsys.readouterr().err
    assert "results" in err
    assert err.rstrip().endswith("A hub that runs goes on with what it has.")


def test_without_a_hub_there_is_nothing_to_reload(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload"]) == 1
    assert "no hub is running" in capsys.readouterr().err
