"""One world of real servers for each file of tests that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lacking import need_real_servers
from tests.e2e.real import World, real_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    need_real_servers()
    with real_world(tmp_path_factory.mktemp("world")) as made:
        yield made
