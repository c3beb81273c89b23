"""The tokens that people paste."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from hub.cli.main import main


def test_tokens_are_made_once_and_printed(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token"]) == 0
    client = capsys.readouterr().out.strip()
    assert len(client) >= 32
    assert main(["token", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"token": client}
    assert main(["token", "--admin"]) == 0
    assert capsys.readouterr().out.strip() != client
    assert stat.S_IMODE((data_dir / "tokens" / "client").stat().st_mode) == 0o600


def test_the_environments_token_is_printed(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCP_HUB_ADMIN_TOKEN", "a" * 40)
    assert main(["token", "--admin"]) == 0
    assert capsys.readouterr().out.strip() == "a" * 40


@pytest.mark.parametrize("token", ["short", "a" * 600, "ü" * 40])
def test_a_token_that_is_no_good_is_wrong_usage_and_not_told(
    token: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCP_HUB_TOKEN", token)
    assert main(["token"]) == 2
    told = capsys.readouterr()
    assert "MCP_HUB_TOKEN" in told.err
    assert token not in told.err
    assert told.out == ""


def test_a_directory_that_cannot_be_used_is_refused(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir.parent.write_text("a file")
    assert main(["token"]) == 1
    assert "cannot be used" in capsys.readouterr().err
