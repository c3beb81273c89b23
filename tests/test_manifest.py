"""Requirements and tests name each other truly: no row without its tests, no mark for a row that is not there."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from conformance.requirements import REQUIREMENTS, TOPICS
from conformance.requirements.row import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("basic", "server", "client", "changelog")
REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests that a file defines."""
    tree = ast.parse((ROOT / path).read_text())
    found = (node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in found if name.startswith("test_"))


def missing(row: Requirement) -> list[str]:
    """Which of its tests do not exist."""
    wrong = []
    for node in row.tests:
        path, _, name = node.partition("::")
        if not (ROOT / path).is_file() or name not in names_in(path):
            wrong.append(f"{row.id}: {node}")
    return wrong


def marked(source: str) -> Iterator[str]:
    """Every id that a `@pytest.mark.requirement(...)` of this source names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
            for argument in node.args:
                assert isinstance(argument, ast.Constant), "an id of a requirement is written out where it is marked"
                yield str(argument.value)


def test_every_requirement_is_named_once() -> None:
    assert [id for id, count in Counter(row.id for row in REQUIREMENTS).items() if count > 1] == []


def test_what_is_said_to_be_tested_names_a_test() -> None:
    assert [row.id for row in REQUIREMENTS if row.status == "tested" and not row.tests] == []


def test_every_test_that_a_row_names_exists() -> None:
    assert [line for row in REQUIREMENTS for line in missing(row)] == []


def test_a_row_whose_test_is_gone_is_found() -> None:
    here = "tests/test_manifest.py"
    row = Requirement("x", "", "", "tested", (f"{here}::test_that_never_was", "tests/test_no.py::test_a"))
    assert missing(row) == [f"x: {node}" for node in row.tests]
    assert missing(Requirement("x", "", "", "tested", (f"{here}::test_a_row_whose_test_is_gone_is_found",))) == []


def test_every_mark_on_a_test_names_a_row() -> None:
    known = {row.id for row in REQUIREMENTS}
    wrong = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        if "mark.requirement" in text:
            wrong += [f"{path.relative_to(ROOT)}: {id}" for id in marked(text) if id not in known]
    assert wrong == []


@pytest.mark.requirement("base.json-rpc-shape")
def test_a_mark_is_read_from_the_source() -> None:
    source = "@pytest.mark.requirement('a', 'b')\ndef test_x(): ...\n"
    assert list(marked(source)) == ["a", "b"]
    assert "base.json-rpc-shape" in set(marked(Path(__file__).read_text()))


def test_what_is_not_as_asked_says_why() -> None:
    for row in REQUIREMENTS:
        assert bool(row.reason) == (row.status != "tested"), row.id
        assert row.status != "deferred" or not row.tests, f"{row.id}: what is deferred has no test yet"
        assert row.status != "divergence" or row.tests, f"{row.id}: a test shows what the hub does instead"


def test_rows_are_sentences_about_a_page_of_a_revision() -> None:
    for row in REQUIREMENTS:
        assert row.behaviour.endswith("."), row.id
        revision, _, page = row.section.partition(" ")
        assert revision in REVISIONS, row.id
        assert page.startswith(PAGES), row.id


def test_every_topic_is_counted() -> None:
    modules = {path.stem for path in (ROOT / "conformance" / "requirements").glob("*.py")}
    assert modules - {"__init__", "__main__", "row"} == {topic.__name__.rpartition(".")[2] for topic in TOPICS}
