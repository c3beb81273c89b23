"""The house rules that a machine can check: who may import whom, and how long things may get. No exemption list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("hub", "policies", "connectors")
FILE_LINES, TEST_LINES, FUNCTION_LINES = 400, 600, 40
NAMELESS: Final = {"utils", "util", "helpers", "common", "manager", "service", "base", "misc"}

_SIDE_BY_SIDE: Final = ("hub.identity", "hub.audit", "hub.models", "hub.stores", "hub.downstream", "policies")
_LOW: Final = ("hub.core", "hub.wire")
ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "hub.core": (),
    "hub.wire": ("hub.core",),
    **{part: _LOW for part in _SIDE_BY_SIDE},
    "hub.edge": (*_LOW, *_SIDE_BY_SIDE),
    "hub.admin": (*_LOW, *_SIDE_BY_SIDE),
    "hub.running": (),
    "hub.config": (*_LOW, *_SIDE_BY_SIDE, "hub.edge"),
    "hub.assembly": (*_LOW, *_SIDE_BY_SIDE, "hub.edge", "hub.admin", "hub.config", "hub.running", "connectors"),
    "hub.cli": (
        *_LOW,
        *_SIDE_BY_SIDE,
        "hub.edge",
        "hub.admin",
        "hub.config",
        "hub.running",
        "hub.assembly",
    ),
    "connectors": ("hub.core",),
}


def sources() -> list[Path]:
    return sorted(path for top in SOURCES for path in (ROOT / top).rglob("*.py"))


def everything() -> list[Path]:
    return [*sources(), *sorted(path for top in ("tests", "conformance") for path in (ROOT / top).rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer_of(module: str) -> str | None:
    """The part a module belongs to: the longest known prefix, with `hub.config_yaml` counted to `hub.config`."""
    for layer in sorted(ALLOWED, key=len, reverse=True):
        if module == layer or module.startswith((f"{layer}.", f"{layer}_")):
            return layer
    return None


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_source_belongs_to_a_layer() -> None:
    strays = [module_of(p) for p in sources() if layer_of(module_of(p)) is None and module_of(p) != "hub"]
    assert strays == []


def test_imports_point_one_way() -> None:
    wrong = []
    for path in sources():
        own = layer_of(module_of(path))
        for line, target in imports_of(path):
            other = layer_of(target)
            if own is not None and other is not None and other != own and other not in ALLOWED[own]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} imports {other}")
    assert wrong == []


def test_the_core_knows_no_library_but_anyio() -> None:
    allowed = {"anyio", "hub", "__future__"}
    wrong = []
    for path in (ROOT / "hub" / "core").glob("*.py"):
        for line, target in imports_of(path):
            top = target.partition(".")[0]
            if top not in allowed and top not in _standard_library():
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {target}")
    assert wrong == []


def _standard_library() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names


def test_wire_never_waits() -> None:
    for path in (ROOT / "hub" / "wire").glob("*.py"):
        waits = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.AsyncFunctionDef | ast.Await)]
        assert waits == [], path


def test_files_stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in everything()
        if (lines := path.read_text().count("\n"))
        > (TEST_LINES if path.parts[-2:][0] == "tests" or _is_test(path) else FILE_LINES)
    ]
    assert long == []


def test_functions_stay_short() -> None:
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_modules_are_named_for_what_they_hold() -> None:
    assert [p.relative_to(ROOT) for p in everything() if p.stem in NAMELESS] == []


def test_the_road_of_one_call_is_short() -> None:
    """decode to encode, in at most 2,000 lines."""
    road = [
        "hub/edge/mcp_modern.py",
        "hub/wire/decode.py",
        "hub/core/pipeline.py",
        "hub/assembly.py",
        "hub/downstream/dispatch.py",
        "hub/downstream/pool.py",
        "hub/downstream/http_modern.py",
        "hub/wire/encode.py",
    ]
    assert sum((ROOT / name).read_text().count("\n") for name in road) <= 2000


@pytest.mark.parametrize("word", ["mock.patch", "MagicMock", "NotImplementedError"])
def test_nothing_is_faked_or_left_out(word: str) -> None:
    found = [p.relative_to(ROOT) for p in everything() if p != Path(__file__).resolve() and word in p.read_text()]
    assert found == []


def _is_test(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] == "tests"
