"""Every page of the docs, followed from its first block to its last by somebody who has nothing but this page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.lacking import lack
from tests.equipment import ROOT
from tests.journeys.pages import Step, missing, steps
from tests.journeys.terminal import USUAL, Terminal

DOCS: Final = ROOT / "hub" / "docs"
FIRST: Final = DOCS / "first-ten-minutes.md"
TWO: Final = """
mcpServers:
  time: {command: uvx, args: [mcp-server-time==2025.9.25]}
  wiki: {command: uvx, args: [mcp-wiki==1.0.0]}
"""
FOLLOWED: Final = (
    *("api", "audit", "clients", "endpoints", "keys", "logging-in", "operating", "rescue", "secrets", "servers"),
)


def follow(terminal: Terminal, todo: tuple[Step, ...]) -> None:
    printed = ""
    for step in todo:
        match step.act:
            case "file":
                terminal.save(step.name, step.text)
            case "prints":
                wanted = step.text.replace(USUAL, terminal.address)
                assert missing(wanted, printed) is None, f"{missing(wanted, printed)}\n\nis not in\n\n{printed}"
            case "run":
                status, printed = terminal.type(step.text)
                assert status == step.status, f"{step.text}\n{printed}"
            case "hub":
                pytest.fail("only the first page starts the hub")


@pytest.fixture(autouse=True)
def _curl() -> None:
    """The pages show the hub's HTTP side with it, and people have it."""
    if shutil.which("curl") is None:
        lack("curl is not on PATH: the pages that use it are not followed")


def first_command() -> str:
    found = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_first_ten_minutes_pass_as_they_are_written(tmp_path: Path) -> None:
    """What installs the hub is the README's first command, which `test_readme.py` runs in a clean clone."""
    terminal = Terminal(tmp_path / "home")
    start, *todo = steps(FIRST.read_text())
    assert (start.act, start.text) == ("hub", first_command())
    config = tmp_path / "hub.yaml"  # named by the hub's own variable: the port and the data are the test's own
    terminal.configure(config)
    up = start.text.rpartition("&& ")[2].strip()
    with terminal.hub(up, {"MCP_HUB_CONFIG": str(config)}) as screen:
        shown = next(step for step in todo if step.act == "prints")
        assert missing(shown.text.replace(USUAL, terminal.address), screen) is None, screen
        todo.remove(shown)
        follow(terminal, tuple(todo))


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_page_does_what_it_says(name: str, tmp_path: Path) -> None:
    """Beside a hub with two servers, `time` and `wiki`, that runs from the configuration in the current directory."""
    todo = steps((DOCS / f"{name}.md").read_text())
    assert any(step.act == "run" for step in todo)
    terminal = Terminal(tmp_path / "home")
    terminal.configure(terminal.work / "hub.yaml", "" if name == "servers" else TWO)  # that page registers its own
    with terminal.hub("mcp-hub up"):
        follow(terminal, todo)


def test_every_page_with_commands_is_followed() -> None:
    with_commands = {page.stem for page in DOCS.rglob("*.md") if steps(page.read_text())}
    assert with_commands == {*FOLLOWED, FIRST.stem}
