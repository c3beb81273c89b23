"""Endpoints from the command line: the same words with a hub that runs and without one."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.admin.audit_file import AuditFile
from hub.cli.main import main
from hub.core.ports import RegistryRow
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.registry import SqliteRegistry
from tests.admin.endpoint_parts import World
from tests.cli.hub import FakeHub, running

CONFIG = """mcpServers:
  time: {command: uvx, args: [mcp-server-time], env: {KEY: "env:NOT_SET_HERE"}}
  wiki: {url: "https://x.example/mcp"}
endpoints: {/clock/mcp: {servers: [time], prefix: none}}
"""


@pytest.fixture
def config(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "hub.yaml"
    path.write_text(f"data_dir: {data_dir}\n{CONFIG}")
    return path


@pytest.fixture(params=["running", "stopped"])
def hub(request: pytest.FixtureRequest, config: Path, data_dir: Path, tmp_path: Path) -> Iterator[FakeHub | None]:
    if request.param == "stopped":
        yield None
        return
    with running(data_dir) as fake:
        fake.parts = World(tmp_path).parts()
        yield fake


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main(["endpoints", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_endpoint_is_made_shown_replaced_and_removed(
    hub: FakeHub | None, data_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "words.md").write_text("Ask in English.\n")
    argv = ["add", "x", "--server", "time", "--tool", "time__*", "--read-only", "--page-size", "7"]
    made = said(capsys, *argv, "--instructions-file", "words.md")
    assert (made["path"], made["servers"], made["tools"]) == ("/x/mcp", ["time"], ["time__*"])
    assert (made["read_only"], made["page_size"], made["instructions"]) == (True, 7, "Ask in English.")
    assert (made["provenance"], made["version"]) == ("database", 1)
    assert main(["endpoints", "add", "/x/mcp"]) == 1
    assert "/x/mcp is there already" in capsys.readouterr().err
    replaced = said(capsys, "add", "/x/mcp", "--server", "time", "--prefix", "none", "--replace")
    assert (replaced["version"], replaced["prefix"], replaced["tools"]) == (2, "none", None)
    assert said(capsys, "show", "x") == replaced
    paths = [row["path"] for row in said(capsys, "list")["endpoints"]]
    assert paths == ["/clock/mcp", "/mcp", "/x/mcp"]
    assert said(capsys, "remove", "x") == {"removed": "/x/mcp"}
    assert main(["endpoints", "show", "x"]) == 1
    assert "no endpoint is called 'x'" in capsys.readouterr().err
    if hub is not None:
        acts = [event[3]["act"] for event in hub.parts.journal.events]
    else:
        entries = AuditFile(data_dir / "audit.db").tail(100)
        acts = [entry["detail"]["act"] for entry in entries if entry["kind"] == "admin"]
    assert acts == ["endpoints.add", "endpoints.replace", "endpoints.remove"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["add", "x", "--server", "nobody"], "'nobody' is not in mcpServers"),
        (["add", "x", "--prefix", "none"], "exactly one server"),
        (["add", "clock"], "there already"),
        (["add", "clock", "--replace"], "configuration file"),
        (["add", "nope", "--replace"], "no endpoint is called"),
        (["remove", "clock"], "configuration file"),
        (["remove", "/mcp"], "comes with the hub"),
    ],
)
def test_what_may_not_be_is_refused_in_words(
    hub: FakeHub | None, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["endpoints", *argv]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["NO", "../keys", "", "/a/b/mcp", "/x/sse", "x" * 41, "a\x1b"])
def test_a_name_that_no_endpoint_may_have_is_wrong_usage(
    config: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (["add"], ["show"], ["remove"]):
        assert main(["endpoints", *argv, name]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_what_an_endpoint_costs_and_its_warnings_are_told(
    config: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        hub.parts = World(tmp_path).parts()
        assert main(["endpoints", "add", "x", "--server", "time", "--tool", "time__get_*", "--tool", "a\x1b__*"]) == 0
        out, err = capsys.readouterr()
        assert main(["endpoints", "list"]) == 0
        table = capsys.readouterr().out
    assert "offers        1 tools, 1 prompts\n" in out
    assert "bytes of tools, roughly" in out
    assert "warning: the pattern a\\u001b__* matches no tool" in err
    rows = {line.split()[0]: line.split() for line in table.splitlines()}
    assert rows["/x/mcp"][1:3] == ["database", "time"]
    assert rows["PATH"][-1] == "~TOKENS"


def test_without_a_hub_nothing_is_counted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["endpoints", "show", "/mcp"]) == 0
    out, err = capsys.readouterr()
    assert "from          default" in out
    assert "start the hub to see what it offers" in err
    assert main(["endpoints", "list"]) == 0
    assert "/clock/mcp  file" in capsys.readouterr().out


def test_servers_added_at_run_time_are_known_without_a_hub(
    config: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def store() -> None:
        database = await open_database(data_dir / "hub.db")
        try:
            registry = SqliteRegistry(database)
            for kind, id, body in (
                ("server", "added", {"command": "x", "env": {"K": "secret:NOT_SET"}}),
                ("endpoint", "lost", {"servers": ["gone"], "read_only": True}),
            ):
                await registry.put(RegistryRow("local", kind, id, body, 1, "t", "t", "local:admin"), None)  # type: ignore[arg-type]
        finally:
            await database.aclose()

    data_dir.mkdir(parents=True)
    asyncio.run(store())
    assert said(capsys, "add", "x", "--server", "added")["servers"] == ["added"]
    assert main(["endpoints", "list"]) == 0
    assert "/lost/mcp   not in force" in capsys.readouterr().out
    assert main(["endpoints", "show", "lost"]) == 0
    assert "not in force" in capsys.readouterr().err
    assert said(capsys, "remove", "lost") == {"removed": "/lost/mcp"}


@pytest.mark.parametrize(
    ("data", "words"),
    [(None, "No such file"), (b"\xff", "not UTF-8"), (b" \n", "1 to 32768"), (b"x" * 40_000, "1 to 32768")],
)
def test_instructions_that_cannot_be_read_are_wrong_usage(
    config: Path, tmp_path: Path, data: bytes | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if data is not None:
        (tmp_path / "words").write_bytes(data)
    assert main(["endpoints", "add", "x", "--instructions-file", "words"]) == 2
    assert words in capsys.readouterr().err


def test_instructions_are_read_from_standard_input(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"From a pipe.\n")))
    assert said(capsys, "add", "x", "--server", "*", "--instructions-file", "-")["instructions"] == "From a pipe."
