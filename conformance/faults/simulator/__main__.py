"""`python -m conformance.faults.simulator`: run seeds, and say of the first that fails how to run it again."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

from conformance.faults.simulator.clock import install

FIXED_SEEDS = (1, 2, 3)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.faults.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="may be given several times; default: 1, 2, 3")
    parser.add_argument("--fresh", action="store_true", help="one seed that nobody has tried, beside those given")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--bug", help="put this known bug in; the run must then fail")
    parser.add_argument("--verbose", action="store_true", help="print every step, and what the hub logs")
    given = parser.parse_args()
    seeds = list(given.seed or ([] if given.fresh else FIXED_SEEDS))
    if given.fresh:
        seeds.append(random.SystemRandom().randrange(10_000, 10**9))
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of texts belongs to the run
        os.execve(sys.executable, [sys.executable, "-m", "conformance.faults.simulator", *_argv(given, seeds)], _env())
    warnings.simplefilter("ignore", RuntimeWarning)  # a killed hub leaves calls that had not begun
    logging.basicConfig(level=logging.INFO if given.verbose else logging.CRITICAL, stream=sys.stdout)
    clock = install()
    from conformance.faults.simulator.run import run

    shm = Path("/dev/shm")
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="simulator-", dir=shm if os.access(shm, os.W_OK) else None) as folder:
            failed = run(clock, seed, given.steps, Path(folder), bug=given.bug, verbose=given.verbose)
        if failed is not None:
            bug = f" --bug {given.bug}" if given.bug else ""
            print(f"seed {seed} FAILED: {failed}")
            print(f"again: python -m conformance.faults.simulator --seed {seed} --steps {given.steps}{bug}", flush=True)
            return 1
    return 0


def _argv(given: argparse.Namespace, seeds: list[int]) -> list[str]:
    argv = [word for seed in seeds for word in ("--seed", str(seed))] + ["--steps", str(given.steps)]
    argv += ["--bug", given.bug] if given.bug else []
    return argv + (["--verbose"] if given.verbose else [])


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


if __name__ == "__main__":
    sys.exit(main())
