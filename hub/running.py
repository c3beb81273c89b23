"""The directory one hub owns, and how others find the hub that owns it.

`lock` is held (flock) by the owner and names it; `run.json` says where a running hub answers and holds the secret by
which the local user's own programs are let in. Nothing here speaks MCP or knows the configuration.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import monotonic, sleep
from typing import Final

LOCK, RUN, LOG = "lock", "run.json", "background.log"
START_S: Final = 15.0  # a hub is ready in one; a cold disk with a slow interpreter takes several
LOG_BYTES: Final = 1024 * 1024  # of background.log; a longer one starts anew with the next hub
_LOCK_POLL_S: Final = 0.05
_started: list[subprocess.Popen[bytes]] = []  # kept so that the end of one is noticed and leaves no zombie


class StartRefused(Exception):
    """The hub does not start; the text says why and what to do next."""


class Held(StartRefused):
    """Another process owns the directory."""

    def __init__(self, path: Path, pid: int, command: str) -> None:
        who = f"process {pid} ({command})" if pid else "another process"
        super().__init__(f"{path} is in use by {who}; use that hub, stop it, or give this one another data_dir")
        self.pid, self.command = pid, command


class PortBusy(StartRefused):
    """The address is taken."""

    def __init__(self, host: str, port: int, holder: str | None) -> None:
        who = f"by {holder}" if holder else "by another program (of another user, or in another namespace)"
        super().__init__(f"{host}:{port} is taken {who}; stop it, or listen elsewhere: --listen {host}:0")


@dataclass(frozen=True, slots=True)
class Run:
    """A running hub, as its `run.json` says."""

    pid: int
    url: str  # of the default endpoint
    host: str
    port: int
    stdio_port: int
    secret: str
    version: str
    started_at: str  # RFC 3339 UTC

    def __repr__(self) -> str:
        return f"Run(pid={self.pid}, url={self.url!r})"


class DataDir:
    """One hub's directory. `lock` before anything in it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def create(self) -> None:
        """Make it, for its owner only. Raises StartRefused."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                self.path.chmod(0o700)
        except OSError as exc:
            raise StartRefused(f"data_dir {self.path} cannot be used: {exc.strerror}") from exc

    def lock(self, command: str, wait_s: float = 1.0) -> None:
        """Own the directory until `unlock` or the process's end. Raises Held, with the owner's name, after `wait_s`.

        The wait lets a look (`read_run`) or a short verb of the command line pass.
        """
        self.create()
        fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = monotonic() + wait_s
        while not _try_lock(fd, fcntl.LOCK_EX):
            if monotonic() >= end:
                os.close(fd)
                raise Held(self.path, *_owner(self.path))
            sleep(_LOCK_POLL_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "command": command}).encode(), 0)
        self._fd = fd

    def unlock(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def write_run(self, run: Run) -> None:
        """Whole or not at all; readable by the owner only."""
        self._write(self.path / RUN, json.dumps(asdict(run)).encode())

    def remove_run(self) -> None:
        (self.path / RUN).unlink(missing_ok=True)

    def key(self, name: str) -> bytes:
        """32 random bytes that stay the same for this directory, made at first use. Call it while holding the lock."""
        folder = self.path / "keys"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / name
        if not path.exists():
            self._write(path, secrets.token_bytes(32))
        found = path.read_bytes()
        if len(found) != 32:
            raise StartRefused(
                f"{path} is damaged: it holds {len(found)} bytes instead of 32; restore it from a backup"
            )
        return found

    def _write(self, path: Path, data: bytes) -> None:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def read_run(data_dir: Path) -> Run | None:
    """The hub that owns this directory now, or None: what a dead hub left behind counts for nothing."""
    try:
        found = json.loads((data_dir / RUN).read_bytes())
        run = Run(**{part.name: found[part.name] for part in fields(Run)})
        fd = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        if _try_lock(fd, fcntl.LOCK_SH):
            return None
    finally:
        os.close(fd)
    return run if _owner(data_dir)[0] == run.pid else None


def listen_on(host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises PortBusy or StartRefused."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as exc:
        raise StartRefused(f"{host} is no address to listen on: {exc.strerror}") from exc
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind(address)
        sock.listen(1024)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortBusy(host, port, port_holder(host, port)) from exc
        raise StartRefused(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    return sock


def port_holder(host: str, port: int) -> str | None:
    """`process 12 (python -m http.server)` that listens there, as far as this user may see; None if not found."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(Path("/proc/net") / table, port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in wanted for fd in (process / "fd").iterdir()):
                return f"process {process.name} ({_command_of(process)})"
        except OSError:  # another user's, or gone
            continue
    return None


async def start_background(
    config: Path | None, data_dir: Path, *, command: Sequence[str] | None = None, timeout_s: float = START_S
) -> Run:
    """A hub of its own session that outlives this process, or the one that was quicker. Raises StartRefused.

    Without a configuration it runs the sandbox. Its words are in `background.log`.
    """
    directory = DataDir(data_dir)
    directory.create()
    argv = list(command or (sys.executable, "-m", "hub.cli.main", "serve", "--background"))
    if config is not None:
        argv += ["--config", str(config)]
    log = data_dir / LOG
    child = await asyncio.to_thread(_spawn, argv, log)
    end = monotonic() + timeout_s
    while monotonic() < end:
        if (run := read_run(data_dir)) is not None:
            return run
        if child.poll() is not None and not _is_owned(data_dir):
            raise StartRefused(f"the hub did not start; {log} ends: {_last_words(log)}")
        await asyncio.sleep(_LOCK_POLL_S)
    if child.poll() is None:
        child.terminate()
    raise StartRefused(f"the hub did not start within {timeout_s:g} s; see {log}")


def _spawn(argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Its own session and no pipe to us: it must not end when we do."""
    _started[:] = [child for child in _started if child.poll() is None]  # reaps those that left
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if log.exists() and log.stat().st_size > LOG_BYTES:
        flags |= os.O_TRUNC
    fd = os.open(log, flags, 0o600)
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, start_new_session=True)
    finally:
        os.close(fd)
    _started.append(child)
    return child


def _try_lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_owned(data_dir: Path) -> bool:
    """Whether somebody holds the lock: another hub that was quicker and is still starting."""
    try:
        fd = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _owner(data_dir: Path) -> tuple[int, str]:
    try:
        found = json.loads((data_dir / LOCK).read_bytes())
        return int(found["pid"]), str(found["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "with nothing"


def _listeners(table: Path, port: int) -> tuple[str, ...]:
    """Inodes of the sockets that listen on this port."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return ()
    return tuple(row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port)


def _command_of(process: Path) -> str:
    words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    printable = "".join(char for char in words if char.isprintable())
    return printable if len(printable) <= 80 else printable[:79] + "…"
