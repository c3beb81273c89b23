"""Calls, records and a log whose disk can be made to fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic, time
from typing import Any

from hub.audit.logfile import connect
from hub.audit.writer import AuditLog
from hub.core.call import UNRESOLVED, Call, Client, Denied, Done, Effect, Item, Json, One, Outcome, Principal, Target
from hub.core.pipeline import Record

KEY = b"k" * 32
WHO = Principal("local", "key:ci", "key:k1", frozenset({"mcp"}))


def tool(name: str = "crm__add", writes: bool = True) -> Item:
    return Item("tool", "crm", name, "add", {}, {}, "0" * 64, writes=writes)


def a_call(
    id: str = "c-1",
    *,
    method: str = "tools/call",
    params: Json | None = None,
    target: Target | None = None,
    client: Client | None = None,
    who: Principal = WHO,
) -> Call:
    given = {"name": "crm__add", "arguments": {"n": 1}} if params is None else params
    return Call(
        id,
        who,
        "",
        method,
        given,
        client or Client("modern", "2026-07-28", info={"name": "ide", "version": "2"}),
        monotonic() + 60,
        size_bytes=120,
        target=One(tool()) if target is None else target,
    )


def a_record(call: Call, *verdicts: tuple[str, Outcome, float], effect: Effect = Effect.NONE) -> Record:
    return Record(call, monotonic(), effect, [(*verdict, 0.0) for verdict in verdicts])


def done(text: str = "ok", **more: Any) -> Done:
    return Done({"content": [{"type": "text", "text": text}], **more}, size_bytes=80)


def unresolved(**params: Any) -> Call:
    return a_call(params=params, target=UNRESOLVED)


DENIED = Denied("policy", "rule 7 says no")


class Disk:
    """What happens to writes: an error to raise, or a gate to wait at."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.fails = "INSERT"  # which statements
        self.full_while: Path | None = None  # full as long as this file exists: removing it makes room
        self.gate = Event()
        self.gate.set()
        self.reached = Event()  # a write has come to the gate

    def fill(self) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        self.error = full

    def hold(self) -> None:
        """From now on writes wait until `gate` is set."""
        self.reached.clear()
        self.gate.clear()

    def connect(self, path: Path) -> sqlite3.Connection:
        disk = self

        class Failing(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith(disk.fails):
                    disk.reached.set()
                    disk.gate.wait(5)
                    if disk.error is not None and (disk.full_while is None or disk.full_while.exists()):
                        raise disk.error
                return super().execute(sql, *values)

        connect(path).close()
        connection = sqlite3.connect(path, timeout=0.05, isolation_level=None, check_same_thread=False, factory=Failing)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


async def started(
    path: Path, disk: Disk | None = None, *, clock: Callable[[], float] = time, limit: int = 10_000
) -> AuditLog:
    chosen = connect if disk is None else disk.connect
    log = AuditLog(path, policy_version="p1", hmac_key=KEY, clock=clock, connect=chosen, limit=limit)
    await log.start()
    return log
