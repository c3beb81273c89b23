"""Missing equipment is never silent: a skip says why, and where all is required it is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import equipment
from tests.e2e.lacking import need_real_servers

SKIPS = """
import pytest

@pytest.mark.skipif(True, reason="no such machine")
def test_by_mark(): ...

def test_by_call():
    pytest.skip("no node here")
"""


def test_what_is_lacking_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "missing", lambda: ("node",))
    with pytest.raises(pytest.skip.Exception, match="node: run"):
        need_real_servers()


def test_equipment_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "missing", tuple)
    need_real_servers()


@pytest.mark.parametrize(("required", "told"), [("1", "1 failed, 1 error"), ("0", "2 skipped")])
def test_where_all_is_required_every_skip_fails_however_it_was_made(tmp_path: Path, required: str, told: str) -> None:
    (tmp_path / "test_it.py").write_text(SKIPS)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), "--rootdir", str(tmp_path)],
        cwd=equipment.ROOT,
        env={**os.environ, "MCP_HUB_REQUIRE_ALL": required},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told in done.stdout, done.stdout + done.stderr
    assert ("allows no skips" in done.stdout) is (required == "1")
