"""What a run of the suite means: which scenarios fail, whether that is expected, and what nobody expects any longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from conformance.official.runner import REQUIREMENTS, Outcome, wanted

EXPECTED: Final = Path(__file__).resolve().parent / "expected_failures.yaml"


_WAYS: Final = {"direct": "directly", "hub": "through the hub", "federated": "as one of two behind the hub"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One requirement set against one target."""

    where: str  # "direct"; "hub", alone behind it and without prefix; "federated", one of two, by prefixed names
    reference: str
    revision: str

    def __str__(self) -> str:
        return f"{self.reference} reference {_WAYS[self.where]}, {self.revision}"

    @property
    def place(self) -> str:
        return f"{self.where} {self.reference}"


LEGS: Final = (
    *(Leg("direct", "modern", revision) for revision in REQUIREMENTS),
    Leg("direct", "legacy", "2025-11-25"),  # it knows no other
    *(
        Leg(where, reference, revision)
        for where in ("hub", "federated")
        for reference in ("modern", "legacy")
        for revision in REQUIREMENTS
    ),
)
PLACES: Final = tuple(dict.fromkeys(leg.place for leg in LEGS))

Results = Mapping[Leg, Sequence[Outcome]]


@dataclass(frozen=True, slots=True)
class Expected:
    """One scenario that is known to fail on some legs; or, with `checks`, to pass there without those checks."""

    scenario: str
    revision: str
    places: tuple[str, ...]
    reason: str
    lifted_by: str
    checks: tuple[str, ...] = ()

    def concerns(self, leg: Leg) -> bool:
        return leg.revision == self.revision and leg.place in self.places


def expected(path: Path = EXPECTED) -> tuple[Expected, ...]:
    """All lines of the file, one for each scenario. Raises ValueError for a line that is not whole."""
    rows: list[Mapping[str, Any]] = YAML(typ="safe").load(path) or []
    return tuple(line for number, row in enumerate(rows, 1) for line in _lines(number, row))


def _lines(number: int, row: Mapping[str, Any]) -> Iterable[Expected]:
    keys = {"scenarios", "requirements", "where", "reason", "lifted_by"}
    if set(row) - {"checks"} != keys or not all(row.values()):
        raise ValueError(
            f"row {number} of the expected failures must have {', '.join(sorted(keys))}; checks it may have"
        )
    revision = str(row["requirements"])
    if revision not in REQUIREMENTS or not set(row["where"]) <= set(PLACES):
        raise ValueError(f"row {number}: requirements are {REQUIREMENTS}, where is of {PLACES}")
    known = wanted(revision)
    for scenario in row["scenarios"]:
        if scenario not in (*known.scored, *known.unscored):
            raise ValueError(f"row {number}: {revision} has no server scenario {scenario!r}")
        reason, checks = " ".join(row["reason"].split()), tuple(row.get("checks", ()))
        yield Expected(scenario, revision, tuple(row["where"]), reason, row["lifted_by"], checks)


def faults(results: Results, lines: Sequence[Expected]) -> list[str]:
    """What nobody expected, in words: failures, passes that prove less than a direct run, and stale lines."""
    found = []
    for leg, outcomes in results.items():
        own = [line for line in lines if line.concerns(leg)]
        known = {line.scenario for line in own if not line.checks}
        for outcome in outcomes:
            if not outcome.passed:
                if outcome.scenario not in known:
                    found.append(f"{leg}: {outcome.scenario} fails: {outcome.why()}")
                continue
            if outcome.scenario in known:
                found.append(f"{leg}: {outcome.scenario} passes; take its line out of the expected failures")
            less = _less(leg, outcome, results)
            excused = {check for line in own if line.scenario == outcome.scenario for check in line.checks}
            if less - excused:
                found.append(
                    f"{leg}: {outcome.scenario} passes without {_names(less - excused)}, which succeed directly"
                )
            if stale := excused & outcome.succeeded:
                found.append(
                    f"{leg}: {outcome.scenario}: {_names(stale)} succeed; take them out of the expected failures"
                )
    return found


def _names(checks: Iterable[str]) -> str:
    return ", ".join(sorted(checks))


def _less(leg: Leg, outcome: Outcome, results: Results) -> set[str]:
    """Checks that succeed directly and neither succeed nor fail here: skipped ones, warnings, those never reached."""
    direct = results.get(Leg("direct", leg.reference, leg.revision), ())
    before = {id for one in direct if one.scenario == outcome.scenario for id in one.succeeded}
    return before - outcome.succeeded
