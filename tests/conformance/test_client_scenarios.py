"""The official client scenarios, whose servers see the hub's downstream side; and the judgement of their results."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.official.client import DRIVES, Refused, drive_of
from conformance.official.client_suite import (
    DOCS,
    REVISIONS,
    Expected,
    Result,
    Scenario,
    as_expected,
    client_rows,
    expected_failures,
    judged,
    missing,
    problems,
    run,
    scenarios,
    table,
    with_block,
)
from tests.e2e.lacking import lack

ONE = Scenario("2026-07-28", "one", True)
LINE = Expected("on*", ("2026-07-28",), "Because.", "something")


def need_the_suite() -> None:
    if lacks := missing():
        lack(f"{' and '.join(lacks)} missing: run `python -m tests.equipment`")


def checks(*statuses: str) -> list[dict[str, Any]]:
    return [{"id": f"check-{number}", "status": status} for number, status in enumerate(statuses)]


@pytest.mark.e2e
def test_every_client_scenario_ends_as_expected() -> None:
    need_the_suite()
    results = run([each for revision in REVISIONS for each in scenarios(revision)])
    assert problems(results, expected_failures()) == []
    assert sum(result.successes for result in results if result.passed) >= 60  # none of them passes for want of checks


@pytest.mark.e2e
def test_the_docs_show_the_client_scenarios_as_they_are() -> None:
    need_the_suite()
    page = DOCS.read_text()
    assert with_block(page, table(as_expected())) == page, (
        "run `python -m conformance.official.client_suite --write-docs`"
    )


@pytest.mark.e2e
def test_everything_but_logging_in_has_a_drive_of_its_own() -> None:
    need_the_suite()
    names = {each.name for revision in REVISIONS for each in scenarios(revision)}
    assert {name for name in names if not name.startswith("auth/")} == set(DRIVES)


def test_a_scenario_nobody_has_thought_about_fails_in_words() -> None:
    with pytest.raises(Refused, match="add it to DRIVES"):
        drive_of("brand-new")


@pytest.mark.parametrize(
    ("statuses", "content", "passes"),
    [
        (("SUCCESS", "INFO", "SKIPPED"), True, True),
        (("SUCCESS", "FAILURE"), True, False),
        (("SUCCESS", "WARNING"), True, False),
        (("SKIPPED", "INFO"), True, False),  # nothing was shown
        ((), True, False),
        (("SUCCESS",), False, False),  # our own client was not content
    ],
)
def test_a_scenario_passes_when_something_was_shown_and_nothing_failed(
    statuses: tuple[str, ...], content: bool, passes: bool
) -> None:
    assert judged(ONE, checks(*statuses), content).passed is passes


def test_a_failure_without_a_line_is_a_problem_that_says_which_check() -> None:
    (line,) = problems([judged(ONE, checks("SUCCESS", "FAILURE"), True, "why")], [])
    assert "2026-07-28 one" in line
    assert "check-1" in line
    assert "why" in line


def test_an_expected_failure_is_none_and_an_expected_failure_that_passes_is_one() -> None:
    assert problems([Result(ONE, False, 0, ("a",))], [LINE]) == []
    (line,) = problems([Result(ONE, True, 1, ())], [LINE])
    assert "remove it" in line


def test_a_line_that_meets_nothing_is_stale() -> None:
    other = Scenario("2025-11-25", "one", True)
    (line,) = problems([Result(other, True, 1, ())], [LINE])
    assert "meets no scenario" in line


def test_every_expected_failure_says_why_and_what_lifts_it() -> None:
    for line in expected_failures():
        assert line.reason.endswith(".")
        assert line.lifted_by.endswith(".")
        assert set(line.revisions) <= set(REVISIONS)


def test_rows_are_one_for_a_name_and_one_for_a_known_pattern() -> None:
    results = [
        Result(Scenario("2025-11-25", "tools_call", True), True, 1, ()),
        Result(Scenario("2026-07-28", "tools_call", True), True, 1, ()),
        Result(Scenario("2026-07-28", "auth/dpop", True), False, 0, ("x",)),
        Result(Scenario("2026-07-28", "auth/dpop-nonce", True), False, 0, ("x",)),
    ]
    calls, logins = client_rows(results)
    assert calls == ("`tools_call`", "2025-11-25: yes, 2026-07-28: yes", "")
    assert logins[:2] == ("`auth/dpop*`", "2026-07-28: 0/2")
    assert "Lifted by" in logins[2]


def test_the_block_of_a_page_is_renewed_and_the_rest_left_alone() -> None:
    page = with_block("# Title\n\nwords\n", "old")
    assert with_block(page, "new") == page.replace("old", "new")
    assert page.startswith("# Title\n\nwords\n\n")
