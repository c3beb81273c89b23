"""One hub over every kind of hostile server, for each file of tests that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.world import World, hostile_world


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with hostile_world(tmp_path_factory.mktemp("hostile")) as made:
        yield made
