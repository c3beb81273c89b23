"""An installed hub as its users have it: started as a program, spoken to over its sockets, and always ended.

Knows nothing of the hub's sources.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from tests.e2e.installed import command
from tests.e2e.raw_http import Answer, Http

Json = dict[str, Any]
T = TypeVar("T")

CLIENT: Final = "client-token-canary-0123456789abcdef"
ADMIN: Final = "admin-token-canary-0123456789abcdef0"
START_S: Final = 30.0
STOP_S: Final = 20.0
SERVERS: Final = Path(__file__).resolve().parent / "servers"
MODERN: Final = "2026-07-28"
_POLL_S: Final = 0.02


def until(look: Callable[[], T | None], what: str, timeout_s: float = 15.0) -> T:
    """The first answer of `look` that is not None or False."""
    end = monotonic() + timeout_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        sleep(_POLL_S)


def raw_server(mode: str, *more: str) -> Json:
    """The configuration of one raw stdio server of `servers/raw_stdio.py`."""
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw_stdio.py"), mode, *more]}


class Place:
    """A user with an empty HOME, a configuration and a directory to work in; and whatever they start."""

    def __init__(self, home: Path, config: Mapping[str, Any] | None = None, **env: str) -> None:
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True)
        self.cwd = home / "work"
        self.cwd.mkdir(exist_ok=True)
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", **env}
        self.config: Path | None = None
        self.data_dir = home / ".local" / "share" / "mcp-hub"
        if config is not None:
            self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:
        self.config = self.home / "hub.json"
        self.data_dir = self.home / "data"
        self.config.write_text(json.dumps({"listen": "127.0.0.1:0", "data_dir": str(self.data_dir), **config}))

    def argv(self, *words: str) -> list[str]:
        wanted = self.config is not None and "--config" not in words and words[:1] != ("version",)
        given = ["--config", str(self.config)] if wanted else []
        return [command(), *words, *given]

    def run(self, *words: str, stdin: str = "", status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """One verb, to its end."""
        done = subprocess.run(
            self.argv(*words), input=stdin, capture_output=True, text=True, env=self.env, cwd=self.cwd, timeout=60
        )
        if status is not None:
            assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str, stdin: str = "", status: int | None = 0) -> Any:
        return json.loads(self.run(*words, "--json", stdin=stdin, status=status).stdout)

    def entries(self, limit: int = 1000) -> list[Json]:
        lines = self.run("audit", "tail", "--limit", str(limit), "--json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def entry(self, call: str) -> Json:
        """The last entry of a call, which must be there."""
        lines = self.run("audit", "show", call, "--json").stdout.splitlines()
        last: Json = json.loads(lines[-1])
        return last

    def run_json(self) -> Json | None:
        try:
            found: Json = json.loads((self.data_dir / "run.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def end_background(self) -> None:
        """Stop every hub that a verb of this user started in the background, those that wait for the lock too."""
        for pid in self._background():
            stop_pid(pid)

    def _background(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                home, words = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:  # another user's, or gone
                continue
            if f"HOME={self.home}".encode() in home.split(b"\0") and b"--background" in words.split(b"\0"):
                found.append(int(folder.name))
        return sorted(found, reverse=True)  # those that wait before the one that they wait for


class Hub:
    """One running `mcp-hub serve` (or `up`). A context manager: it and all it started are ended."""

    def __init__(self, place: Place, *words: str) -> None:
        self.place = place
        self._words = words or ("serve",)
        self.stderr_path = place.home / f"stderr-{monotonic():.6f}"
        self.stdout_path = self.stderr_path.with_name(self.stderr_path.name.replace("stderr", "stdout"))
        with self.stderr_path.open("wb") as err, self.stdout_path.open("wb") as out:
            self.process = subprocess.Popen(
                place.argv(*self._words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=place.env,
                cwd=place.cwd,
                start_new_session=True,
            )
        try:
            self.run: Json = until(self._started, "the hub is running", START_S)
        except BaseException:
            self.kill()
            raise
        self.port: int = self.run["port"]
        self.http = Http(self.port, place.env.get("MCP_HUB_TOKEN"))
        self.admin = Http(self.port, place.env.get("MCP_HUB_ADMIN_TOKEN"))

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop(check=False)
        finally:
            self.place.end_background()

    def _started(self) -> Json | None:
        if self.process.poll() is not None:
            raise AssertionError(f"the hub ended with {self.process.returncode}:\n{self.stderr()}")
        run = self.place.run_json()
        return run if run is not None and run["pid"] == self.process.pid and self.stdout() else None

    def stdout(self) -> str:
        return self.stdout_path.read_text()

    def stderr(self) -> str:
        return self.stderr_path.read_text()

    def stop(self, number: int = signal.SIGTERM, *, check: bool = True) -> int:
        """Tell it to stop and wait; killed with all it started when it does not."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(number)
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            status = -9
        finally:
            self.kill()
        assert not check or status == 0, f"exit {status}:\n{self.stderr()}"
        return status

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(STOP_S)

    def tools(self, http: Http | None = None, endpoint: str = "") -> list[str]:
        """The public names of all tools."""
        answer = (http or self.http).modern("tools/list", endpoint=endpoint)
        return [tool["name"] for tool in answer.result["tools"]]

    def wait_for(self, *tools: str) -> None:
        until(lambda: set(tools) <= set(self.tools()), f"{tools} listed")

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        return self.http.call(name, arguments, **more)

    def server(self, id: str) -> Json:
        rows = self.admin.request("GET", "/api/v1/servers").json["servers"]
        found: Json = next(row for row in rows if row["id"] == id)
        return found

    def wait_state(self, id: str, *states: str, timeout_s: float = 20.0) -> Json:
        def look() -> Json | None:
            row = self.server(id)
            return row if row["state"] in states else None

        return until(look, f"{id} is {' or '.join(states)}", timeout_s)


