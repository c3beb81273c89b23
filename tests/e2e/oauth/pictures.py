"""Pictures of every page that people see, for the docs: as the hub shows it now, as wide as a telephone and a screen.

python -m tests.e2e.oauth.pictures [FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.oauth.browser import chromium
from tests.e2e.oauth.tour import empty_hub, places
from tests.equipment import ROOT
from tests.equipment_browser import browser_missing

PICTURES: Final = ROOT / "hub" / "docs" / "pictures"
WIDTHS: Final = (390, 1280)
MOST_BYTES: Final = 60_000
LISTEN: Final = "127.0.0.1:8700"  # the usual port, as people see it


def take(folder: Path, scratch: Path, listen: str = LISTEN) -> list[Path]:
    """One file for each page, look and width. Raises ValueError when one is too large to be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with empty_hub(scratch, listen) as hub, chromium(scratch) as browser:
        for place, person in places(hub, browser):
            for width in WIDTHS:
                person.size(width, 600)
                path = folder / f"{place.name}-{width}.png"
                person.shot(path)
                if path.stat().st_size > MOST_BYTES:
                    raise ValueError(f"{path.name} has {path.stat().st_size} bytes")
                taken.append(path)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.oauth.pictures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    args = parser.parse_args()
    if lacks := browser_missing():
        print(f"{'; '.join(lacks)}: run `python -m tests.equipment`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pictures-") as scratch:
        taken = take(args.folder, Path(scratch))
    for old in set(args.folder.glob("*.png")) - set(taken):
        old.unlink()  # of a page that is no more
    print(f"{len(taken)} pictures in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
