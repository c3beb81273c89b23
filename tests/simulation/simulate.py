"""Runs the simulator as a program: its clock must be in place before anything of the hub is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def simulate(*words: str, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conformance.faults.simulator", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


def digest(out: str) -> str:
    found = re.search(r"digest (\w+)", out)
    assert found is not None, out
    return found[1]
