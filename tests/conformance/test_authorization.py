"""The official scenarios of an authorization server, with a person in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.official.authorization import SCENARIOS, missing, problems, run, with_block
from conformance.official.client_suite import DOCS
from conformance.official.runner import Check, Outcome
from tests.e2e.lacking import lack

GOOD = Outcome("authorization-code-grant", True, (Check("authorization-code-grant", "SUCCESS", ""),))


@pytest.mark.e2e
def test_the_hubs_authorization_server_passes_every_scenario_without_a_warning(tmp_path: Path) -> None:
    if lacks := missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    outcomes = run(tmp_path)
    assert problems(outcomes) == []
    assert [one.scenario for one in outcomes] == list(SCENARIOS)


@pytest.mark.parametrize("status", ["FAILURE", "WARNING", "SKIPPED"])
def test_a_scenario_that_fails_warns_or_was_left_out_is_a_problem(status: str) -> None:
    assert problems([GOOD]) == []
    ((check),) = GOOD.checks
    bad = replace(GOOD, checks=(replace(check, status=status, error="because"),))
    assert problems([bad]) != []
    assert problems([replace(GOOD, checks=())]) != []


def test_the_docs_show_what_passes() -> None:
    if any("conformance" in lacks for lacks in missing()):
        lack("the runner, whose version is shown: run `python -m tests.equipment`")
    page = DOCS.read_text()
    assert with_block(page) == page, "run `python -m conformance.official.authorization --write-docs`"
