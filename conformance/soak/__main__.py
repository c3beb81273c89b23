"""Soak the hub: 200 legacy sessions and modern callers, servers killed at random, and nothing may be left over.

    python -m conformance.soak --minutes 10 [--json FILE] [--seed N]

Prints a line every 30 s and the verdict; exits with 1 unless every claim holds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from conformance.soak.run import Plan, Report, soak
from conformance.soak.samples import thinned


def as_json(report: Report) -> dict[str, Any]:
    return {
        "minutes": report.plan.minutes,
        "sessions": report.plan.sessions,
        "seed": report.plan.seed,
        "python": platform.python_version(),
        "passed": report.passed,
        "claims": [asdict(claim) for claim in report.claims],
        "counts": {
            name: asdict(value) if name in ("before", "after") else value for name, value in report.counts.items()
        },
        "samples": [asdict(sample) for sample in thinned(report.samples)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=200, help="legacy sessions at once")
    parser.add_argument("--log-gb", type=float, default=8.0, help="what the log may grow to; the load keeps below it")
    parser.add_argument("--folder", type=Path, help="for the hub's files, kept afterwards; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write samples and verdict there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(given.minutes, given.seed, folder, given.sessions, given.log_gb)
        report = uvloop.run(soak(plan, lambda line: print(line, flush=True)))
    for claim in report.claims:
        print(f"{'holds' if claim.holds else 'FAILS'}  {claim.claim}: {claim.seen}")
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(report), indent=1) + "\n")
    print("passed" if report.passed else "failed", flush=True)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
