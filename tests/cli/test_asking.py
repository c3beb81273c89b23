"""Values asked for in a real terminal, and from sources that fail."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import termios
from argparse import Namespace
from pathlib import Path
from time import monotonic

import pytest

from hub.cli import asking
from hub.cli.failure import Failed


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def until(fd: int, text: str) -> str:
    """What the terminal shows, up to and with this text."""
    shown, end = "", monotonic() + 15
    while text not in shown:
        assert monotonic() < end, shown
        if select.select([fd], [], [], 0.1)[0]:
            shown += os.read(fd, 4096).decode()
    return shown


def test_a_person_types_a_secret_that_no_screen_shows(data_dir: Path, tmp_path: Path) -> None:
    entry = {"url": "https://a/${input:space}", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    paste = tmp_path / "paste.json"
    paste.write_text(json.dumps({"servers": {"wiki": entry}, "inputs": [{"id": "space", "description": "Your space"}]}))
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "hub.cli.main", "servers", "import", str(paste)]
    env = {**os.environ, "PYTHONPATH": str(Path(asking.__file__).parents[2])}
    with subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take_terminal, env=env
    ) as child:
        os.close(theirs)
        try:
            shown = until(ours, "TOKEN (not shown): ")
            os.write(ours, b"canary-typed\n")
            shown += until(ours, "space (Your space): ")
            os.write(ours, b"docs\n")
            shown += until(ours, "added wiki")
            assert child.wait(15) == 0
        finally:
            child.kill()
            os.close(ours)
    assert "canary" not in shown
    assert b"canary" not in b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())


def test_nobody_is_asked_where_nobody_sits() -> None:
    assert not asking.can_ask()


@pytest.mark.parametrize(("data", "why"), [(b"", "is empty"), (b"\xff", "no UTF-8"), (b"x" * 65_537, "longer than")])
def test_a_source_without_a_value_is_told(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_bytes(data)
    with pytest.raises(Failed, match=why):
        asking.given(Namespace(value=[], secret=[f"T=file:{path}"]))


def test_plain_values_are_taken_as_they_are() -> None:
    assert asking.given(Namespace(value=["A=b=c", "D="], secret=[])) == {"A": "b=c", "D": ""}
