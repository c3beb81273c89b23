"""A person at a terminal, with an empty HOME and a hub of their own: types what a page says, and answers prompts."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from tests.journeys import stand_in

BLOCK_S: Final = 60.0
START_S: Final = 30.0
ANSWER: Final = "typed-by-hand"
USUAL: Final = "127.0.0.1:8700"
RUNNING: Final = ("mcp-hub serves", "mcp-hub is running\n")


class Terminal:
    """What one block sets, the next one has. The usual port of a page is the hub's own here."""

    def __init__(self, home: Path) -> None:
        self.home, self.work = home, home / "work"
        self.work.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        (self.work / ".venv").symlink_to(sys.prefix)
        self._set = home / "variables"
        self._set.touch()
        programs = home / "programs"
        programs.mkdir()
        for name in ("uvx", "npx"):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in.__file__} "$@"\n')
        (programs / "pass").write_text("#!/bin/sh\necho canary-of-a-password-store\n")
        for program in programs.iterdir():
            program.chmod(0o755)
        path = f"{programs}:{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        self.env = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb"}

    def save(self, name: str, text: str) -> None:
        (self.work / name).write_text(text.replace(USUAL, self.address))

    def configure(self, path: Path, more: str = "") -> None:
        path.write_text(f"listen: {self.address}\ndata_dir: {self.home / 'data'}\n{more}")

    def type(self, block: str) -> tuple[int, str]:
        """(exit status, all that was printed)."""
        block = block.replace(USUAL, self.address)
        script = f"set -ea\n. {self._set}\n{block}\nexport -p > {self._set}\n"
        master, slave = os.openpty()
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", script],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=self.env,
                cwd=self.work,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
            os.close(slave)
            with ended(child):
                printed = _conversation(master)
                return child.wait(timeout=10), printed.replace("\r\n", "\n")
        finally:
            os.close(master)

    @contextmanager
    def hub(self, command: str, env: Mapping[str, str] = {}) -> Iterator[str]:
        """Runs until the block ends; yields what it printed at its start."""
        self.env.update(env)
        with (self.home / "hub.log").open("wb") as log:
            child = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.env,
                cwd=self.work,
                start_new_session=True,
            )
        with ended(child):
            yield _start(child)


@contextmanager
def ended(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Nothing of the child's session outlives the block."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=15)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if child.stdout is not None:
                child.stdout.close()


def _conversation(master: int) -> str:
    """What was printed until the other side closed; whatever is asked for is answered."""
    end, seen = monotonic() + BLOCK_S, b""
    while True:
        assert monotonic() < end, seen.decode(errors="replace")
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return seen.decode(errors="replace")
        if not chunk:
            return seen.decode(errors="replace")
        seen += chunk
        if seen.endswith(b": "):
            os.write(master, f"{ANSWER}\n".encode())


def _start(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    end, seen = monotonic() + START_S, ""
    while not any(words in seen for words in RUNNING):
        ready = select.select([child.stdout], [], [], max(0.0, end - monotonic()))[0]
        assert ready, seen
        chunk = os.read(child.stdout.fileno(), 65536)
        assert chunk, f"the hub ended: {seen}"
        seen += chunk.decode()
    return seen
