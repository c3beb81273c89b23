"""The run as a table on the terminal, as JSON, and as the block of the docs page that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from conformance.official.judgement import LEGS, Expected, Leg, Results
from conformance.official.runner import REQUIREMENTS, Outcome, version, wanted
from tests.equipment import ROOT

PAGE: Final = ROOT / "hub" / "docs" / "conformance.md"
BEGIN: Final = "<!-- server scenarios: generated -->"
END: Final = "<!-- server scenarios: end -->"
_WORDS: Final = {
    "direct modern": "server of both eras, directly",
    "direct legacy": "server of the older era, directly",
    "hub modern": "hub before the server of both eras",
    "hub legacy": "hub before the server of the older era",
    "federated modern": "hub before both, names of the server of both eras",
    "federated legacy": "hub before both, names of the server of the older era",
}
_SHORT: Final = (
    ("through the hub", ("hub modern", "hub legacy", "federated modern", "federated legacy")),
    ("through the hub, server of both eras", ("hub modern", "federated modern")),
    ("through the hub, server of the older era", ("hub legacy", "federated legacy")),
)


def score(outcomes: Sequence[Outcome], *, scored: bool) -> str:
    counted = [outcome.passed for outcome in outcomes if outcome.scored is scored]
    return f"{sum(counted)} of {len(counted)}"


def plain(results: Results) -> str:
    """For a terminal."""
    lines = [f"official suite {version()}"]
    for leg, outcomes in results.items():
        required, other = score(outcomes, scored=True), score(outcomes, scored=False)
        lines.append(f"{leg!s:<60} required {required:<9} unscored {other}")
        lines += [f"    {outcome.scenario}: {outcome.why()[:200]}" for outcome in outcomes if not outcome.passed]
    return "\n".join(lines)


def as_json(results: Results, found: Sequence[str]) -> dict[str, Any]:
    return {
        "runner": version(),
        "faults": list(found),
        "legs": [
            {
                "where": leg.where,
                "reference": leg.reference,
                "requirements": leg.revision,
                "required": score(outcomes, scored=True),
                "unscored": score(outcomes, scored=False),
                "not_passed": {outcome.scenario: outcome.why() for outcome in outcomes if not outcome.passed},
            }
            for leg, outcomes in results.items()
        ],
    }


def block(lines: Sequence[Expected]) -> str:
    """What the docs say of a run that went as expected; no other run passes."""
    head = ["", *(f"{revision}: {kind}" for revision in REQUIREMENTS for kind in ("required", "others"))]
    rows = [head, ["---"] * len(head)]
    for place, words in _WORDS.items():
        row = [words]
        for revision in REQUIREMENTS:
            leg = next((leg for leg in LEGS if (leg.place, leg.revision) == (place, revision)), None)
            row += ["-", "-"] if leg is None else _as_expected(leg, lines)
        rows.append(row)
    return f"Runner {version()}.\n\n{_markdown(rows)}\n{_markdown(_failing(lines))}"


def _as_expected(leg: Leg, lines: Sequence[Expected]) -> list[str]:
    failing = {line.scenario for line in lines if line.concerns(leg) and not line.checks}
    known = wanted(leg.revision)
    return [f"{len(set(names) - failing)} of {len(names)}" for names in (known.scored, known.unscored)]


def _failing(lines: Sequence[Expected]) -> list[list[str]]:
    """One row for each reason."""
    rows = [["scenarios", "requirements", "where", "why they fail", "what lifts it"], ["---"] * 5]
    grouped: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        key = (line.revision, _where(line.places), line.reason, line.lifted_by)
        only = f" ({', '.join(f'`{check}`' for check in line.checks)} only)" if line.checks else ""
        grouped.setdefault(key, []).append(f"`{line.scenario}`{only}")
    return [*rows, *([", ".join(names), *key] for key, names in grouped.items())]


def _where(places: Sequence[str]) -> str:
    """In few words: most lines concern a server wherever it is behind the hub."""
    left, said = list(places), []
    for words, several in _SHORT:
        if set(several) <= set(left):
            said.append(words)
            left = [place for place in left if place not in several]
    return "; ".join([*said, *(_WORDS[place] for place in left)])


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def written(page: str, said: str) -> str:
    """The page with the block in its place."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{said}\n{END}{after}"


def write(lines: Sequence[Expected], page: Path = PAGE) -> None:
    page.write_text(written(page.read_text(), block(lines)))
