"""Starting what is measured, where the scheduler leaves it alone, and reading what the kernel says it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.equipment import ROOT


def cores() -> tuple[set[int], set[int]]:
    """(for gateways, for everything else): one core for what is measured where there are two."""
    known = sorted(os.sched_getaffinity(0))
    return ({known[0]}, set(known[1:])) if len(known) > 1 else ({known[0]}, {known[0]})


def _place(where: set[int]) -> None:
    os.sched_setaffinity(0, where)
    # without it a process's cost is set by its neighbours: the same hub scored 1.0 to 2.5 times nginx
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextmanager
def started(
    command: Sequence[str], where: set[int], env: Mapping[str, str] | None = None, quiet: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """A child in its own process group, ended with all it started."""
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: _place(where),
    )
    assert child.stdout is not None
    try:
        yield child
    finally:
        with_grace(child)
        child.stdout.close()


def with_grace(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{child.args!r} ended without a word")
    return line


def tree(pid: int, apart: str = "") -> list[int]:
    """This process and all below it, but for those below with the word `apart` in their command line, and theirs."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        if apart and one != pid and apart in command_line(one):
            continue
        found.append(one)
        for listing in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                queue += [int(child) for child in listing.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def move_apart(pid: int, apart: str, where: set[int]) -> int:
    """Put the servers below a gateway where every other server is; how many there are."""
    moved = sorted(set(tree(pid)) - set(tree(pid, apart)))
    for one in moved:
        os.sched_setaffinity(one, where)
    return len(moved)


def cpu_ns(pid: int, apart: str = "") -> int:
    """Nanoseconds on a processor, of all threads of the process tree that are alive."""
    total = 0
    for one in tree(pid, apart):
        for stat in Path(f"/proc/{one}/task").glob("*/schedstat"):
            try:
                total += int(stat.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def quiet(pid: int, within_s: float = 20.0) -> None:
    """Return once the process tree has next to nothing to do: under 1 ms of CPU in 100 ms, twice in a row."""
    end, still, before = time.monotonic() + within_s, 0, cpu_ns(pid)
    while still < 2:
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} is still busy after {within_s:g} s")
        time.sleep(0.1)
        now = cpu_ns(pid)
        still = still + 1 if now - before < 1_000_000 else 0
        before = now


def rss_mb(pid: int) -> float:
    total = 0
    for one in tree(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return total / 1024


class Load:
    """A load generator in a process of its own, its connections open."""

    def __init__(self, child: subprocess.Popen[str], url: str) -> None:
        self._child, self._url = child, url

    def prepare(self) -> None:
        """Return when all its connections stand: the other side may have closed what was idle."""
        if self._said("0") != "ready\n":
            raise self._failed()

    def run(self, calls: int) -> dict[str, Any]:
        """So many calls. What it says of them is in `load.py`."""
        answer = self._said(str(calls))
        if not answer:
            raise self._failed()
        result: dict[str, Any] = json.loads(answer)
        return result

    def _said(self, line: str) -> str:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
        return self._child.stdout.readline()

    def _failed(self) -> RuntimeError:
        assert self._child.stderr is not None
        return RuntimeError(f"the load on {self._url} failed: {self._child.stderr.read()[-800:]}")


@contextmanager
def load(url: str, where: set[int], **options: Any) -> Iterator[Load]:
    command = [sys.executable, "-m", "conformance.bench.load", url]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, preexec_fn=lambda: _place(where), **pipes) as child:  # type: ignore[call-overload]
        try:
            yield Load(child, url)
        finally:
            with suppress(BrokenPipeError):
                child.stdin.close()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
