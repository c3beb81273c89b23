"""The official suite's server scenarios: directly against the reference servers and through the hub, as expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.official import table
from conformance.official.judgement import LEGS, PLACES, Leg, expected, faults
from conformance.official.runner import wanted
from conformance.official.suite import run_all
from tests.e2e.lacking import lack
from tests.equipment import official_missing

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def suite() -> None:
    if lacks := official_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")


@pytest.mark.parametrize("reference", ["modern", "legacy"])
def test_every_server_scenario_passes_or_is_expected_to_fail(reference: str, tmp_path: Path) -> None:
    legs = [leg for leg in LEGS if leg.reference == reference]
    results = run_all(legs, tmp_path)
    assert faults(results, expected()) == []
    assert list(results) == legs


def test_the_reference_servers_are_expected_to_pass_every_required_scenario() -> None:
    for line in expected():
        if {"direct modern", "direct legacy"} & set(line.places):
            assert line.scenario not in wanted(line.revision).scored


@pytest.mark.parametrize(
    ("reference", "revision", "least"), [("modern", "2025-11-25", 24), ("modern", "2026-07-28", 35)]
)
def test_no_line_lets_the_hub_fall_behind(reference: str, revision: str, least: int) -> None:
    leg = Leg("hub", reference, revision)
    failing = {line.scenario for line in expected() if line.concerns(leg) and not line.checks}
    assert len(set(wanted(revision).scored) - failing) >= least


def test_the_docs_show_what_is_expected() -> None:
    page = table.PAGE.read_text()
    assert table.written(page, table.block(expected())) == page, "run `python -m conformance.official --write-docs`"


def test_every_place_is_named_in_the_docs() -> None:
    assert set(table._WORDS) == set(PLACES)
