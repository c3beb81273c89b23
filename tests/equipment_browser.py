"""The browser of the end-to-end tests: Debian's Chromium, what drives it, and what judges pages for people with help.

Installed by `python -m tests.equipment`; Chromium itself where apt and root are there, as in `.ci/run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.equipment import HOME, Environment, install_environment

CHROMIUM: Final = Path("/usr/bin/chromium")
# The driver only: it downloads no browser of its own. Pillow makes pictures small.
BROWSER: Final = Environment("browser", ("playwright==1.65.2", "pillow==13.0.0"))
AXE_PACKAGE: Final = "axe-core@4.14.1"
AXE: Final = HOME / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def browser_missing() -> tuple[str, ...]:
    """What the browser tests need and this checkout does not have, one line each."""
    lacks = [] if CHROMIUM.exists() else [f"{CHROMIUM} (apt-get install chromium)"]
    if not BROWSER.ready:
        lacks.append(f"python environment {BROWSER.name!r} ({' '.join(BROWSER.packages)})")
    if not AXE.exists():
        lacks.append(f"{AXE_PACKAGE} under .equipment/axe")
    return tuple(lacks)


def install_browser() -> str | None:
    """Install what is missing; the reason in words when this machine cannot."""
    install_environment(BROWSER)
    if shutil.which("npm") is None:
        return "npm is not on PATH: axe-core and the browser tests are skipped"
    if not AXE.exists():
        print(f"equipment: installing {AXE_PACKAGE} into .equipment/axe", flush=True)
        home = HOME / "axe"
        home.mkdir(parents=True, exist_ok=True)
        quiet = ("--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts")
        subprocess.run(["npm", "install", *quiet, "--prefix", str(home), AXE_PACKAGE], check=True)
    if CHROMIUM.exists():
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{CHROMIUM} is missing (apt-get install chromium): the browser tests are skipped"
    print("equipment: installing chromium", flush=True)
    subprocess.run(["apt-get", "update", "-q"], check=True)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    subprocess.run(command, check=True)
    return None
