"""Every page can be used by everybody: axe-core finds nothing serious, a telephone shows it whole, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.e2e.oauth.browser import Chromium
from tests.e2e.oauth.pictures import MOST_BYTES, PICTURES, WIDTHS
from tests.e2e.oauth.tour import LEFT_OUT, empty_hub, places
from tests.equipment import ROOT

pytestmark = pytest.mark.e2e

PAGES: Final = ROOT / "hub" / "edge" / "pages"


def test_every_page_is_whole_at_every_width_and_has_no_serious_fault(browser: Chromium, tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    faults: list[str] = []
    with empty_hub(tmp_path) as hub:
        for place, at in places(hub, browser):
            seen[place.name] = place.template
            for dark in (False, True):
                at.dark(dark)
                found = at.serious()
                faults += [f"{place.name} {'dark' if dark else 'light'}: {one['id']} {one['at'][:2]}" for one in found]
            for width in (320, *WIDTHS):
                at.size(width)
                if at.overflows():
                    faults.append(f"{place.name}: wider than {width} px")
            if at.run("document.scripts.length"):
                faults.append(f"{place.name}: has a script")
    assert faults == []
    assert {*seen.values(), *LEFT_OUT} == {path.stem for path in PAGES.glob("*.html")}
    pictures = {path.name: path.stat().st_size for path in PICTURES.glob("*.png")}
    again = "run `python -m tests.e2e.oauth.pictures`"
    assert set(pictures) == {f"{name}-{width}.png" for name in seen for width in WIDTHS}, again
    assert max(pictures.values()) <= MOST_BYTES
