"""The official suite's scenarios of an authorization server, against the hub's own, with a person in a real browser.

    python -m conformance.official.authorization [--write-docs] [--json FILE]

The suite prints an address and waits for somebody to log in there: Chromium opens it, logs in and allows. Exits with 1
when a scenario does not pass: here nothing is expected to fail.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from conformance.official.client_suite import DOCS
from conformance.official.runner import PACKAGE, Check, Outcome, version
from tests.e2e.oauth.browser import Person, chromium
from tests.e2e.oauth.login_hub import NAME, PASSWORD, LoginHub, login_hub
from tests.e2e.real import free_port
from tests.equipment import NODE22, official_missing
from tests.equipment_browser import browser_missing

SCENARIOS: Final = ("authorization-server-metadata-endpoint", "authorization-code-grant")
BEGIN, END = "<!-- authorization scenarios: generated -->", "<!-- authorization scenarios: end -->"
LIMIT_S: Final = 120.0
_OPEN: Final = "Access the following URL in your browser"


def missing() -> tuple[str, ...]:
    """What the scenarios need and this checkout does not have."""
    return (*official_missing(), *browser_missing())


def run(folder: Path) -> tuple[Outcome, ...]:
    """Both scenarios, one after the other: the second one uses what the first one found. `folder` must be empty."""
    place = folder / "hub"
    place.mkdir()
    with login_hub(place) as hub, chromium(folder) as browser:
        _run(hub, browser.person(NAME), folder / "results")
    return tuple(Outcome(name, True, _checks(folder / "results", name)) for name in SCENARIOS)


def _run(hub: LoginHub, person: Person, results: Path) -> None:
    port = free_port()
    client = hub.register(f"http://127.0.0.1:{port}/callback", "The official suite")
    command = [str(NODE22), str(PACKAGE / "dist" / "index.js"), "authorization", "--url", hub.issuer]
    command += ["--client-id", client, "--resource", hub.url, "--port", str(port), "--output-dir", str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as runner:
        assert runner.stdout is not None
        said: list[str] = []
        try:
            for line in runner.stdout:
                is_asked = bool(said) and said[-1].startswith(_OPEN)
                said.append(line)
                if is_asked:
                    person.log_in(line.strip(), NAME, PASSWORD)
                    person.press("Allow")
                    person.arrive(r"/callback\?")
            runner.wait(LIMIT_S)
        except BaseException:
            runner.kill()
            raise
    if not results.is_dir():
        raise RuntimeError(f"the runner wrote no checks:\n{''.join(said)[-3000:]}")


def _checks(results: Path, scenario: str) -> tuple[Check, ...]:
    found = [path for path in results.rglob("checks.json") if scenario in path.parent.name]
    rows = [row for path in found for row in json.loads(path.read_text())]
    return tuple(Check(row["id"], row["status"], row.get("errorMessage") or "") for row in rows)


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Every scenario that did not pass, and every warning, a line each."""
    found = [f"{one.scenario}: {one.why()}" for one in outcomes if not one.passed]
    return found + [f"{one.scenario}: {check.id}: {check.error}" for one in outcomes for check in one.warnings]


def block() -> str:
    """Our part of the page, which says what a run must give."""
    lines = [
        "`python -m conformance.official.authorization` points the suite at the hub's own authorization server. The",
        "suite prints an address; headless Chromium opens it, logs in as a user and allows. None may fail or warn.",
        "",
        f"Runner {version()}.",
        "",
        "| authorization scenario | passed |",
        "|---|---|",
        *(f"| `{scenario}` | yes |" for scenario in SCENARIOS),
    ]
    return "\n".join(lines)


def with_block(page: str) -> str:
    """The page with our block renewed; under a heading of its own at the end when it has none."""
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n## As an authorization server\n\n{BEGIN}\n\n{block()}\n\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{block()}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.official.authorization", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--write-docs", action="store_true", help=f"renew the table in {DOCS.name}, if all passed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there as well")
    args = parser.parse_args()
    if lacks := missing():
        print(f"{'; '.join(lacks)}: run `python -m tests.equipment`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="official-") as folder:
        outcomes = run(Path(folder))
    found = problems(outcomes)
    for one in outcomes:
        print(f"{one.scenario}: {'passed' if one.passed else 'failed'}, {len(one.checks)} checks")
    print("\n".join(found) or "as expected")
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    if args.write_docs and not found:
        DOCS.write_text(with_block(DOCS.read_text()))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
