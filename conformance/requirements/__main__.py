"""Prints how many requirements are met, and every one that is not met as it is asked."""

from __future__ import annotations

import sys
from collections import Counter

from conformance.requirements import REQUIREMENTS


def main() -> int:
    counts = Counter(row.status for row in REQUIREMENTS)
    print(f"{len(REQUIREMENTS)} requirements: {', '.join(f'{n} {status}' for status, n in counts.most_common())}")
    for row in REQUIREMENTS:
        if row.status != "tested":
            print(f"\n{row.status}: {row.id} ({row.section})\n  {row.behaviour}\n  {row.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
