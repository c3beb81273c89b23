"""A client in a process of its own, that says when somebody has to go to a page, and what it got."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

WAIT_S: Final = 90.0
STOP_S: Final = 10.0

Json = dict[str, Any]
Opener = Callable[[str], None]
"""Goes to the page that a client asks for, and does what a person does there."""


class Refused(Exception):
    """The client says that it could not."""


class Talking:
    """Lines of both streams in one queue, in the order they came."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self._lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.threads = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in ("stdout", "stderr")]
        for thread in self.threads:
            thread.start()

    def _read(self, name: str) -> None:
        stream = getattr(self.child, name)
        for line in stream:
            self._lines.put((name, line.rstrip("\n")))
        self._lines.put((name, ""))

    def say(self, message: Json) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message) + "\n")
        self.child.stdin.flush()

    def line(self) -> tuple[str, str]:
        """The next one: its stream and its text."""
        found = self._lines.get(timeout=WAIT_S)
        if self.child.poll() is not None and self._lines.empty() and found[1] == "":
            raise Refused(f"the client ended with {self.child.returncode}")
        return found


class LoginClient:
    """`login_client.py`, in whichever environment."""

    def __init__(self, talking: Talking) -> None:
        self._talking = talking
        self.opened: list[str] = []

    def use(self, opener: Opener) -> Json:
        """What the client saw; raises Refused in its words."""
        found: Json = self._do("use", opener)
        return found

    def expire(self) -> None:
        self._do("expire", self.nobody)

    @staticmethod
    def nobody(url: str) -> None:
        raise AssertionError(f"the client asks for a person: {url}")

    def _do(self, do: str, opener: Opener) -> Any:
        self._talking.say({"do": do})
        told: list[str] = []
        while True:
            stream, line = self._talking.line()
            if stream == "stderr":
                told.append(line)
                continue
            message = json.loads(line)
            if "open" in message:
                self.opened.append(message["open"])
                opener(message["open"])
            elif "failed" in message:
                raise Refused("\n".join((*message["failed"], *told[-20:])))
            else:
                return message["done"]


@contextmanager
def talking(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Talking]:
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(env),
        cwd=cwd,
    )
    found = Talking(child)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        yield found
    finally:
        try:
            child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for thread in found.threads:
            thread.join(STOP_S)
        child.stdout.close()
        child.stderr.close()
