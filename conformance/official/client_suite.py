"""The official client scenarios of both requirement sets, run against the hub's downstream side and judged.

    python -m conformance.official.client_suite [--write-docs] [--json FILE] [SCENARIO ...]

A scenario passes when the runner calls it passed (no failure, no warning, its client content) and at least one check
succeeded. What is known to fail is in `expected_failures_client.yaml`; a line there that no longer fails is a fault.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.equipment import NODE22, ROOT

HERE: Final = Path(__file__).resolve().parent
PACKAGE: Final = HERE / "npm" / "node_modules" / "@modelcontextprotocol" / "conformance"
EXPECTED: Final = HERE / "expected_failures_client.yaml"
DOCS: Final = ROOT / "hub" / "docs" / "conformance.md"
REVISIONS: Final = ("2025-11-25", "2026-07-28")
BEGIN, END = "<!-- client scenarios: generated -->", "<!-- client scenarios: end -->"
COMMAND: Final = f"{sys.executable} -m conformance.official.client"
WORDS: Final = """\
The suite's client scenarios look at how the hub speaks to servers: `python -m conformance.official.client_suite`
starts, for each, a hub whose one server is the suite's, and a caller that does the least that makes the hub speak. A
scenario passes when the suite calls it passed, our caller got what it wanted, and at least one check succeeded. What
fails is listed in `conformance/official/expected_failures_client.yaml`, where an untrue line fails the run too.

The suite gives `http-custom-headers` a call with null for a boolean. The hub refuses it, as the tool's schema does, and
our caller then leaves that argument out.

`python -m conformance.requirements` prints how many requirements of the specification are tied to tests, and each that
the hub does not meet as it is asked."""
CLIENT_MS: Final = 90_000
JOBS: Final = 2  # each is a hub of its own, started and ended


@dataclass(frozen=True, slots=True)
class Scenario:
    revision: str
    name: str
    scored: bool


@dataclass(frozen=True, slots=True)
class Result:
    scenario: Scenario
    passed: bool
    successes: int
    faults: tuple[str, ...]  # ids of the checks that failed or warned
    said: str = ""  # the last line of our client, when it was not content


@dataclass(frozen=True, slots=True)
class Expected:
    """A failure that is known: which scenarios, why, and what would lift it."""

    scenario: str  # a name, or a pattern as in file names
    revisions: tuple[str, ...]
    reason: str
    lifted_by: str

    def meets(self, scenario: Scenario) -> bool:
        return scenario.revision in self.revisions and fnmatchcase(scenario.name, self.scenario)


def scenarios(revision: str) -> tuple[Scenario, ...]:
    """All client scenarios of a requirement set, those it only reports included."""
    given = _yaml(PACKAGE / "requirements" / f"{revision}.yaml")
    scored = [Scenario(revision, name, True) for name in given["client"]]
    more = [entry["scenario"] for entry in given["not_scored"] if entry["leg"] == "client"]
    return (*scored, *(Scenario(revision, name, False) for name in more))


def expected_failures() -> tuple[Expected, ...]:
    return tuple(
        Expected(line["scenario"], tuple(line["revisions"]), line["reason"], line["lifted_by"])
        for line in _yaml(EXPECTED)["client"]
    )


def run(chosen: Iterable[Scenario]) -> list[Result]:
    """In the order given; some at a time."""
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(run_one, chosen))


def run_one(scenario: Scenario) -> Result:
    with tempfile.TemporaryDirectory(prefix="official-") as folder:
        command = [str(NODE22), str(PACKAGE / "dist" / "index.js"), "client", "--command", COMMAND]
        command += ["--scenario", scenario.name, "--spec-version", scenario.revision, "--force"]
        command += ["--timeout", str(CLIENT_MS), "-o", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CLIENT_MS / 1000 + 60)
        found = list(Path(folder).rglob("checks.json"))
        if not found:
            return Result(scenario, False, 0, (), f"the runner wrote no checks: {_last_line(done.stderr)}")
        said = "".join(path.read_text() for path in Path(folder).rglob("stderr.txt"))
        return judged(scenario, json.loads(found[0].read_text()), done.returncode == 0, _last_line(said))


def judged(scenario: Scenario, checks: Sequence[dict[str, Any]], content: bool, said: str = "") -> Result:
    """`content`: the runner itself ended without a complaint, which counts our client's exit status too."""
    successes = sum(check["status"] == "SUCCESS" for check in checks)
    faults = dict.fromkeys(check["id"] for check in checks if check["status"] in ("FAILURE", "WARNING"))
    return Result(scenario, content and successes > 0 and not faults, successes, tuple(faults), said)


