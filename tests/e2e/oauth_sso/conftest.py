"""One company and one hub for each file of tests that asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth_sso.company import World, company_world
from tests.equipment_clients import company_missing


@pytest.fixture(scope="module")
def provider() -> None:
    if missing := company_missing():
        lack(f"{'; '.join(missing)}: run `python -m tests.equipment`")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, provider: None) -> Iterator[World]:
    with company_world(tmp_path_factory.mktemp("sso")) as made:
        yield made
