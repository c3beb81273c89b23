"""Headless Chromium, a browser of its own for each person. `browse.py` drives it, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.equipment_browser import AXE, BROWSER, CHROMIUM

SCRIPT: Final = Path(__file__).with_name("browse.py")
STOP_S: Final = 20.0
SERIOUS: Final = frozenset({"serious", "critical"})


class Failed(AssertionError):
    """The browser could not do it: what it waited for did not come."""


class Chromium:
    """One process of Chromium; any number of people."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._busy = threading.Lock()

    def person(self, name: str) -> Person:
        return Person(self, name)

    def ask(self, who: str, do: str, **more: Any) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._busy:
            self._child.stdin.write(json.dumps({"who": who, "do": do, **more}) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        if not line:
            raise Failed("the browser ended")
        answer = json.loads(line)
        if "failed" in answer:
            raise Failed(f"{do}: {answer['failed']}")
        return answer["ok"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a browser whose cookies are theirs alone."""

    chromium: Chromium
    name: str

    def goto(self, url: str) -> int | None:
        """The status of the page that it ends at."""
        found: int | None = self._do("goto", url=url)
        return found

    def fill(self, field: str, text: str) -> None:
        self._do("fill", at=f"#{field}", text=text)

    def press(self, button: str, times: int = 1) -> None:
        """Click a button by its words."""
        self._do("click", at=f'button:text-is("{button}")', times=times)

    def arrive(self, pattern: str) -> str:
        """Wait until the address fits, which is given back."""
        return str(self._do("arrive", at=pattern))

    def see(self, heading: str) -> str:
        """Wait for the page with this heading; all that it says."""
        return str(self._do("see", heading=heading))

    def url(self) -> str:
        return str(self._do("url"))

    def text(self) -> str:
        return str(self._do("text"))

    def back(self) -> None:
        self._do("back")

    def run(self, script: str) -> Any:
        return self._do("run", script=script)

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._do("cookies")
        return found

    def framed(self, url: str, on: str) -> dict[str, str]:
        """Where a frame on the page `on` ends that is to hold an address, and what it shows."""
        found: dict[str, str] = self._do("frames", url=url, on=on)
        return found

    def size(self, width: int, height: int = 800) -> None:
        self._do("size", width=width, height=height)

    def dark(self, dark: bool = True) -> None:
        self._do("dark", dark=dark)

    def shot(self, path: Path) -> None:
        self._do("shot", path=str(path))

    def overflows(self) -> bool:
        """Whether the page must be scrolled sideways."""
        return bool(self._do("overflows"))

    def serious(self) -> list[dict[str, Any]]:
        """What axe-core finds on the page that is serious or worse."""
        found: list[dict[str, Any]] = self._do("axe", script=str(AXE))
        return [one for one in found if one["impact"] in SERIOUS]

    def close(self) -> None:
        self._do("close")

    def log_in(self, url: str, name: str, password: str) -> None:
        """Open an address to authorize at; afterwards the consent page is shown."""
        self.goto(url)
        self.see("Log in")
        self.fill("name", name)
        self.fill("password", password)
        self.press("Log in")
        self.see("Allow access?")

    def _do(self, do: str, **more: Any) -> Any:
        return self.chromium.ask(self.name, do, **more)


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A browser; ended with all it started."""
    with (folder / "browser.log").open("wb") as log:
        child = subprocess.Popen(
            [str(BROWSER.python), str(SCRIPT), str(CHROMIUM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield Chromium(child)
    finally:
        child.stdin.close()  # it closes Chromium and ends
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
