"""`serve` and `up`: what they hand to the hub, what they print, and every way in which they do not start."""

from __future__ import annotations

import json
import logging
import os
import shlex
import socket
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.cli import up
from hub.cli.main import main
from hub.config import Config
from hub.core.errors import HubError
from hub.running import Held, Run
from tests.cli.hub import running

RUN = Run(4321, "http://127.0.0.1:8799/mcp", "127.0.0.1", 8799, 1, "s", "0", "t")


@dataclass
class Assembly:
    """Stands for `hub.assembly`: notes what it is given, announces, ends."""

    failure: Exception | None = None
    given: list[tuple[Config, bool, float | None]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    async def serve(
        self,
        config: Config,
        *,
        announce: Callable[[Run], None],
        sandbox: bool = False,
        idle_exit_s: float | None = None,
    ) -> int:
        self.given.append((config, sandbox, idle_exit_s))
        self.before()
        if self.failure is not None:
            raise self.failure
        announce(RUN)
        return 0


@pytest.fixture
def assembly(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Assembly]:
    made = Assembly()
    module: Any = types.ModuleType("hub.assembly")
    module.serve = made.serve
    monkeypatch.setitem(sys.modules, "hub.assembly", module)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield made
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)


def test_serve_prints_the_bound_address_on_one_line(assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--listen", "127.0.0.1:0"]) == 0
    assert capsys.readouterr().out == "mcp-hub serves http://127.0.0.1:8799/mcp (process 4321)\n"
    [(config, sandbox, idle_exit_s)] = assembly.given
    assert (config.listen.port, sandbox, idle_exit_s) == (0, False, None)


def test_serve_warns_of_what_others_may_read(assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hub.yaml").write_text("mcpServers: {a: {command: x, env: {API_TOKEN: s3cret}}}")
    Path("hub.yaml").chmod(0o644)
    assert main(["serve"]) == 0
    err = capsys.readouterr().err
    assert "warning: " in err
    assert "s3cret" not in err


def test_serve_needs_its_servers_secrets(assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hub.yaml").write_text("mcpServers: {a: {command: x, env: {KEY: env:MISSING_KEY}}}")
    assert main(["serve"]) == 2
    assert "MISSING_KEY is not set" in capsys.readouterr().err
    assert main(["token"]) == 0


@pytest.mark.parametrize(
    "failure",
    [Held(Path("/d"), 7, "x"), HubError("the log is damaged"), OSError(28, "no space left")],
)
def test_a_start_that_is_refused_exits_1_in_words(
    failure: Exception, assembly: Assembly, capsys: pytest.CaptureFixture[str]
) -> None:
    assembly.failure = failure
    assert main(["serve"]) == 1
    assert str(failure) in capsys.readouterr().err


@pytest.mark.parametrize(("token", "status"), [("short", 2), ("ü" * 40, 2)])
def test_a_token_that_is_no_good_starts_nothing(
    token: str, status: int, assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_HUB_TOKEN", token)
    assert main(["serve"]) == status
    assert assembly.given == []


def test_a_directory_that_cannot_be_used_starts_nothing(data_dir: Path, assembly: Assembly) -> None:
    data_dir.parent.write_text("a file")
    assert main(["serve"]) == 1
    assert assembly.given == []


def test_a_second_serve_names_the_first(data_dir: Path, assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        assert main(["serve"]) == 1
    assert f"{hub.run.url} (process {os.getpid()})" in capsys.readouterr().err
    assert assembly.given == []


def test_a_background_hub_runs_the_sandbox_and_leaves_when_idle(assembly: Assembly) -> None:
    assert main(["serve", "--background"]) == 0
    assert [(sandbox, idle) for _, sandbox, idle in assembly.given] == [(True, 600.0)]


def test_a_background_hub_of_a_configuration_runs_what_it_says(assembly: Assembly) -> None:
    Path("own.yaml").write_text("listen: 127.0.0.1:0")
    assert main(["serve", "--background", "--config", "own.yaml"]) == 0
    assert assembly.given[0][1] is False


def test_a_background_hub_does_not_fail_for_a_busy_port(assembly: Assembly) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--background", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]) == 0
    assert assembly.given[0][0].listen.port == 0


def test_a_background_hub_with_a_wrong_address_is_refused_by_its_start(assembly: Assembly) -> None:
    assert main(["serve", "--background", "--listen", "192.0.2.1:1"]) == 0
    assert assembly.given[0][0].listen.host == "192.0.2.1"


def test_up_shows_the_endpoint_a_block_for_each_client_and_a_first_call(
    assembly: Assembly, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("hub.yaml").write_text("listen: 127.0.0.1:0")
    assert main(["up"]) == 0
    out = capsys.readouterr().out
    assert assembly.given[0][1] is True
    assert main(["token"]) == 0
    token = capsys.readouterr().out.strip()
    assert f"endpoint  {RUN.url}" in out
    blocks = [part.split("\n", 2) for part in out.rstrip().split("\n\n")]
    told = {title: body for title, _, body in blocks}
    desktop = json.loads(told["Claude Desktop: claude_desktop_config.json"])["mcpServers"]["mcp-hub"]
    assert Path(desktop["command"]).is_absolute()
    assert desktop["args"][-3:] == ["stdio", "--config", str(Path("hub.yaml").absolute())]
    code = json.loads(told["VS Code: .vscode/mcp.json"])["servers"]["mcp-hub"]
    assert code == {"type": "http", "url": RUN.url, "headers": {"Authorization": f"Bearer {token}"}}
    assert json.loads(told["Cursor: ~/.cursor/mcp.json"])["mcpServers"]["mcp-hub"]["url"] == RUN.url
    words = shlex.split(told["Claude Code: run"])
    assert words == [
        *["claude", "mcp", "add", "--transport", "http", "mcp-hub"],
        RUN.url,
        "--header",
        f"Authorization: Bearer {token}",
    ]
    call = shlex.split(told["A first call, in a second terminal"])
    assert "sandbox__query_customer_data" in call
    assert json.loads(call[call.index("--args") + 1]) == {"customer_id": "C-1001"}


def test_up_leaves_the_screen_to_its_reader(assembly: Assembly) -> None:
    assert main(["up"]) == 0
    assert logging.getLogger().level == logging.WARNING
    Path("hub.yaml").write_text("log: {level: debug}")
    assert main(["up"]) == 0
    assert logging.getLogger().level == logging.DEBUG


def test_a_second_up_says_that_the_hub_runs(
    data_dir: Path, assembly: Assembly, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        assert main(["up"]) == 0
    assert f"is running at {hub.run.url} (process {os.getpid()})" in capsys.readouterr().out
    assert assembly.given == []


def test_an_up_that_was_slower_than_another_says_so_too(
    data_dir: Path, assembly: Assembly, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assembly.failure = Held(data_dir, 7, "x")
    looks = iter([None])
    monkeypatch.setattr("hub.cli.place.read_run", lambda where: next(looks, RUN))
    assert main(["up"]) == 0
    assert "is running at" in capsys.readouterr().out


def test_an_up_that_is_refused_exits_1(assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
    assembly.failure = Held(Path("/d"), 7, "a backup")
    assert main(["up"]) == 1
    assert "process 7 (a backup)" in capsys.readouterr().err


def test_the_command_that_clients_start_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "mcp-hub"
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["./mcp-hub"])
    assert up.own_command() == (str(script),)
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert up.own_command() == (str(script),)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert up.own_command() == (str(script),)
    monkeypatch.setenv("PATH", "")
    assert up.own_command() == ("/nowhere/python", "-m", "hub.cli.main")
