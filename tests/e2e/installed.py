"""The wheel of this checkout, built and installed into an environment of its own, for tests that see only the program.

One installation serves all processes of a test session, whatever is edited meanwhile; another session with other
sources waits until nobody uses it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / ".equipment"
ENVIRONMENT: Final = HOME / "hub"
PARTS: Final = ("hub", "policies", "connectors")
FILES: Final = ("pyproject.toml", "README.md", "LICENSE")
WAIT_S: Final = 600.0
INSTALL_S: Final = 300.0
_POLL_S: Final = 0.2
_SESSION: Final = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"process {os.getpid()}"


@lru_cache(maxsize=1)
def command() -> str:
    """The installed `mcp-hub`. It stays as it is until this process ends."""
    HOME.mkdir(exist_ok=True)
    lock = os.open(HOME / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # held until this process ends
    end = monotonic() + WAIT_S
    while monotonic() < end:
        if _locked(lock, fcntl.LOCK_SH) and _installed_fits(_sources()):
            return str(ENVIRONMENT / "bin" / "mcp-hub")
        fcntl.flock(lock, fcntl.LOCK_UN)
        key = _sources()
        if _locked(lock, fcntl.LOCK_EX) and not _installed_fits(key):
            _install(key)
        fcntl.flock(lock, fcntl.LOCK_UN)
        sleep(_POLL_S)
    raise TimeoutError(f"{ENVIRONMENT} is in use by another test session for longer than {WAIT_S:g} s")


def _locked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark() -> Path:
    return ENVIRONMENT / "installed.json"


def _installed_fits(key: str) -> bool:
    try:
        found = json.loads(_mark().read_text())
    except (OSError, ValueError):
        return False
    return bool(found["key"] == key or found["session"] == _SESSION)


def _constraints() -> Path | None:
    path = ROOT / "constraints.txt"
    return path if path.exists() else None


def _files() -> Iterator[Path]:
    for name in FILES:
        yield ROOT / name
    for part in PARTS:
        yield from sorted(path for path in (ROOT / part).rglob("*") if path.is_file() and path.suffix != ".pyc")


def _sources() -> str:
    digest = sha256()
    for path in _files():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _dependencies() -> str:
    """What decides whether the environment's other packages still fit."""
    constraints = _constraints()
    told = (ROOT / "pyproject.toml").read_bytes() + (constraints.read_bytes() if constraints else b"")
    return sha256(told + sys.version.encode()).hexdigest()


def _install(key: str) -> None:
    _mark().unlink(missing_ok=True)
    python = ENVIRONMENT / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="mcp-hub-wheel-") as scratch:
        wheel = _wheel(Path(scratch))
        ready = ENVIRONMENT / f"dependencies-{_dependencies()[:16]}"
        if not ready.exists():
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(ENVIRONMENT))
            constraints = _constraints()
            bounds = ["-c", str(constraints)] if constraints else []
            _run(str(python), "-m", "pip", "install", "-q", *bounds, str(wheel))
            ready.touch()
        _run(str(python), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", str(wheel))
    _mark().write_text(json.dumps({"key": key, "session": _SESSION}))


def _wheel(scratch: Path) -> Path:
    """Built from a copy: a build leaves nothing in the checkout and finds nothing of an older one."""
    copy = scratch / "source"
    for path in _files():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(scratch), str(copy))
    return next(scratch.glob("*.whl"))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed:\n{done.stdout}\n{done.stderr}")
