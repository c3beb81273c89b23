"""One browser and one hub for each file of tests; whoever opens a page in it is a person of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth.browser import Chromium, chromium
from tests.e2e.oauth.callback import Callback, callback
from tests.e2e.oauth.login_hub import LoginHub, login_hub
from tests.equipment_browser import browser_missing


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if lacks := browser_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    with chromium(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginHub]:
    with login_hub(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def app() -> Iterator[Callback]:
    """Where the app that the browser is about waits for its answer."""
    with callback() as made:
        yield made
