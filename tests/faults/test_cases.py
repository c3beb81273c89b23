"""The list of fault cases is whole: every number once, every test there, every gap named, and the docs say the same."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from conformance.faults.__main__ import PAGE, rendered
from conformance.faults.cases import CASES, Case
from hub import config, config_servers

ROOT: Final = Path(__file__).resolve().parents[2]
LATER: Final = {  # what no key of the configuration has a name for yet
    "circuit breakers",
    "idempotency keys",
    "alarms on latency",
    "an alarm for clock jumps",
    "canary releases",
    "rules for outbound addresses",
    "federated hubs",
    "serving TLS",
}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_"))


def found(name: str) -> list[str]:
    path, _, test = name.partition("::")
    if test.endswith("*"):
        return [one for one in names_in(path) if one.startswith(test[:-1])]
    return [one for one in names_in(path) if one == test]


def test_the_cases_are_the_44() -> None:
    assert [case.number for case in CASES] == list(range(1, 45))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"case {case.number}")
def test_a_case_is_shown_by_tests_that_exist_or_names_what_it_waits_for(case: Case) -> None:
    assert case.fault
    assert case.expected
    assert case.tests or case.waits_for
    assert [name for name in case.tests if not found(name)] == []


def test_what_a_case_waits_for_is_a_feature_that_is_not_built() -> None:
    unbuilt = {*config._UNBUILT.values(), *config_servers._UNBUILT.values(), *LATER}
    waits = {case.waits_for.partition(" (")[0] for case in CASES if case.waits_for}
    assert waits <= unbuilt


def test_every_test_that_is_named_for_a_case_stands_in_its_row() -> None:
    named = {
        (int(test.split("_")[2]), test)
        for path in sorted((ROOT / "tests" / "faults").glob("test_*.py"))
        for test in names_in(str(path.relative_to(ROOT)))
        if test.startswith("test_case_")
    }
    assert named == {
        (case.number, test)
        for case in CASES
        for name in case.tests
        for test in found(name)
        if test.startswith("test_case")
    }


def test_the_docs_have_the_table() -> None:
    text = PAGE.read_text()
    assert rendered(text) == text, "run: python -m conformance.faults --write"
    assert all(f"| {case.number} | {case.fault} |" in text for case in CASES)
