"""Entries share commits: whoever comes alone waits for nobody, a crowd waits for its like, and only for a moment."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from hub.audit import writer
from hub.audit.logfile import LogFile, connect
from hub.audit.read import check_chain, tail
from hub.audit.record import event_entry
from hub.audit.writer import AuditLog
from tests.audit.records import KEY, a_call, a_record, done

NEVER_S = 600.0  # a test that waited so long would have failed


class Counted:
    """A disk that counts what is written at once."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        groups = self.groups

        class Counting(sqlite3.Connection):
            def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
                if sql.startswith("INSERT"):
                    groups.append(len(values) // 7)
                return super().execute(sql, values)

        connect(path).close()
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Counting)


async def opened(path: Path) -> tuple[AuditLog, Counted]:
    disk = Counted()
    log = AuditLog(path, policy_version="p1", hmac_key=KEY, connect=disk.connect)
    await log.start()
    return log, disk


def calls(log: AuditLog, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(log.finish(a_record(a_call(f"c-{n}")), done())) for n in range(count)]


async def a_crowd(log: AuditLog, disk: Counted, count: int) -> None:
    """So many calls in one group, and the log asleep after it."""
    await asleep(log)
    await asyncio.gather(*calls(log, count))
    assert disk.groups[-1] == count
    await asleep(log)


async def asleep(log: AuditLog) -> None:
    with anyio.fail_after(5):
        while not log._asleep:
            await anyio.sleep(0)


async def test_one_caller_alone_waits_for_no_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "COMPANY_S", NEVER_S)
    log, disk = await opened(tmp_path / "audit.db")
    with anyio.fail_after(5):
        for _ in range(20):
            await log.finish(a_record(a_call()), done())
        await log.aclose()
    assert disk.groups == [1] * 22


async def test_after_a_crowd_the_next_group_waits_for_three_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMPANY_S", NEVER_S)
    log, disk = await opened(tmp_path / "audit.db")
    await a_crowd(log, disk, 8)
    early = calls(log, 5)
    for _ in range(20):
        await anyio.sleep(0)
    assert not any(task.done() for task in early)
    with anyio.fail_after(5):
        await asyncio.gather(*early, *calls(log, 1))
        await log.aclose()
    assert disk.groups == [1, 8, 6, 1]


async def test_a_crowd_that_does_not_come_again_is_not_waited_for_long(tmp_path: Path) -> None:
    log, disk = await opened(tmp_path / "audit.db")
    await a_crowd(log, disk, 40)
    with anyio.fail_after(5):
        await log.finish(a_record(a_call()), done())
        await log.finish(a_record(a_call()), done())
        await log.aclose()
    assert disk.groups == [1, 40, 1, 1, 1]


async def test_a_stop_waits_for_no_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "COMPANY_S", NEVER_S)
    path = tmp_path / "audit.db"
    log, disk = await opened(path)
    await a_crowd(log, disk, 8)
    waiting = calls(log, 2)
    await anyio.sleep(0)
    with anyio.fail_after(5):
        await log.aclose()
        await asyncio.gather(*waiting)
    assert [entry["item"] for entry in tail(path, 3)] == ["crm__add", "crm__add", "stop"]


def test_groups_of_every_size_are_written_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    file = LogFile(path)
    sizes = [*range(1, 67), 127, 128, 129, 512]
    for size in sizes:
        file.append([event_entry("admin", f"{size}-{n}", "x", "done", None, {}, "", "p1") for n in range(size)])
    file.close()
    assert check_chain(path).entries == sum(sizes)
    assert [entry["call"] for entry in tail(path, sum(sizes))] == [f"{size}-{n}" for size in sizes for n in range(size)]
