"""How a run of the official suite is judged: it can fail, in each of the ways that it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.official import runner
from conformance.official.judgement import Expected, Leg, expected, faults
from conformance.official.runner import Check, Outcome, _read
from conformance.official.table import BEGIN, END, written
from tests.e2e.lacking import lack

HUB = Leg("hub", "modern", "2026-07-28")
DIRECT = Leg("direct", "modern", "2026-07-28")
LINE = Expected("ping", "2026-07-28", ("hub modern",), "because", "something")


def outcome(*statuses: str, shape: str = "SUCCESS") -> Outcome:
    checks = [Check(f"check-{number}", status, "it broke") for number, status in enumerate(statuses)]
    return Outcome("ping", True, (Check("wire-schema-valid", shape, ""), *checks))


GOOD, BAD = outcome("SUCCESS"), outcome("SUCCESS", "FAILURE")


@pytest.mark.parametrize(
    ("made", "passed"),
    [
        (GOOD, True),
        (outcome("SUCCESS", "WARNING", "SKIPPED", "INFO"), True),
        (BAD, False),
        (outcome("SUCCESS", shape="FAILURE"), False),
        (outcome(), False),
        (outcome("SKIPPED", "INFO", "WARNING"), False),
    ],
)
def test_a_scenario_passes_by_something_of_its_own_that_succeeded(made: Outcome, passed: bool) -> None:
    assert made.passed is passed
    assert bool(made.why()) is not passed


def test_a_run_as_expected_has_no_faults() -> None:
    assert faults({HUB: [GOOD], DIRECT: [GOOD]}, []) == []
    assert faults({HUB: [BAD], DIRECT: [GOOD]}, [LINE]) == []


def test_a_failure_that_nobody_expects_is_a_fault() -> None:
    assert faults({HUB: [BAD]}, []) == [f"{HUB}: ping fails: check-1: it broke"]


@pytest.mark.parametrize(
    "line",
    [replace(LINE, places=("direct modern",)), replace(LINE, revision="2025-11-25"), replace(LINE, scenario="x")],
)
def test_a_line_excuses_no_other_leg_and_no_other_scenario(line: Expected) -> None:
    assert len(faults({HUB: [BAD]}, [line])) == 1


def test_a_stale_line_is_a_fault() -> None:
    (said,) = faults({HUB: [GOOD]}, [LINE])
    assert "take its line out" in said


@pytest.mark.parametrize("instead", ["WARNING", "SKIPPED", "INFO"])
def test_a_pass_that_proves_less_than_a_direct_run_is_a_fault(instead: str) -> None:
    both = outcome("SUCCESS", "SUCCESS")
    (said,) = faults({HUB: [outcome("SUCCESS", instead)], DIRECT: [both]}, [])
    assert "passes without check-1" in said
    assert len(faults({HUB: [outcome("SUCCESS")], DIRECT: [both]}, [])) == 1  # never reached


def test_checks_may_be_excused_and_go_stale() -> None:
    line = replace(LINE, checks=("check-1",))
    direct = outcome("SUCCESS", "SUCCESS", "SUCCESS")
    assert faults({HUB: [outcome("SUCCESS", "INFO", "SUCCESS")], DIRECT: [direct]}, [line]) == []
    (more,) = faults({HUB: [outcome("SUCCESS", "INFO", "INFO")], DIRECT: [direct]}, [line])
    assert "passes without check-2" in more
    (stale,) = faults({HUB: [direct], DIRECT: [direct]}, [line])
    assert "check-1 succeed" in stale
    assert len(faults({HUB: [outcome("SUCCESS", "FAILURE", "SUCCESS")]}, [line])) == 1  # it does not excuse failing


ROW = """
- scenarios: [ping]
  requirements: "2025-11-25"
  where: [hub modern]
  reason: because
  lifted_by: something
"""


def test_every_line_of_the_expected_failures_is_whole_and_known(tmp_path: Path) -> None:
    if not runner.PACKAGE.exists():
        lack("the npm package of conformance/official/npm: run `python -m tests.equipment`")
    path = tmp_path / "expected.yaml"
    path.write_text(ROW)
    assert [line.scenario for line in expected(path)] == ["ping"]
    for before, after in [
        ("  reason: because\n", ""),
        ("because", '""'),
        ("[ping]", "[pong]"),
        ("hub modern", "hub ancient"),
        ("2025-11-25", "2024-11-05"),
        ("lifted_by", "lifted"),
    ]:
        path.write_text(ROW.replace(before, after))
        with pytest.raises(ValueError, match="row 1"):
            expected(path)


def test_checks_are_read_by_scenario_and_strange_folders_are_not_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "server-tools-call-error-2026-11-24T10-03-16-705Z"
    folder.mkdir()
    row = {"id": "a", "name": "A", "status": "FAILURE", "errorMessage": "no"}
    (folder / "checks.json").write_text(json.dumps([row]))
    assert dict(_read(tmp_path)) == {"tools-call-error": (Check("a", "FAILURE", "no"),)}
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(RuntimeError, match="elsewhere"):
        dict(_read(tmp_path))


def test_the_table_is_written_between_its_marks_only() -> None:
    assert written(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="no place"):
        written("a page without marks", "new")
