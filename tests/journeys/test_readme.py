"""The README's two commands, as a stranger runs them: a clean clone, an empty HOME, no Node in PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.equipment import ROOT

FIRST_CALL_S: Final = 60.0
INSIDE: Final = "MCP_HUB_README_JOURNEY"  # set while the second command runs: it would run itself for ever

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(INSIDE in os.environ, reason="this is the README's second command running"),
]


def commands() -> tuple[str, str]:
    first, second = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)[:2]
    return first, second


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed or about to be: a clone with the working tree's files laid over it."""
    place = tmp_path_factory.mktemp("readme") / "mcp-hub"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    return place


def environ(home: Path, **more: str) -> dict[str, str]:
    """A machine with Python only: the interpreter of these tests as `python3`, no node, an empty HOME."""
    tools = home / "tools"
    if not tools.exists():
        tools.mkdir(parents=True)
        (tools / "python3").symlink_to(os.path.realpath(sys.executable))
        for folder in ("/usr/bin", "/bin"):
            for program in Path(folder).iterdir():
                mine = tools / program.name
                if (
                    not program.name.startswith(("node", "npm", "npx", "corepack", "python", "pip"))
                    and not mine.exists()
                ):
                    mine.symlink_to(program)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    return {"PATH": str(tools), "HOME": str(home), "LANG": "C.UTF-8", **kept, **more}


@pytest.fixture
def hub(clone: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The first command as it stands; only the port and the data are the test's own, by the hub's own variables."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "hub.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\ndata_dir: {tmp_path / 'data'}\n")
    child = subprocess.Popen(
        ["/bin/sh", "-c", commands()[0]],
        cwd=clone,
        env=environ(tmp_path / "home", MCP_HUB_CONFIG=str(config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate(timeout=10)


def test_the_first_command_leads_to_a_governed_call_within_a_minute(
    hub: subprocess.Popen[str], clone: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    screen = _read_until(hub, "tools call sandbox__query_customer_data", FIRST_CALL_S)
    call = next(line for line in screen.splitlines() if "tools call sandbox__query_customer_data" in line)
    inside = environ(tmp_path / "home", MCP_HUB_CONFIG=str(tmp_path / "hub.yaml"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{call} --json"],
        cwd=clone,
        env=inside,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["structuredContent"]["customer"]["customer_id"] == "C-1001"
    assert time.monotonic() - began <= FIRST_CALL_S

    tail = subprocess.run(
        [str(clone / ".venv/bin/mcp-hub"), "audit", "tail", "--json"],
        cwd=clone, env=inside, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    entries = [json.loads(line) for line in tail.stdout.splitlines()]
    assert ("call", "sandbox__query_customer_data", "done") in [(e["kind"], e["item"], e["outcome"]) for e in entries]

    again = subprocess.run(
        ["/bin/sh", "-c", commands()[0]], cwd=clone, env=inside, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "running" in again.stdout


def test_the_second_command_passes_the_tests(clone: Path, tmp_path: Path) -> None:
    inside = environ(tmp_path / "home", **{INSIDE: "1"})
    done = subprocess.run(
        ["/bin/sh", "-c", commands()[1]],
        cwd=clone,
        env=inside,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped for want of equipment: node" in done.stdout


def _read_until(child: subprocess.Popen[str], words: str, within_s: float) -> str:
    assert child.stdout is not None
    end = time.monotonic() + within_s
    seen = ""
    while words not in seen:
        assert time.monotonic() < end, seen
        line = child.stdout.readline()
        assert line, f"the first command ended: {seen}"
        seen += line
    return seen
