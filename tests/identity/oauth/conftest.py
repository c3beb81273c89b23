from __future__ import annotations

from pathlib import Path

import pytest

from tests.identity.oauth.world import World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await World(tmp_path).start()
