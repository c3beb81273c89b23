"""What is rendered is tight, is what its program reads, and says nothing that is not so."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub.cli.main import main
from hub.cli.render import COMPOSE, SYSTEMD, rendered
from hub.config import load
from hub.running import read_run

UNIT = {"program": "/p", "config": "/c", "user": "DynamicUser=yes", "write_execute": "yes"}


def files(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(capsys.readouterr().out)["files"]
    return found


def unit(text: str) -> dict[str, list[str]]:
    """Keys and values of a unit file, sections aside."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_is_tight(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "systemd", "--json"]) == 0
    [(name, text)] = files(capsys).items()
    said = unit(text)
    assert name == "mcp-hub.service"
    assert said["ExecStart"] == ["/opt/mcp-hub/bin/mcp-hub serve --config /etc/mcp-hub/hub.yaml"]
    assert said["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    wanted = {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "PrivateTmp": "yes",
        "MemoryDenyWriteExecute": "yes",
        "StateDirectory": "mcp-hub",
        "UMask": "0077",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
        "SystemCallFilter": "@system-service",
        "RestrictNamespaces": "yes",
    }
    assert {key: said[key] for key in wanted} == {key: [value] for key, value in wanted.items()}
    assert "$" not in text.replace("$MAINPID", "")


@pytest.mark.parametrize(("command", "allowed"), [("npx", "no"), ("uvx", "yes"), ("/usr/bin/python3.12", "yes")])
def test_memory_that_is_written_and_run_is_denied_where_the_servers_allow_it(
    command: str, allowed: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.json").write_text(json.dumps({"mcpServers": {"a": {"command": command}}}))
    assert main(["render", "systemd", "--config", "hub.json", "--json"]) == 0
    assert unit(files(capsys)["mcp-hub.service"])["MemoryDenyWriteExecute"] == [allowed]


def test_a_named_user_and_an_odd_path_are_taken_literally(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["render", "systemd", "--user", "hub", "--program", '/opt/my "hub" 5%/$x\\mcp-hub', "--json"]
    assert main(argv) == 0
    said = unit(files(capsys)["mcp-hub.service"])
    assert said["User"] == ["hub"]
    assert "DynamicUser" not in said
    assert said["ExecStart"] == [r'"/opt/my \"hub\" 5%%/$$x\\mcp-hub" serve --config /etc/mcp-hub/hub.yaml']


@pytest.mark.parametrize(
    "argv",
    [
        ["systemd", "--user", "root\nExecStart=/bin/evil"],
        ["systemd", "--program", "mcp-hub"],
        ["systemd", "--program", "/opt/a\nb"],
        ["compose", "--config", "port.yaml"],
        ["kubernetes"],
    ],
)
def test_what_would_break_the_file_is_refused(
    argv: list[str], data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "port.yaml").write_text("listen: 127.0.0.1:0\n")
    assert main(["render", *argv]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("user", ["DynamicUser=yes", "User=daemon"])
def test_systemd_itself_finds_nothing_wrong(user: str, tmp_path: Path) -> None:
    """Where there is no systemd, the keys are still known ones."""
    text = rendered(SYSTEMD, {**UNIT, "program": sys.executable, "user": user})["mcp-hub.service"]
    path = tmp_path / "mcp-hub.service"
    path.write_text(text)
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        done = subprocess.run((verify, "verify", str(path)), capture_output=True, text=True, timeout=30)
        complaints = [line for line in done.stderr.splitlines() if "mcp-hub.service" in line]
        assert (done.returncode, complaints) == (0, [])
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", key) for key in unit(text))


def test_the_container_is_tight(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "compose", "--json"]) == 0
    found = files(capsys)
    assert sorted(found) == sorted(COMPOSE)
    said: dict[str, Any] = YAML(typ="safe").load(found["compose.yaml"])
    hub = said["services"]["hub"]
    assert hub["read_only"] is True
    assert hub["cap_drop"] == ["ALL"]
    assert hub["security_opt"] == ["no-new-privileges:true"]
    assert hub["tmpfs"][0].startswith("/tmp:")
    assert hub["ports"] == ["127.0.0.1:8700:8700"]
    assert "http://127.0.0.1:8700/health" in hub["healthcheck"]["test"][-1]
    assert hub["volumes"][0] == "data:/data"
    assert "data" in said["volumes"]
    assert "privileged" not in hub
    assert "\nUSER hub\n" in found["Dockerfile"]
    assert 'ENTRYPOINT ["mcp-hub"]' in found["Dockerfile"]
    assert '"$MCP_HUB"' in found["Dockerfile"]


def test_the_rendered_configuration_loads_and_its_port_is_everywhere(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.yaml").write_text("listen: 127.0.0.1:9999\n")
    assert main(["render", "compose", "--out", "made"]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == list(COMPOSE)
    config = load(tmp_path / "made" / "hub.yaml", {"XDG_DATA_HOME": "/data"})
    assert (config.listen.host, config.listen.port, str(config.data_dir)) == ("0.0.0.0", 9999, "/data/mcp-hub")
    for name in COMPOSE:
        text = (tmp_path / "made" / name).read_text()
        assert "9999" in text
        assert "8700" not in text


def test_files_that_differ_are_not_replaced_and_nothing_else_is_written(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "hub.yaml").write_text("mine: 1\n")
    assert main(["render", "compose", "--out", "made"]) == 1
    assert "exists and differs" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["hub.yaml"]
    (tmp_path / "made" / "hub.yaml").write_bytes(b"\xff\xfe")
    assert main(["render", "compose", "--out", "made"]) == 1
    assert "other things than text" in capsys.readouterr().err


def test_rendering_again_changes_nothing(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "systemd", "--out", "made"]) == 0
    before = (tmp_path / "made" / "mcp-hub.service").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["render", "systemd", "--out", "made", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == []
    assert main(["render", "systemd", "--out", "made"]) == 0
    assert "there already" in capsys.readouterr().err
    assert (tmp_path / "made" / "mcp-hub.service").stat().st_mtime_ns == before


def test_a_place_that_cannot_be_written_is_told(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["render", "systemd", "--out", "file/made"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_for_people_the_files_come_one_after_the_other(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "systemd"]) == 0
    assert capsys.readouterr().out.startswith("# The hub as a systemd unit")
    assert main(["render", "compose"]) == 0
    assert re.findall(r"^# ---- (.*)$", capsys.readouterr().out, re.MULTILINE) == list(COMPOSE)


DENIED = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE: as MemoryDenyWriteExecute=yes does, for all that follows
os.execv(sys.executable, [sys.executable, "-m", "hub.cli.main", *sys.argv[1:]])
"""


def test_the_hub_and_a_python_server_run_where_written_memory_is_never_run(data_dir: Path, tmp_path: Path) -> None:
    child = {"command": sys.executable, "args": ["-c", "import time; time.sleep(60)"]}
    settings = {"listen": "127.0.0.1:0", "data_dir": str(data_dir), "mcpServers": {"a": child}}
    (tmp_path / "hub.json").write_text(json.dumps(settings))
    argv = (sys.executable, "-c", DENIED, "serve", "--config", str(tmp_path / "hub.json"))
    hub = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        while (run := read_run(data_dir)) is None and hub.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert run is not None
    finally:
        hub.terminate()
        assert hub.wait(15) == 0


def test_the_health_check_of_the_container_finds_the_hub_that_its_configuration_makes(
    data_dir: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, text in rendered(COMPOSE, {"port": str(port)}).items():
        (tmp_path / name).write_text(text)
    check = YAML(typ="safe").load(tmp_path / "compose.yaml")["services"]["hub"]["healthcheck"]["test"]
    assert check[:2] == ["CMD", "python"]
    argv = (sys.executable, "-m", "hub.cli.main", "serve", "--config", str(tmp_path / "hub.yaml"))
    hub = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        while read_run(data_dir) is None and hub.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert subprocess.run((sys.executable, *check[2:]), timeout=10).returncode == 0
    finally:
        hub.terminate()
        assert hub.wait(15) == 0
    assert subprocess.run((sys.executable, *check[2:]), capture_output=True, timeout=10).returncode != 0
