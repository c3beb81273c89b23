"""The docs say what the code does: every code, every configuration key, every link, every example, every command."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final, get_args

import pytest

from hub.admin.api import _WORDS
from hub.admin.problem_codes import PROBLEMS
from hub.audit.record import Entry, EntryKind
from hub.cli.main import _parser
from hub.config import TOKEN_VARIABLES, load
from hub.config_keys import PARTS, Part
from hub.edge.ports import Limits
from hub.wire.denials import _REFUSED_CODES, refused_code
from tests.generate_docs import DOCS, PAGES, envelope, faults_of, main, nested, rendered
from tests.journeys.pages import missing, steps, unmarked

ROOT: Final = DOCS.parent.parent
EVERY_PAGE: Final = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_example_is_what_it_says_it_is(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        load(path, {"HOME": str(tmp_path), "WIKI_AUTHORIZATION": "Bearer x"})
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "toml"):
        tomllib.loads(text)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_every_command_block_is_run(page: Path) -> None:
    assert unmarked(page.read_text()) == []


def words() -> Iterator[tuple[str, str]]:
    for page in EVERY_PAGE:
        if page.name == "CHANGELOG.md":  # tells of the past
            continue
        text = page.read_text()
        inside = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
        spoken = re.findall(r"`(mcp-hub [^`]+)`", BLOCK.sub("", text).replace("\n", " "))
        for command in (*(line for line in inside if re.match(r"mcp-hub \S", line)), *spoken):
            yield page.name, command


@pytest.mark.parametrize(("page", "command"), sorted(set(words())))
def test_every_command_that_a_page_speaks_of_exists(
    page: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = re.sub(r" (?:[<|>]|#).*", "", re.sub(r"\$\(.*?\)", "now", command)).replace("...", "")
    plain = plain.replace("LEVEL", "debug").replace("VERB", "up")
    if re.fullmatch(r"mcp-hub[a-z0-9 .-]*: .*|mcp-hub is running|mcp-hub \d.*", plain):
        return  # a line that it prints
    argv = shlex.split(plain)[1:]
    try:
        _parser(argv).parse_args(argv)
    except SystemExit:
        told = capsys.readouterr().err
        assert told == "" or re.search(r"(?:is|are) required", told), told


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_tables_are_those_of_the_code(page: str) -> None:
    text = (DOCS / page).read_text()
    assert rendered(text) == text, "run: python -m tests.generate_docs"


def test_the_generator_finds_a_stale_page_and_writes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.generate_docs.DOCS", tmp_path)
    for name in PAGES:
        (tmp_path / name).write_text(
            re.sub(r"(<!-- generated: \S+ -->\n).*?(<!-- end)", r"\1\2", (DOCS / name).read_text(), flags=re.DOTALL)
        )
    assert main(["--check"]) == 1
    assert "`data_dir` |" not in (tmp_path / PAGES[0]).read_text()
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert [(tmp_path / name).read_text() for name in PAGES] == [(DOCS / name).read_text() for name in PAGES]
    capsys.readouterr()


@pytest.mark.parametrize("part", PARTS.values(), ids=list(PARTS))
def test_every_key_that_the_reader_knows_is_described(part: Part) -> None:
    """The reader itself says which those are, when it meets one that it does not know."""
    told = [fault.text for fault in faults_of(nested(part.path, {"q" * 30: 1}))]
    [known] = [text.partition("known here: ")[2] for text in told if "known here: " in text]
    assert known.split(", ") == sorted(key.name for key in part.keys)


def test_every_mapping_of_the_file_has_its_table() -> None:
    top = {key.name for key in PARTS["top"].keys if key.takes == "a mapping"}
    assert top == {part.path[0] for part in PARTS.values() if part.path}
    assert {key.name for key in PARTS["edge"].keys} == {field.name for field in fields(Limits)}
    text = (DOCS / "configuration.md").read_text()
    assert all(f"<!-- generated: keys:{name} -->" in text for name in PARTS)
    assert all(f"`{name}`" in text for name in (*TOKEN_VARIABLES, "MCP_HUB_CONFIG", "XDG_DATA_HOME"))


def test_every_code_of_a_refused_envelope_is_described() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (-\d+) \|$", envelope(), re.MULTILINE))
    assert rows == {refused_code(rpc): str(rpc) for rpc in _REFUSED_CODES}


def test_every_problem_of_the_admin_api_is_described() -> None:
    found = {(code, status) for status, (code, _) in _WORDS.items()}
    for path in (ROOT / "hub" / "admin").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    found.add((str(code.value), int(str(status.value))))
    assert found == {(row.code, status) for row in PROBLEMS for status in row.statuses}


def test_the_page_of_the_log_has_every_field_kind_and_outcome() -> None:
    text = (DOCS / "audit.md").read_text()
    first_cells = " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))
    named = set(re.findall(r"`([\w:]+)`", first_cells))
    outcomes = {"done", "error", "asked", "denied:CODE", "cancelled", "unknown"}
    assert named == {*Entry.__struct_fields__, "hash", *get_args(EntryKind), *outcomes}


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} == set(re.findall(r"\((\w[\w-]*\.md)\)", index))


def test_the_readme_begins_with_two_commands() -> None:
    first, second = blocks(ROOT / "README.md", "sh")[:2]
    assert first.strip().endswith("mcp-hub up")
    assert second.strip().endswith("python -m tests.check")
    assert all(block.strip().count("\n") == 0 for block in (first, second))


def test_a_step_is_a_marked_block_and_an_unmarked_one_is_found() -> None:
    page = "<!-- run: exits 2 -->\n```sh\na\n```\ntext\n```sh\nb\n```\n<!-- file: x.json -->\n```json\n{}\n```\n"
    assert [(step.act, step.text, step.name, step.status) for step in steps(page)] == [
        ("run", "a\n", "", 2),
        ("file", "{}\n", "x.json", 0),
    ]
    assert unmarked(page) == ["b\n"]


@pytest.mark.parametrize(
    ("wanted", "lacks"),
    [
        ("one\nthree", None),
        ("o…e\nt … o … words", None),
        ("three\none", "one"),
        ("two", "two"),
        ("on", "on"),
    ],
)
def test_lines_are_looked_for_whole_and_in_their_order(wanted: str, lacks: str | None) -> None:
    assert missing(wanted, "one\ntwo  of   many words\nthree\n") == lacks
