"""One browser for each file of tests that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth.browser import Chromium, chromium
from tests.equipment_browser import browser_missing


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if lacks := browser_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    with chromium(tmp_path_factory.mktemp("browser")) as made:
        yield made
