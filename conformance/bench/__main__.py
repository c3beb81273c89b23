"""What the hub costs and how it waits, measured beside nginx and the gateways of others in one run.

    python -m conformance.bench [--only PART]... [--rounds N] [--calls N] [--json FILE] [--check]

Prints a table and writes JSON. Needs nginx; `python -m conformance.bench.equipment` installs the other gateways, and
what is missing is left out in words. Figures are CPU time of the process tree from the kernel's accounting; gateways
on one core, everything else on the other, under SCHED_BATCH. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from conformance.bench import calls, controls, issued, lists, memory, targets, waiting

Part = Callable[[Path, calls.Size], dict[str, Any]]
CASES: Final = {case.name: case for case in calls.CASES}


def _measuring(case: calls.Case) -> Part:
    return lambda folder, size: calls.measure(case, folder, size)


PARTS: Final[Mapping[str, Part]] = {
    **{name: _measuring(case) for name, case in CASES.items()},
    "issued": lambda folder, size: issued.measure(folder, size.rounds or 20, size.calls or 1000),
    "lists": lambda folder, size: lists.measure(folder),
    "memory": lambda folder, size: memory.measure(folder),
    "slow": lambda folder, size: waiting.slow_tools(folder),
    "isolation": lambda folder, size: waiting.isolation(folder, size.rounds or 8),
    "start": lambda folder, size: waiting.start_up(folder),
    "controls": lambda folder, size: controls.measure(folder, size.rounds or 40, size.calls or 400),
}
SHOWN: Final = {"issued": issued.show, "lists": lists.show, "memory": memory.show, "controls": controls.show}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="measure only this (repeatable)")
    parser.add_argument("--rounds", type=int, default=None, help="instead of each part's own number")
    parser.add_argument("--calls", type=int, default=None, help="of one round, instead of each part's own number")
    parser.add_argument("--json", type=Path, default=None, help="also write everything as JSON to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    results = measured(given.only or tuple(PARTS), calls.Size(given.rounds, given.calls))
    rows = results["targets"] = targets.judged(results)
    print("targets:")
    targets.show(rows)
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if given.check and not all(row["met"] for row in rows) else 0


def measured(parts: tuple[str, ...] | list[str], size: calls.Size) -> dict[str, Any]:
    results: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
    }
    with tempfile.TemporaryDirectory(prefix="mcp-hub-bench-") as name:
        for part in parts:
            print(f"{part}:", flush=True)
            began = time.monotonic()
            results[part] = PARTS[part](Path(name) / part, size)
            results[part]["took_s"] = round(time.monotonic() - began, 1)
            show(part, results[part])
    return results


def show(part: str, result: dict[str, Any]) -> None:
    print(f"  {result['what']} ({result['took_s']:.0f} s)")
    if part in CASES:
        calls.show(result)
    elif part in SHOWN:
        SHOWN[part](result)
    else:
        print("  " + json.dumps({key: value for key, value in result.items() if key not in ("what", "took_s")}))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