class Lines:
    """A program spoken to line by line over its pipes, such as `mcp-hub stdio`."""

    def __init__(self, place: Place, *words: str) -> None:
        self.process = subprocess.Popen(
            place.argv(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=place.env,
            cwd=place.cwd,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        self._rest = b""
        self._next_id = 0
        self.heard: list[Json] = []  # what was no answer to the request at hand

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.communicate(timeout=STOP_S)

    def say(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._in.write(data + b"\n")
        self._in.flush()

    def line(self, timeout_s: float = 15.0) -> str:
        end = monotonic() + timeout_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], max(0.0, end - monotonic()))
            chunk = os.read(self._out.fileno(), 65536) if ready else b""
            if not chunk:
                raise AssertionError(f"no line within {timeout_s:g} s, but {self._rest!r}")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def hear(self, timeout_s: float = 15.0) -> Json:
        """The next message. Every line on standard output must be one."""
        message = json.loads(self.line(timeout_s))
        assert isinstance(message, dict)
        assert message["jsonrpc"] == "2.0"
        return message

    def request(self, method: str, params: Mapping[str, Any] | None = None, timeout_s: float = 15.0) -> Json:
        self._next_id += 1
        message: Json = {"jsonrpc": "2.0", "id": self._next_id, "method": method}
        if params is not None:
            message["params"] = dict(params)
        self.say(message)
        return self.answer(self._next_id, timeout_s)

    def answer(self, id: int | str, timeout_s: float = 15.0) -> Json:
        end = monotonic() + timeout_s
        while (message := self.hear(max(0.1, end - monotonic()))).get("id") != id:
            self.heard.append(message)
        return message

    def initialize(self, revision: str = "2025-11-25") -> Json:
        opened = self.request(
            "initialize",
            {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "lines", "version": "1"}},
            30.0,
        )
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        found: Json = opened["result"]
        return found


def stop_pid(pid: int) -> None:
    """End a process that is nobody's child here, and its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        try:
            until(lambda: not alive(pid), f"{pid} ends", 8.0)
            return
        except AssertionError:
            continue


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def is_call_id(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"[A-Za-z0-9_-]{10,64}", text) is not None


def log_lines(text: str) -> Iterable[Json]:
    """The structured log on standard error: every line must be JSON."""
    return [json.loads(line) for line in text.splitlines()]
