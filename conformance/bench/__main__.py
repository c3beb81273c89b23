"""What the hub costs and how it waits, measured beside nginx in one run.

    python -m conformance.bench [--only cost|slow|isolation|start] [--rounds N] [--json FILE]

Prints a table and writes JSON. Needs nginx for `cost`. Figures are CPU time of the process tree from the kernel's
accounting; gateways on one core, everything else on the other, under SCHED_BATCH. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance.bench import waiting
from conformance.bench.cost import measure

PARTS = ("cost", "slow", "isolation", "start")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this (repeatable)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=4000, help="per round, for cost")
    parser.add_argument("--json", type=Path, default=None, help="also write everything as JSON to this file")
    given = parser.parse_args()
    results: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
    }
    with tempfile.TemporaryDirectory(prefix="mcp-hub-bench-") as name:
        for part in given.only or PARTS:
            print(f"{part}:", flush=True)
            results[part] = run(part, Path(name), given.rounds, given.calls)
            show(part, results[part])
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def run(part: str, folder: Path, rounds: int, calls: int) -> dict[str, Any]:
    if part == "cost":
        return measure(folder, rounds, calls, concurrency=16)
    if part == "slow":
        return waiting.slow_tools(folder)
    if part == "isolation":
        return waiting.isolation(folder, rounds)
    return waiting.start_up(folder)


def show(part: str, result: dict[str, Any]) -> None:
    print(f"  {result['what']}")
    if part == "cost":
        print(f"  {'':8}{'CPU us/call':>12}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
        for name, row in result["rows"].items():
            figures = f"{row['cpu_us']:12.1f}{row['calls_per_s']:10.0f}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}"
            print(f"  {name:8}{figures}")
        ratio = result["hub_to_nginx"]
        print(f"  hub to nginx: median {ratio['median']:.2f} (min {ratio['min']:.2f}, max {ratio['max']:.2f})")
    else:
        print("  " + json.dumps({key: value for key, value in result.items() if key != "what"}))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
