"""The official suite's server scenarios: against the reference servers, and through the hub before one or both.

    python -m conformance.official [--only direct|hub|federated] [--requirements REVISION] [--json FILE] [--write-docs]

Exits with 1 when a scenario fails that is not in `expected_failures.yaml`, or one passes that is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.official import table
from conformance.official.judgement import LEGS, expected, faults
from conformance.official.runner import REQUIREMENTS
from conformance.official.suite import run_all
from tests.equipment import official_missing


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.official", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", choices=("direct", "hub", "federated"), help="only the reference servers, one behind the hub, or both"
    )
    parser.add_argument("--requirements", choices=REQUIREMENTS, help="only this requirement set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there as well")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"write the table of {table.PAGE.name}, if all is as expected"
    )
    given = parser.parse_args(argv)
    if lacks := official_missing():
        print(f"{'; '.join(lacks)}: run `python -m tests.equipment`", file=sys.stderr)
        return 2
    legs = [leg for leg in LEGS if given.only in (None, leg.where) and given.requirements in (None, leg.revision)]
    if given.write_docs and len(legs) < len(LEGS):
        parser.error("--write-docs wants a whole run, without --only and --requirements")
    with tempfile.TemporaryDirectory(prefix="official-") as folder:
        results = run_all(legs, Path(folder))
    lines = expected()
    found = faults(results, lines)
    print(table.plain(results))
    print("\n".join(found) or "as expected")
    if given.json is not None:
        given.json.write_text(json.dumps(table.as_json(results, found), indent=1) + "\n")
    if given.write_docs and not found:
        table.write(lines)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
