"""Missing equipment is never silent: a skip says why, and where all is required it is a failure."""

from __future__ import annotations

import pytest

from tests import equipment
from tests.e2e.lacking import lack, need_real_servers


def test_what_is_lacking_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "REQUIRE_ALL", False)
    with pytest.raises(pytest.skip.Exception, match="no node here"):
        lack("no node here")


def test_where_all_is_required_what_is_lacking_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "REQUIRE_ALL", True)
    monkeypatch.setattr(equipment, "missing", lambda: ("node",))
    with pytest.raises(pytest.fail.Exception, match="node: run"):
        need_real_servers()


def test_equipment_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "REQUIRE_ALL", True)
    monkeypatch.setattr(equipment, "missing", tuple)
    need_real_servers()
