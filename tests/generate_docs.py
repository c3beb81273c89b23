"""Writes the tables of the docs that the code knows best, between their markers; everything around them stays.

    python -m tests.generate_docs            write
    python -m tests.generate_docs --check    exit with 1 when a page is stale

A page has `<!-- generated: NAME -->` and `<!-- end -->` around each table.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from conformance.bench import page as bench
from hub.admin.problem_codes import PROBLEMS
from hub.config import Config, ConfigError, Fault, load
from hub.config_keys import PARTS, Key, Part
from hub.edge.rejections import REJECTIONS
from hub.wire import jsonrpc
from hub.wire.denials import CODES, HEADER_MISMATCH, refused_code
from tests.generate_clients_table import clients
from tests.generate_soak_table import soak

DOCS: Final = Path(__file__).resolve().parent.parent / "hub" / "docs"
PAGES: Final = ("configuration.md", "errors.md", "clients.md", "soak.md", "performance.md")
_TABLE = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ENVELOPE: Final = {
    jsonrpc.PARSE_ERROR: "the body is not JSON as the protocol wants it",
    jsonrpc.INVALID_REQUEST: "the message is no JSON-RPC 2.0 request, or may not come at this time",
    jsonrpc.METHOD_NOT_FOUND: "the hub does not know this method, or does not offer it here",
    jsonrpc.INVALID_PARAMS: "the parameters do not have the shape that the method wants",
    HEADER_MISMATCH: "the headers and the body disagree",
    -32022: "the hub does not speak this protocol revision; `data.supported` has those it speaks",
}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def keys(part: Part) -> str:
    """One row a key, in the order of the table beside the code."""
    bare = _loaded(
        {
            "mcpServers": {"one": {"url": "http://127.0.0.1:1/mcp"}},
            "telemetry": {"endpoint": "http://127.0.0.1:4318"},
            "auth": {
                "sso": {"issuer": "https://id.example.com", "client_id": "hub", "client_secret": "secret:sso"},
                "issuers": [{"issuer": "https://id.example.com"}],
            },
        }
    )
    assert isinstance(bare, Config)
    rows = [(f"`{key.name}`", _default(key, bare) or "-", _takes(part, key), key.does) for key in part.keys]
    return table(("key", "default", "takes", "what it does"), rows)


def _default(key: Key, bare: Config) -> str:
    if isinstance(key.default, str):
        return key.default
    value = key.default(bare)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _takes(part: Part, key: Key) -> str:
    """In the hub's own words: what it says about a value of another kind."""
    if key.takes:
        return key.takes
    wrong = {"?": None}
    found = _loaded(nested((*part.path, key.name), wrong))
    assert not isinstance(found, Config), key.name
    words = [fault.text for fault in found if fault.where.endswith(key.name) and fault.text.startswith("must be ")]
    assert words, f"{key.name}: {found}"
    return words[0].removeprefix("must be ").partition(", not ")[0].replace("1e+07", "10000000")


def nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = [value] if name == "[]" else {name: value}
    return value


def _loaded(value: Mapping[str, Any]) -> Config | tuple[Fault, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.yaml"
        with path.open("w") as file:
            YAML(typ="safe").dump(value, file)
        try:
            return load(path, {"HOME": folder})
        except ConfigError as exc:
            return exc.faults


def faults_of(value: Mapping[str, Any]) -> tuple[Fault, ...]:
    found = _loaded(value)
    return () if isinstance(found, Config) else found


def denials() -> str:
    rows = [
        (f"`{code}`", " ".join(filter(None, (row.what or "Unknown item.", row.next))), row.rpc, row.status)
        for code, row in CODES.items()
    ]
    return table(("code", "what the caller reads, before details of the case", "JSON-RPC", "HTTP"), rows)


def envelope() -> str:
    return table(
        ("code", "what it means", "JSON-RPC"),
        [(f"`{refused_code(rpc)}`", words, rpc) for rpc, words in _ENVELOPE.items()],
    )


def rejections() -> str:
    rows = [(f"`{row.code}`", row.words, row.rpc, row.status) for row in REJECTIONS.values()]
    return table(("code", "what the caller reads", "JSON-RPC", "HTTP"), rows)


def problems() -> str:
    rows = [(f"`{row.code}`", row.means, ", ".join(map(str, row.statuses))) for row in PROBLEMS]
    return table(("code", "what it means", "HTTP"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    **{f"keys:{name}": partial(keys, part) for name, part in PARTS.items()},
    "denials": denials,
    "envelope": envelope,
    "rejections": rejections,
    "problems": problems,
    "clients": partial(clients, table),
    "soak": partial(soak, table),
    "bench-targets": partial(bench.verdicts, table),
    "bench-stages": bench.stages,
    "bench-calls": partial(bench.calls, table),
    "bench-waits": bench.waits,
    "bench-controls": partial(bench.controls, table),
}


def rendered(page: str) -> str:
    """The page with its tables as they must be now."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.generate_docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is stale")
    check = parser.parse_args(argv).check
    stale = []
    for path in (DOCS / name for name in PAGES):
        before = path.read_text()
        after = rendered(before)
        if before != after:
            stale.append(path.name)
            if not check:
                path.write_text(after)
    if stale:
        print(f"{'stale' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
