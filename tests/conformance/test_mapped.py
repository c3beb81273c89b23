"""The copy of the runner with other names: names change, wherever they are whole, and nothing else does."""

from __future__ import annotations

from pathlib import Path

from conformance.official.mapped import mapped_package, missing_names, public_names, with_names
from conformance.official.runner import PACKAGE, wanted
from tests.e2e.lacking import lack
from tests.equipment import official_missing

NAMES = {"test_one": "a__test_one", "test_one_more": "a__test_one_more", "test://x": "a+test://x"}


def test_only_whole_literals_are_replaced() -> None:
    script = """call("test_one", `test_one_more`, 'test://x');"use test_one";"test_one'; test_one;"test_ones";"test://x/y\""""
    made = """call("a__test_one", `a__test_one_more`, 'a+test://x');"use test_one";"test_one'; test_one;"test_ones";"test://x/y\""""
    assert with_names(script, NAMES) == made
    assert missing_names(script, [*NAMES, "test_two"]) == ["test_two"]


def test_names_are_those_that_the_hub_gives() -> None:
    names = public_names("modern")
    assert names["test_simple_text"] == "modern__test_simple_text"
    assert names["test://static-text"] == "modern+test://static-text"
    assert len(set(names.values())) == len(names)
    assert all(len(public) <= 48 for native, public in names.items() if "://" not in native)


def test_the_copy_differs_from_the_runner_in_names_alone(tmp_path: Path) -> None:
    if lacks := official_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    names = public_names("modern")
    script = (PACKAGE / "dist" / "index.js").read_text()
    assert missing_names(script, names) == ["test_x_mcp_header"]  # found by its schema
    package = mapped_package(tmp_path, names)
    made = (package / "dist" / "index.js").read_text()
    assert made != script
    assert with_names(made, {public: native for native, public in names.items()}) == script
    assert (package / "requirements").is_dir()
    assert wanted("2026-07-28").scored
