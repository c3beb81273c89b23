"""The hub that is soaked: a process of its own as operators start it, everything on, the log durable."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from conformance.soak import processes
from conformance.soak.callers import Key
from conformance.soak.verdict import Claim
from conformance.soak.wire import Wire, request
from hub.audit.read import check_chain

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 30.0
STOP_S: Final = 30.0


class HubProcess:
    def __init__(self, folder: Path, servers: Mapping[str, Any], idle_s: float) -> None:
        self._folder = folder
        self._token, self._admin = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.log = folder / "data" / "audit.db"
        config = {
            "listen": "127.0.0.1:0",
            "data_dir": str(folder / "data"),
            "mcpServers": dict(servers),
            "edge": {"session_idle_s": idle_s, "keepalive_s": 5, "drain_s": 10},
            # the one thing that differs from the default: one key stands for many callers here
            "limits": {"per_caller": {"per_minute": 10_000_000, "burst": 1_000_000}},
        }
        (folder / "hub.json").write_text(json.dumps(config))

    async def start(self) -> None:
        env = {**os.environ, "MCP_HUB_TOKEN": self._token, "MCP_HUB_ADMIN_TOKEN": self._admin}
        with (self._folder / "stderr").open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hub.cli.main", "serve", "--config", str(self._folder / "hub.json")),
                cwd=ROOT,
                env=env,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            if not await self._process.stdout.readline():
                raise RuntimeError(f"the hub did not start:\n{(self._folder / 'stderr').read_text()[-2000:]}")
        self.pid = self._process.pid
        self.port: int = json.loads((self._folder / "data" / "run.json").read_text())["port"]

    async def keys(self, grants: Mapping[str, Sequence[str]], servers: Sequence[str]) -> list[Key]:
        """The local token, which sees everything, and a key for each of the grants."""
        made = [Key("local", self._token, servers)]
        for name, granted in grants.items():
            body = json.dumps({"name": name, "servers": list(granted)}).encode()
            wire = await Wire.connect(self.port)
            answer = await wire.ask(request("POST", "/api/v1/keys", self.port, self._admin, {}, body))
            wire.close()
            if answer.status not in (200, 201):
                raise RuntimeError(f"no key {name}: {answer.status} {answer.body[:300]!r}")
            made.append(Key(name, json.loads(answer.body)["key"], granted))
        return made

    async def stop(self) -> list[Claim]:
        """SIGTERM: it has to end by itself, and with it all that it started."""
        below, began = processes.children(self.pid), monotonic()
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                status: int | None = await self._process.wait()
        except TimeoutError:
            status = None
        took_s = monotonic() - began
        left = [pid for pid in below if processes.alive(pid)]
        return [
            Claim("it stops cleanly", status == 0, f"exit status {status} after {took_s:.1f} s"),
            Claim("no process outlives it", not left, f"{len(below)} processes before, {len(left)} after"),
        ]

    async def kill(self) -> None:
        """Whatever happened."""
        process = getattr(self, "_process", None)
        if process is not None and process.returncode is None:
            below = processes.children(process.pid)
            process.kill()
            await process.wait()
            for pid in below:
                if processes.alive(pid):
                    os.kill(pid, 9)

    def records(self, sent: int, answered: int) -> list[Claim]:
        """What the log says, when the hub has ended."""
        report, calls = check_chain(self.log), _calls(self.log)
        broken = [line for line in (self._folder / "stderr").read_text().splitlines() if _is_failure(line)]
        counted = f"{calls:,} entries of {sent:,} calls made and {answered:,} answered"
        return [
            Claim(
                "the chain of the log is whole",
                report.ok,
                f"{report.entries:,} entries, {report.reason or 'each linked'}",
            ),
            Claim("every answered call has its entry", answered <= calls <= sent, counted),
            Claim("its own log tells of no failure of its own", not broken, f"{len(broken)} lines {broken[:3]}"),
        ]


def _calls(log: Path) -> int:
    connection = sqlite3.connect(f"{log.as_uri()}?mode=ro", uri=True)
    query = """SELECT count(*) FROM entries WHERE kind = 'call' AND line LIKE '%"method":"tools/call"%'"""
    found: int = connection.execute(query).fetchone()[0]
    connection.close()
    return found


def _is_failure(line: str) -> bool:
    try:
        level = json.loads(line).get("level", "")
    except (ValueError, AttributeError):
        return True  # a word of the interpreter's
    return str(level).lower() in ("error", "critical")
