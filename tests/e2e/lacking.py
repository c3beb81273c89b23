"""What becomes of an end-to-end test whose equipment is missing: skipped in words (a failure where all is required)."""

from __future__ import annotations

import pytest

from tests import equipment


def lack(reason: str) -> None:
    """Skip the test for this reason."""
    pytest.skip(reason)


def need_real_servers() -> None:
    """Skip unless `python -m tests.equipment` has installed every real server and client."""
    if missing := equipment.missing():
        lack(f"{'; '.join(missing)}: run `python -m tests.equipment`")
