"""Fixtures every test may use, and what a skip means where all equipment is required."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from tests import equipment

settings.register_profile("hub", deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("hub")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}  # the loop the hub runs on


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `MCP_HUB_REQUIRE_ALL=1` every skip is a failure, whoever skipped and why."""
    report = yield
    return required(report) if equipment.REQUIRE_ALL else report


def required(report: pytest.TestReport) -> pytest.TestReport:
    if report.skipped:
        reason: Any = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{reason}: MCP_HUB_REQUIRE_ALL=1 allows no skips"
    return report