def problems(results: Iterable[Result], expected: Iterable[Expected]) -> list[str]:
    """What differs from what is expected, a line each; a line of the file that meets nothing is one too."""
    lines, unused = [], set(expected)
    for result in results:
        known = [line for line in expected if line.meets(result.scenario)]
        unused.difference_update(known)
        where = f"{result.scenario.revision} {result.scenario.name}"
        if result.passed and known:
            lines.append(f"{where}: passes, but {known[0].scenario!r} of {EXPECTED.name} says that it fails: remove it")
        elif not result.passed and not known:
            lines.append(f"{where}: failed {', '.join(result.faults) or 'without a failed check'}. {result.said}")
    lines += [f"{EXPECTED.name}: {line.scenario!r} meets no scenario that was run: remove it" for line in unused]
    return lines


def as_expected() -> list[Result]:
    """What a run gives when everything is as the file of expected failures says: what the docs show."""
    known = expected_failures()
    return [
        Result(each, passed=not any(line.meets(each) for line in known), successes=0, faults=())
        for revision in REVISIONS
        for each in scenarios(revision)
    ]


def missing() -> tuple[str, ...]:
    """What the scenarios need and this checkout does not have."""
    return tuple(str(path.relative_to(ROOT)) for path in (NODE22, PACKAGE) if not path.exists())


def client_rows(results: Iterable[Result]) -> list[tuple[str, str, str]]:
    """(scenarios, result per revision in words, reason) for the docs: one line per name, or per known pattern."""
    known = expected_failures()
    rows: dict[str, tuple[dict[str, list[Result]], str]] = {}
    for result in results:
        line = next((line for line in known if line.meets(result.scenario)), None)
        name = line.scenario if line is not None else result.scenario.name
        by_revision, _ = rows.setdefault(name, ({}, ""))
        by_revision.setdefault(result.scenario.revision, []).append(result)
        if line is not None:
            rows[name] = (by_revision, f"{line.reason} Lifted by: {line.lifted_by}")
    return [(f"`{name}`", _tally(by_revision), reason) for name, (by_revision, reason) in rows.items()]


def table(results: Sequence[Result]) -> str:
    """Our part of the page."""
    lines = ["| client scenario | passed | where it fails, and what lifts it |", "|---|---|---|"]
    lines += [f"| {name} | {tally} | {reason} |" for name, tally, reason in client_rows(results)]
    totals = "; ".join(_total(results, revision) for revision in REVISIONS)
    return "\n".join((WORDS, "", f"Client scenarios passed: {totals}.", "", *lines))


def _total(results: Iterable[Result], revision: str) -> str:
    own = [result for result in results if result.scenario.revision == revision]
    scored = [result.passed for result in own if result.scenario.scored]
    rest = [result.passed for result in own if not result.scenario.scored]
    return f"{revision}: {sum(scored)} of {len(scored)} scored, {sum(rest)} of {len(rest)} unscored"


def _tally(by_revision: dict[str, list[Result]]) -> str:
    parts = []
    for revision, own in by_revision.items():
        passed = sum(result.passed for result in own)
        parts.append(
            f"{revision}: {'yes' if passed else 'no'}" if len(own) == 1 else f"{revision}: {passed}/{len(own)}"
        )
    return ", ".join(parts)


def with_block(page: str, block: str) -> str:
    """The page with our block renewed; at its end when it has none."""
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n{BEGIN}\n\n{block}\n\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.partition(END)[2]}"


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", nargs="*", help="only these")
    parser.add_argument("--write-docs", action="store_true", help=f"renew the table in {DOCS.name}")
    parser.add_argument("--json", type=Path, help="write the results there")
    args = parser.parse_args()
    wanted = [each for revision in REVISIONS for each in scenarios(revision)]
    chosen = [each for each in wanted if not args.scenario or each.name in args.scenario]
    results = run(chosen)
    print(table(results))
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    if args.write_docs:
        DOCS.write_text(with_block(DOCS.read_text(), table(results)))
    expected = [line for line in expected_failures() if any(line.meets(each) for each in chosen)]
    found = problems(results, expected)
    print("\n".join(("", *found)) if found else "\nAs expected.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
