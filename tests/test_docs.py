"""The docs say what the code does: every code, every configuration key, every link, every example."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from hub.config import load
from hub.edge.ports import Limits
from hub.wire.denials import CODES

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "hub" / "docs"
PAGES: Final = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_configuration_example_loads(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        load(path, {"HOME": str(tmp_path), "WIKI_AUTHORIZATION": "Bearer x"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_json_example_is_json(page: Path) -> None:
    for text in blocks(page, "json"):
        json.loads(text)


def test_every_denial_code_has_its_row_in_the_errors_page() -> None:
    text = (DOCS / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", text, re.MULTILINE))
    wanted = {code: " ".join(filter(None, (row.what or "Unknown item.", row.next))) for code, row in CODES.items()}
    assert rows == wanted


def test_every_configuration_key_is_described() -> None:
    text = (DOCS / "configuration.md").read_text()
    server = "command args env cwd url headers type connector enabled disabled era pins trusted variant_of timeouts"
    keys = [field.name for field in fields(Limits)] + server.split() + ["max_result_bytes", "limit"]
    keys += ["listen", "data_dir", "mcpServers", "endpoints", "limits", "screening", "results", "output_bytes"]
    keys += ["allowed_hosts", "allowed_origins", "edge", "log", "servers", "prefix", "page_size"]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_readme_begins_with_two_commands() -> None:
    first, second = blocks(ROOT / "README.md", "sh")[:2]
    assert first.strip().endswith("mcp-hub up")
    assert second.strip().endswith("python -m tests.check")
    assert all(block.strip().count("\n") == 0 for block in (first, second))
