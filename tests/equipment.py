"""Real servers and clients for the end-to-end tests, installed once under `.equipment/` and found again by their pins.

    python -m tests.equipment        install what this machine can hold

Needs only what a developer has: Python for the Python environments, `node` and `npm` for the others. What is missing
is skipped and printed; with `MCP_HUB_REQUIRE_ALL=1` it is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".equipment"
NPM: Final = ROOT / "tests" / "e2e" / "npm"
OFFICIAL: Final = ROOT / "conformance" / "official" / "npm"
NODE22_PACKAGE: Final = "node@22.23.3"  # the official suite and the Inspector refuse to start on anything older
NODE22: Final = HOME / "node" / "node_modules" / "node" / "bin" / "node"
REQUIRE_ALL: Final = os.environ.get("MCP_HUB_REQUIRE_ALL") == "1"


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python environment of its own: these packages pin otherwise what the hub pins too."""

    name: str
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        return HOME / self.name / "bin" / "python"

    @property
    def mark(self) -> Path:
        return HOME / self.name / f"installed-{sha256(' '.join(self.packages).encode()).hexdigest()[:12]}"

    @property
    def ready(self) -> bool:
        return self.mark.exists()


TIME: Final = Environment("time", ("mcp-server-time==2026.10.10",))
GIT: Final = Environment("git", ("mcp-server-git==2026.10.19",))
OLD_CLIENT: Final = Environment("old-client", ("mcp==1.30.0",))
SCHEMATHESIS: Final = Environment("schemathesis", ("schemathesis==4.32.5",))
COLLECTOR: Final = Environment("collector", ("rotel==0.0.1a15",))  # an OpenTelemetry collector, as a program
ENVIRONMENTS: Final = (TIME, GIT, OLD_CLIENT, SCHEMATHESIS, COLLECTOR)


def npm_server(name: str) -> Path:
    """The entry file of a server of `tests/e2e/npm`, to be run by node."""
    return NPM / "node_modules" / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js"


def npm_ready() -> bool:
    return shutil.which("node") is not None and npm_server("everything").exists()


def official_missing() -> tuple[str, ...]:
    """What the official conformance suite needs and this checkout does not have, one line each."""
    lacks = [] if NODE22.exists() else [f"{NODE22_PACKAGE} under .equipment/node"]
    if not (OFFICIAL / "node_modules" / "@modelcontextprotocol" / "conformance").exists():
        lacks.append("the npm package of conformance/official/npm")
    if not OLD_CLIENT.ready:
        lacks.append(f"python environment {OLD_CLIENT.name!r} ({' '.join(OLD_CLIENT.packages)})")
    return tuple(lacks)


def missing() -> tuple[str, ...]:
    """What the end-to-end tests would like and this checkout does not have, one line each."""
    lacks = [f"python environment {env.name!r} ({' '.join(env.packages)})" for env in ENVIRONMENTS if not env.ready]
    if not npm_ready():
        lacks.append("node with the servers of tests/e2e/npm")
    return tuple(lacks)


def install_environment(env: Environment) -> None:
    if env.ready:
        return
    print(f"equipment: installing {' '.join(env.packages)} into .equipment/{env.name}", flush=True)
    shutil.rmtree(HOME / env.name, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(HOME / env.name)], check=True)
    subprocess.run([str(env.python), "-m", "pip", "install", "-q", *env.packages], check=True)
    env.mark.touch()


def install_npm() -> str | None:
    """Install the node servers; the reason in words when this machine cannot."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not on PATH: the node servers are skipped"
    if not npm_ready():
        print("equipment: installing the node servers of tests/e2e/npm", flush=True)
        subprocess.run(["npm", "ci", "--silent"], cwd=NPM, check=True)
    return None


def install_official() -> str | None:
    """Install Node 22 and the official suite's runner; the reason in words when this machine cannot."""
    if shutil.which("npm") is None:
        return "npm is not on PATH: Node 22 and the official conformance suite are skipped"
    if not NODE22.exists():
        print(f"equipment: installing {NODE22_PACKAGE} into .equipment/node", flush=True)
        home = HOME / "node"
        home.mkdir(parents=True, exist_ok=True)
        quiet = ("--silent", "--no-audit", "--no-fund", "--no-save")
        subprocess.run(["npm", "install", *quiet, "--prefix", str(home), NODE22_PACKAGE], check=True)
    if not (OFFICIAL / "node_modules").exists():
        print("equipment: installing the official conformance suite of conformance/official/npm", flush=True)
        subprocess.run(["npm", "ci", "--silent"], cwd=OFFICIAL, check=True)
    return None


def main() -> int:
    HOME.mkdir(exist_ok=True)
    for env in ENVIRONMENTS:
        install_environment(env)
    from tests.equipment_browser import install_browser  # both are made of what stands here
    from tests.equipment_clients import install_clients

    told = (install_npm(), install_official(), install_clients(), install_browser())
    reasons = [reason for reason in told if reason is not None]
    for reason in reasons:
        print(f"equipment: {reason}", file=sys.stderr)
    return 1 if reasons and REQUIRE_ALL else 0


if __name__ == "__main__":
    sys.exit(main())
