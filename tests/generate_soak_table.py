"""The verdict of the soak in the docs, made of the output that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

KEPT: Final = Path(__file__).resolve().parent.parent / "conformance" / "soak" / "results.json"

Table = Callable[[Sequence[str], Sequence[Sequence[object]]], str]


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def soak(table: Table) -> str:
    rows = [(claim["claim"], claim["seen"], "yes" if claim["holds"] else "**no**") for claim in kept()["claims"]]
    return f"Of a run of {kept()['minutes']:g} minutes:\n\n" + table(("claim", "seen", "holds"), rows)
