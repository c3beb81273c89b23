"""Looks at the machine around a hub: programs it starts, what holds them in, descriptors, versions. Changes nothing."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hub import VERSION
from hub.admin.finding import Finding

LAUNCHERS: Final[Mapping[str, str]] = {
    "npx": "install Node.js (https://nodejs.org)",
    "node": "install Node.js (https://nodejs.org)",
    "uvx": "install uv (https://docs.astral.sh/uv)",
    "docker": "install Docker (https://docs.docker.com/engine/install)",
    "python3": "install Python 3",
}
VERSION_S: Final = 5.0
FULL: Final = 0.8  # of the descriptors: time to act
FEW: Final = 1024
_PATH_HINT: Final = "or give the command's full path"

Which = Callable[[str], str | None]


def launchers(needed: Mapping[str, str], which: Which = shutil.which) -> Iterator[Finding]:
    """`needed`: the command of each server that is started as a process, by server id."""
    missing: dict[str, list[str]] = {}
    for server, command in sorted(needed.items()):
        if which(command) is None:
            missing.setdefault(command, []).append(server)
    for command, servers in missing.items():
        said = f"{command} is not to be found on PATH, and {', '.join(servers)} cannot start without it"
        yield Finding("launchers", "problem", said, f"{LAUNCHERS.get(Path(command).name, 'install it')}, {_PATH_HINT}")
    found = {name: path for name in LAUNCHERS if (path := which(name)) is not None}
    for name, path in found.items():
        yield Finding("launchers", "ok", f"{name} {_version_of(path) or 'of unknown version'} at {path}")
    absent = [name for name in LAUNCHERS if name not in found and name not in missing]
    if absent:
        yield Finding("launchers", "note", f"not found, and not needed by any server now: {', '.join(absent)}")


def _version_of(path: str) -> str | None:
    try:
        done = subprocess.run(
            (path, "--version"), capture_output=True, timeout=VERSION_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(rb"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0].decode() if found is not None else None


def isolation(which: Which = shutil.which, platform_name: str = sys.platform) -> Iterator[Finding]:
    """What holds the servers in that run as processes. Told as it is, for it is less than many expect."""
    linux = platform_name == "linux"
    ends = "and none outlives the hub" if linux else "but without Linux a child may outlive a killed hub"
    said = f"each child has a session and process group of its own and no inherited environment, {ends}"
    yield Finding("isolation", "ok" if linux else "note", said)
    said = "children run as the hub's own user, without a sandbox: they can read what it can, its data_dir too"
    yield Finding("isolation", "note", said, "run the hub in a container or a hardened unit: mcp-hub render")
    found = which("bwrap")
    if found is not None:
        yield Finding("isolation", "note", f"bubblewrap is at {found}, but this version does not use it")


def descriptors(pid: int | None, proc: Path = Path("/proc")) -> Finding:
    """Of the running hub; else what the next one would get from this shell."""
    who, soft, used = "a hub started here", resource.getrlimit(resource.RLIMIT_NOFILE)[0], None
    if pid is not None:
        try:
            used = len(os.listdir(proc / str(pid) / "fd"))
            limits = (proc / str(pid) / "limits").read_text()
            row = next(line for line in limits.splitlines() if line.startswith("Max open files"))
            who, soft = f"the hub (process {pid})", int(row.split()[3])
        except (OSError, StopIteration, ValueError, IndexError):
            used = None
    more = "raise the limit: ulimit -n 65536, or LimitNOFILE= of its unit"
    if used is not None and used > soft * FULL:
        return Finding("descriptors", "problem", f"{who} has {used} of at most {soft} files and sockets open", more)
    said = f"{who} may have {soft} files and sockets open" + ("" if used is None else f", and has {used}")
    if 0 <= soft < FEW:
        return Finding("descriptors", "problem", said, more)
    return Finding("descriptors", "ok", said)


def versions() -> Finding:
    try:
        sdk = version("mcp")
    except PackageNotFoundError:
        fix = "install mcp-hub anew: pip install --force-reinstall mcp-hub"
        return Finding("versions", "problem", "the MCP SDK (mcp) is not installed", fix)
    words = (
        f"mcp-hub {VERSION}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
        ssl.OPENSSL_VERSION,
        f"mcp {sdk}",
        f"{platform.system()} {platform.release()}",
    )
    return Finding("versions", "ok", ", ".join(words))


def servers(rows: Iterable[Mapping[str, object]]) -> Iterator[Finding]:
    """From what the running hub tells of each."""
    for row in rows:
        id, state, reason = str(row["id"]), str(row["state"]), str(row["reason"] or "")
        test = f"mcp-hub servers test {id}"
        if state in ("ready", "disabled"):
            yield Finding("servers", "ok", f"{id} is {state}")
        elif state == "starting":
            yield Finding("servers", "note", f"{id} is starting", test)
        else:
            yield Finding("servers", "problem", f"{id} is {state}: {reason}" if reason else f"{id} is {state}", test)
        if row.get("waiting"):
            said = f"{row['waiting']} changed definitions of {id} are hidden until they are approved"
            yield Finding("servers", "note", said, f"mcp-hub servers diff {id}")
        if row.get("quarantined"):
            said = f"{row['quarantined']} items of {id} are not shown, because they are no valid MCP"
            yield Finding("servers", "note", said, test)
