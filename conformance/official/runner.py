"""Starts the pinned runner and reads what each scenario's checks say.

The runner's own exit code knows the scored scenarios only; the unscored count here too, so `checks.json` is read.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.equipment import NODE22, OFFICIAL

PACKAGE: Final = OFFICIAL / "node_modules" / "@modelcontextprotocol" / "conformance"
REQUIREMENTS: Final = ("2025-11-25", "2026-07-28")
RUN_S: Final = 240.0
_FOLDER: Final = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True, slots=True)
class Check:
    id: str
    status: str
    error: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario said."""

    scenario: str
    scored: bool
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return self._with("FAILURE")

    @property
    def warnings(self) -> tuple[Check, ...]:
        return self._with("WARNING")

    @property
    def passed(self) -> bool:
        """No failure, and something that succeeded beside the shape of messages, which is checked everywhere."""
        own = [check for check in self._with("SUCCESS") if check.id != "wire-schema-valid"]
        return not self.failures and bool(own)

    @property
    def succeeded(self) -> frozenset[str]:
        """The ids of checks that succeeded each time they were made."""
        return frozenset(check.id for check in self._with("SUCCESS")) - {
            check.id for check in (*self.failures, *self.warnings)
        }

    def _with(self, status: str) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == status)

    def why(self) -> str:
        """In one line, why it did not pass."""
        if self.failures:
            return "; ".join(f"{check.id}: {check.error}" for check in self.failures)
        return (
            ""
            if self.passed
            else "nothing succeeded: "
            + (", ".join(f"{check.id} {check.status}" for check in self.checks) or "no check at all")
        )


def version() -> str:
    found: str = json.loads((PACKAGE / "package.json").read_text())["version"]
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """The scenarios of one leg of a requirement set, in the runner's order."""

    scored: tuple[str, ...]
    unscored: tuple[str, ...]


def wanted(revision: str, leg: str = "server") -> Wanted:
    """What the package itself says belongs to this revision."""
    sets: dict[str, Any] = YAML(typ="safe").load(PACKAGE / "requirements" / f"{revision}.yaml")
    others = tuple(row["scenario"] for row in sets["not_scored"] if row["leg"] == leg)
    return Wanted(tuple(sets[leg]), others)


def run(url: str, revision: str, folder: Path, package: Path = PACKAGE) -> tuple[Outcome, ...]:
    """All server scenarios of a requirement set against one address; `folder` must be new."""
    folder.mkdir(parents=True)
    command = [str(NODE22), str(package / "dist" / "index.js"), "server", "--url", url]
    command += ["--requirements", revision, "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S)
    said = wanted(revision)
    checks = dict(_read(folder))
    missing = sorted({*said.scored, *said.unscored} - set(checks))
    if missing:
        raise RuntimeError(f"the runner left out {', '.join(missing)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return tuple(Outcome(name, name in said.scored, checks[name]) for name in (*said.scored, *said.unscored))


def _read(folder: Path) -> Iterator[tuple[str, tuple[Check, ...]]]:
    for path in sorted(folder.rglob("checks.json")):
        found = _FOLDER.fullmatch(path.parent.name)
        if found is None:
            raise RuntimeError(f"{path.parent.name!r} is no folder of a scenario: has the runner changed?")
        rows = json.loads(path.read_text())
        yield found["scenario"], tuple(Check(row["id"], row["status"], row.get("errorMessage", "")) for row in rows)
