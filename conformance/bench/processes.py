"""Starting what is measured, where the scheduler leaves it alone, and reading what the kernel says it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    try:
        yield child
    finally:
        with_grace(child)


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


def tree(pid: int) -> list[int]:
    """This process and all below it."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for listing in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                queue += [int(child) for child in listing.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cpu_ns(pid: int) -> int:
    """Nanoseconds on a processor, of all threads of the process tree that are alive."""
    total = 0
    for one in tree(pid):
        for stat in Path(f"/proc/{one}/task").glob("*/schedstat"):
            try:
                total += int(stat.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def rss_mb(pid: int) -> float:
    total = 0
    for one in tree(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return total / 1024


def load(url: str, where: set[int], **options: Any) -> dict[str, Any]:
    """One run of the load generator in a process of its own."""
    command = [sys.executable, "-m", "conformance.bench.load", url]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: _place(where),
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load on {url} failed: {done.stderr[-800:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
