"""The disk fills, the file is locked, the writer breaks: calls are refused, entries are kept, the chain stays whole."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event

import anyio
import pytest

from hub.audit.logfile import LogUnusable, connect, is_full
from hub.audit.read import check_chain, entries_of, tail
from hub.audit.writer import GROUP, AuditLog, LogUnavailable
from hub.core.call import Listed, Listing
from tests.audit.records import KEY, Disk, a_call, a_record, done, started

LIST = a_call("c-list", method="tools/list", params={}, target=Listing("tool"))


async def eventually(claim: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not claim():
            await anyio.sleep(0.01)


async def test_calls_are_refused_while_the_disk_is_full_and_taken_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.fill()
    with pytest.raises(LogUnavailable, match="cannot be written"):
        await log.finish(a_record(a_call("c-1")), done())
    with pytest.raises(LogUnavailable):
        await log.intent(a_record(a_call("c-2")))
    disk.error = None
    await log.finish(a_record(a_call("c-3")), done())
    await log.aclose()
    told = [(entry["kind"], entry["call"] if entry["item"] == "crm__add" else entry["item"]) for entry in tail(path, 9)]
    assert told == [
        ("system", "start"),
        ("system", "alarm"),
        ("call", "c-1"),
        ("intent", "c-2"),
        ("call", "c-3"),
        ("system", "stop"),
    ]
    assert check_chain(path).ok


async def test_the_reserve_is_given_up_for_the_alarm_and_laid_aside_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    reserve = tmp_path / "audit.db.reserve"
    disk = Disk()
    log = await started(path, disk)
    disk.fill()
    disk.full_while = reserve
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-1")), done())
    alarm = tail(path, 1)[0]
    assert (alarm["kind"], alarm["outcome"], alarm["detail"]) == ("system", "error", {"alarm": "disk full"})
    await eventually(reserve.exists)
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-2")), done())
    disk.error = None
    await log.finish(a_record(a_call("c-3")), done())
    await log.aclose()
    assert [entry["item"] for entry in tail(path, 9)].count("alarm") == 1
    assert [len(entries_of(path, call)) for call in ("c-1", "c-2", "c-3")] == [1, 1, 1]


async def test_room_for_less_than_the_reserve_is_no_room(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.fill()
    disk.full_while = tmp_path / "audit.db.reserve"
    blocker = tmp_path / "audit.db.reserve.new"
    blocker.mkdir()
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-1")), done())
    disk.error = None
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-2")), done())
    blocker.rmdir()
    await log.finish(a_record(a_call("c-3")), done())
    await log.aclose()
    assert check_chain(path).ok


async def test_a_real_full_file_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    opened: list[sqlite3.Connection] = []

    def capped(file: Path) -> sqlite3.Connection:
        opened.append(connect(file))
        return opened[0]

    log = AuditLog(path, policy_version="p1", hmac_key=KEY, connect=capped)
    await log.start()
    opened[0].execute("PRAGMA max_page_count = 8")
    calls = [log.finish(a_record(a_call(f"c-{n}")), done()) for n in range(200)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(outcome, LogUnavailable) for outcome in outcomes)
    opened[0].execute("PRAGMA max_page_count = 100000")
    await log.finish(a_record(a_call("c-last")), done())
    await log.aclose()
    assert [e["detail"] for e in tail(path, 1000) if e["item"] == "alarm"] == [{"alarm": "disk full"}]
    assert check_chain(path).ok


async def test_a_file_locked_by_another_process_is_written_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path, Disk())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailable):
            await log.finish(a_record(a_call("c-1")), done())
        other.execute("ROLLBACK")
    await log.finish(a_record(a_call("c-2")), done())
    await log.aclose()
    assert [e["detail"] for e in tail(path, 9) if e["item"] == "alarm"] == [{"alarm": "not writable"}]
    assert len(entries_of(path, "c-1")) == 1


async def test_a_commit_that_fails_keeps_nothing_and_hinders_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.fails = "COMMIT"
    disk.fill()
    count = 70  # more than one statement holds: only then is the commit a step of its own
    calls = [log.finish(a_record(a_call(f"c-{n}")), done()) for n in range(count)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LogUnavailable] * count
    assert [entry["kind"] for entry in tail(path, 9)] == ["system", "system"]
    disk.error = None
    await log.event("admin", "local:admin", "done")
    await log.aclose()
    assert [entry["call"] for entry in tail(path, 99) if entry["kind"] == "call"] == [f"c-{n}" for n in range(count)]
    assert check_chain(path).ok


async def test_a_foreign_entry_at_the_end_does_not_break_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    other = await started(path)
    await other.event("admin", "local:admin", "done", "of the other")
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-1")), done())
    await log.finish(a_record(a_call("c-2")), done())
    await log.aclose()
    await other.aclose()
    assert check_chain(path).ok
    assert len(entries_of(path, "c-1")) == 1


async def test_lists_are_refused_too_while_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    await log.finish(a_record(LIST), Listed(()))
    disk.fill()
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call("c-1")), done())
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(LIST), Listed(()))
    disk.error = None
    await log.event("system", "hub", "done")
    await log.aclose()
    assert len(entries_of(path, "c-list")) == 2


async def test_many_waiting_entries_are_written_in_order_in_several_groups(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.hold()
    count = GROUP + 77
    tasks = [asyncio.create_task(log.finish(a_record(a_call(f"c-{n}")), done())) for n in range(count)]
    await anyio.sleep(0)
    disk.gate.set()
    with anyio.fail_after(5):
        await asyncio.gather(*tasks)
    await log.aclose()
    assert [e["call"] for e in tail(path, 9999) if e["kind"] == "call"] == [f"c-{n}" for n in range(count)]


async def test_what_could_not_be_written_before_the_stop_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    log = await started(tmp_path / "audit.db", disk)
    disk.fill()
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call()), done())
    await log.aclose()
    assert "2 entries were not written" in caplog.text
    assert check_chain(tmp_path / "audit.db").entries == 1


async def test_a_disk_that_hangs_does_not_hold_the_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    log = await started(tmp_path / "audit.db", disk)
    disk.hold()
    waiting = asyncio.create_task(log.finish(a_record(a_call()), done()))
    await eventually(disk.reached.is_set)
    with anyio.fail_after(2):
        await log.aclose(timeout_s=0.05)
    assert "were not written" in caplog.text
    disk.gate.set()
    with anyio.fail_after(5):
        await waiting


async def test_a_disk_that_hangs_does_not_hold_the_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    gate = Event()

    def hanging(file: Path) -> sqlite3.Connection:
        gate.wait(5)
        return connect(file)

    log = AuditLog(path, policy_version="p1", hmac_key=KEY, connect=hanging)
    with pytest.raises(LogUnusable, match=r"did not open within 0\.05 s"):
        await log.start(timeout_s=0.05)
    gate.set()
    await eventually(lambda: path.exists() and [e["item"] for e in tail_or_none(path)] == ["start"])


async def test_a_start_that_fails_late_is_nobodys_error_any_more(tmp_path: Path) -> None:
    gate, left = Event(), Event()

    def failing(file: Path) -> sqlite3.Connection:
        gate.wait(5)
        left.set()
        raise sqlite3.OperationalError("disk I/O error")

    log = AuditLog(tmp_path / "audit.db", policy_version="p1", hmac_key=KEY, connect=failing)
    with pytest.raises(LogUnusable):
        await log.start(timeout_s=0.05)
    gate.set()
    await eventually(left.is_set)
    await log.aclose()


def tail_or_none(path: Path) -> list[dict[str, object]]:
    try:
        return tail(path, 5)
    except sqlite3.OperationalError:  # the table is not there yet
        return []


async def test_a_broken_writer_refuses_everything_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    log = await started(tmp_path / "audit.db", disk)
    disk.error = RuntimeError("a bug")
    caplog.set_level(logging.CRITICAL, logger="hub.audit.writer")
    with anyio.fail_after(5):
        with pytest.raises(LogUnavailable):
            await log.finish(a_record(a_call("c-1")), done())
        with pytest.raises(LogUnavailable):
            await log.finish(a_record(a_call("c-2")), done())
        await log.aclose()


def test_a_log_whose_loop_is_gone_ends_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()

    async def abandon() -> None:
        log = await started(path, disk)
        disk.hold()
        waiting = asyncio.create_task(log.finish(a_record(a_call("c-1")), done()))
        await eventually(disk.reached.is_set)
        waiting.cancel()

    asyncio.run(abandon())
    disk.gate.set()
    anyio.run(eventually, lambda: "outlived its event loop" in caplog.text)
    assert len(entries_of(path, "c-1")) == 1


@pytest.mark.parametrize(
    ("error", "full"),
    [(OSError(28, "no space"), True), (OSError(5, "io"), False), (sqlite3.OperationalError("locked"), False)],
)
def test_a_full_disk_is_told_from_other_trouble(error: Exception, full: bool) -> None:
    assert is_full(error) is full
