"""Every check in one command, for people and CI alike.

    python -m tests.check            format, lint, types, tests, wheel, journeys
    python -m tests.check --quick    without the end-to-end, journey and conformance tests; under a minute

What this machine has no equipment for is skipped and printed; `MCP_HUB_REQUIRE_ALL=1` turns that into a failure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests import equipment

PACKAGES: Final = ("hub", "policies", "connectors", "tests", "conformance")
SLOW: Final = ("tests/conformance", "tests/e2e", "tests/faults", "tests/journeys")


def steps(quick: bool) -> tuple[tuple[str, Sequence[str]], ...]:
    python = sys.executable
    workers = str(min(os.cpu_count() or 1, 4))
    pytest = [python, "-m", "pytest", "-n", workers, "--dist", "loadfile", "-p", "no:cacheprovider"]
    chosen = [f"--ignore={folder}" for folder in SLOW] if quick else []
    return (
        ("format", [python, "-m", "ruff", "format", "--check", "-q", *PACKAGES]),
        ("lint", [python, "-m", "ruff", "check", "-q", *PACKAGES]),
        ("types", [python, "-m", "mypy"]),
        ("tests", [*pytest, *chosen]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.check", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the end-to-end, journey and conformance tests")
    quick = parser.parse_args(argv).quick
    lacks = () if quick else equipment.missing()
    for what in lacks:
        print(f"check: skipped for want of equipment: {what}", flush=True)
    if lacks and equipment.REQUIRE_ALL:
        print("check: MCP_HUB_REQUIRE_ALL=1 allows no skips; run `python -m tests.equipment`", file=sys.stderr)
        return 1
    failed = []
    for name, command in steps(quick):
        began = time.monotonic()
        print(f"check: {name}", flush=True)
        if subprocess.run(command, cwd=equipment.ROOT, check=False).returncode != 0:
            failed.append(name)
        print(f"check: {name} took {time.monotonic() - began:.0f} s", flush=True)
    print(f"check: failed: {', '.join(failed)}" if failed else "check: all passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
