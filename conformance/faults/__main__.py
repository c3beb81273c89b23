"""Prints the table of the fault cases, or writes it into its page of the docs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from conformance.faults.cases import table

PAGE: Final = Path(__file__).resolve().parents[2] / "hub" / "docs" / "faults.md"
_TABLE: Final = re.compile(r"(<!-- generated: faults -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(page: str) -> str:
    """The page with the table as it must be now."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.faults", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into hub/docs/faults.md")
    if parser.parse_args().write:
        PAGE.write_text(rendered(PAGE.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
