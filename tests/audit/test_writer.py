from __future__ import annotations

import asyncio
import hmac
import json
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest

from hub.audit.chain import GENESIS, canonical
from hub.audit.logfile import RESERVE_BYTES, LogUnusable
from hub.audit.read import check_chain, entries_of, tail
from hub.audit.writer import AuditLog, LogUnavailable
from hub.core.call import Asked, Denied, Listed, Listing
from tests.audit.records import DENIED, KEY, Disk, a_call, a_record, done, started


def told(path: Path) -> list[dict[str, Any]]:
    return tail(path, 1000)


async def test_what_was_acknowledged_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path, clock=lambda: 1_790_000_000.25)
    await log.finish(a_record(a_call()), done())
    entry = told(path)[-1]
    await log.aclose()
    assert (entry["call"], entry["outcome"], entry["policy_version"]) == ("c-1", "done", "p1")
    assert entry["at"] == "2026-09-21T14:13:20.250Z"
    assert entry["args_hmac"] == hmac.new(KEY, canonical({"n": 1}), sha256).hexdigest()
    assert entry["result_hmac"] == hmac.new(KEY, canonical(done().result), sha256).hexdigest()


async def test_seq_is_consecutive_from_one_and_each_entry_names_the_hash_before(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    for _ in range(2):
        log = await started(path)
        async with anyio.create_task_group() as tasks:
            for n in range(150):
                tasks.start_soon(log.finish, a_record(a_call(f"c-{n}")), done())
        await log.aclose()
    entries = told(path)
    assert [entry["seq"] for entry in entries] == list(range(1, 2 * 152 + 1))
    assert [entry["prev"] for entry in entries] == [GENESIS, *(entry["hash"] for entry in entries[:-1])]
    assert check_chain(path).ok


async def test_start_and_stop_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    await log.aclose()
    await log.aclose()
    assert [(entry["kind"], entry["who"], entry["item"]) for entry in told(path)] == [
        ("system", "hub", "start"),
        ("system", "hub", "stop"),
    ]


async def test_a_list_is_not_waited_for_and_lands_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.hold()
    call = a_call(method="tools/list", params={}, target=Listing("tool"))
    await log.finish(a_record(call), Listed(()))
    await log.finish(a_record(call), Listed(()))
    disk.gate.set()
    with anyio.fail_after(1.5):
        while [entry["kind"] for entry in told(path)] != ["system", "list", "list"]:
            await anyio.sleep(0.01)
    await log.aclose()


async def test_a_denied_list_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    await log.finish(a_record(a_call(method="tools/list", params={}, target=Listing("tool"))), DENIED)
    assert told(path)[-1]["outcome"] == "denied:policy"
    await log.aclose()


async def test_a_write_that_was_asked_back_leaves_no_open_intent(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    record = a_record(a_call())
    await log.intent(record)
    await log.finish(record, Asked({}, None))
    await log.aclose()
    log = await started(path)
    await log.aclose()
    assert [entry["outcome"] for entry in entries_of(path, "c-1")] == ["unknown", "asked"]


async def test_an_open_intent_is_closed_as_unknown_by_the_next_start_and_only_by_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    await log.intent(a_record(a_call("c-1")))
    for n in range(2, 400):
        await log.event("admin", "local:admin", "done", f"act-{n}")
    await log.intent(a_record(a_call("c-2")))
    await log.finish(a_record(a_call("c-2")), done())
    await log.aclose()
    for _ in range(2):
        log = await started(path)
        await log.aclose()
    assert [(e["kind"], e["outcome"]) for e in entries_of(path, "c-1")] == [("intent", "unknown"), ("call", "unknown")]
    assert [(e["kind"], e["outcome"]) for e in entries_of(path, "c-2")] == [("intent", "unknown"), ("call", "done")]
    starts = [entry["detail"]["unfinished_writes"] for entry in told(path) if entry["item"] == "start"]
    assert starts == [0, 1, 0]
    assert check_chain(path).ok


async def test_an_event_stands_under_the_id_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    detail = {"before": {"n": 2**70}, "odd": object(), "bad": "\ud800"}
    call_id = await log.event("admin", "local:admin", "done", "key:ci", detail)
    await log.aclose()
    (entry,) = entries_of(path, call_id)
    assert (entry["kind"], entry["who"], entry["item"], entry["outcome"]) == ("admin", "local:admin", "key:ci", "done")
    assert entry["detail"] == {"before": {"n": 2**70}, "odd": "<object>", "bad": "\ud800"}


async def test_the_entry_holds_no_argument_and_no_result(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    call = a_call(params={"name": "crm__add", "arguments": {"password": "canary-1"}})
    await log.intent(a_record(call))
    await log.finish(a_record(call), done("canary-2"))
    await log.aclose()
    for file in tmp_path.glob("audit.db*"):
        assert b"canary" not in file.read_bytes()


async def test_a_caller_cannot_forge_an_entry_through_any_text(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    attack = 'x"}\r\n{"seq":99,"who":"local:admin"}\u2028{"seq":100}\x85\x00\x1b]0;t\x07\ud800'
    call = a_call(params={"name": attack, "arguments": {attack: attack}}, target=Listing("tool"))
    await log.finish(a_record(call), Denied("unknown_item", attack))
    await log.event("auth", attack, "denied:auth", attack, {attack: attack})
    await log.aclose()
    with closing(sqlite3.connect(path)) as connection:
        lines = [line for (line,) in connection.execute("SELECT line FROM entries ORDER BY seq")]
    for seq, line in enumerate(lines, 1):
        said = json.loads(line)
        assert said["seq"] == seq
        assert "\n" not in line
        assert "\r" not in line
    assert len(lines) == 4
    assert lines[1].isprintable()
    assert json.loads(lines[1])["who"] == "key:ci"
    assert check_chain(path).ok


async def test_a_cancelled_wait_loses_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk)
    disk.hold()
    waiting = asyncio.create_task(log.finish(a_record(a_call("c-7")), done()))
    await anyio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    disk.gate.set()
    await log.aclose()
    assert [entry["outcome"] for entry in entries_of(path, "c-7")] == ["done"]


async def test_a_full_queue_makes_callers_wait_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    disk = Disk()
    log = await started(path, disk, limit=2)
    disk.hold()
    tasks = [asyncio.create_task(log.finish(a_record(a_call(f"c-{n}")), done())) for n in range(5)]
    listing = asyncio.create_task(
        log.finish(a_record(a_call("c-list", method="tools/list", params={}, target=Listing("tool"))), Listed(()))
    )
    for _ in range(5):
        await anyio.sleep(0)
    assert not listing.done()
    tasks[3].cancel()  # it waited outside the queue: nothing of it may be written, it was never acknowledged
    await asyncio.wait({tasks[3]}, timeout=5)
    disk.gate.set()
    with anyio.fail_after(5):
        await asyncio.gather(*(task for task in tasks if task is not tasks[3]), listing)
    await log.aclose()
    assert sorted(e["call"] for e in told(path) if e["kind"] == "call") == ["c-0", "c-1", "c-2", "c-4"]
    assert len(entries_of(path, "c-list")) == 1


async def test_results_that_wait_to_be_hashed_are_bounded_in_bytes(tmp_path: Path) -> None:
    disk = Disk()
    log = await started(tmp_path / "audit.db", disk)
    disk.hold()
    huge = type(done())({"content": []}, size_bytes=300 * 1024 * 1024)
    first = asyncio.create_task(log.finish(a_record(a_call("c-1")), huge))
    await anyio.sleep(0)
    second = asyncio.create_task(log.finish(a_record(a_call("c-2")), done()))
    for _ in range(5):
        await anyio.sleep(0)
    assert not second.done()
    disk.gate.set()
    with anyio.fail_after(5):
        await asyncio.gather(first, second)
    await log.aclose()


async def test_a_log_that_is_not_open_takes_nothing(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.db", policy_version="p1", hmac_key=KEY)
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call()), done())
    await log.aclose()
    await log.start()
    await log.aclose()
    with pytest.raises(LogUnavailable):
        await log.event("system", "hub", "done")
    with pytest.raises(LogUnavailable):
        await log.finish(a_record(a_call(method="tools/list", params={}, target=Listing("tool"))), Listed(()))


async def test_whoever_waits_for_room_is_told_when_the_log_closes(tmp_path: Path) -> None:
    disk = Disk()
    log = await started(tmp_path / "audit.db", disk, limit=1)
    disk.hold()
    tasks = [asyncio.create_task(log.finish(a_record(a_call(f"c-{n}")), done())) for n in range(2)]
    await anyio.sleep(0)
    closing_log = asyncio.create_task(log.aclose())
    await anyio.sleep(0)
    disk.gate.set()
    with anyio.fail_after(5):
        await tasks[0]
        with pytest.raises(LogUnavailable):
            await tasks[1]
        await closing_log


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.touch(0o644)
    log = await started(path)
    await log.event("system", "hub", "done")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    await log.aclose()
    assert modes == dict.fromkeys(("audit.db", "audit.db-wal", "audit.db-shm", "audit.db.reserve"), 0o600)
    assert (tmp_path / "audit.db.reserve").stat().st_size == RESERVE_BYTES


async def test_a_new_policy_version_is_in_the_entries_after_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    log.policy_version = "p2"
    await log.event("admin", "local:admin", "done")
    await log.aclose()
    assert [entry["policy_version"] for entry in told(path)] == ["p1", "p2", "p2"]


async def spoil(path: Path, statement: str) -> None:
    log = await started(path)
    await log.event("system", "hub", "done")
    await log.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE entries SET line = replace(line, 'hub', 'eve') WHERE seq = 2", "was changed"),
        ("DELETE FROM entries WHERE seq = 2", "entry 2 is missing"),
        ("PRAGMA user_version = 99", "newer hub"),
        ("PRAGMA user_version = 0", "no audit log"),
        ("DROP TABLE entries", "no such table"),
    ],
)
async def test_a_file_that_cannot_be_trusted_refuses_to_start(tmp_path: Path, statement: str, word: str) -> None:
    path = tmp_path / "audit.db"
    await spoil(path, statement)
    with pytest.raises(LogUnusable, match=word):
        await started(path)


async def test_a_long_log_is_checked_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    for n in range(400):
        await log.event("admin", "local:admin", "done", str(n))
    await log.aclose()
    log = await started(path)
    await log.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET line = replace(line, 'local:admin', 'local:other') WHERE seq = 390")
        connection.commit()
    with pytest.raises(LogUnusable, match="entry 390"):
        await started(path)


async def test_an_open_intent_that_cannot_be_read_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = await started(path)
    await log.intent(a_record(a_call()))
    for n in range(300):
        await log.event("admin", "local:admin", "done", str(n))
    await log.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET line = '[]' WHERE kind = 'intent'")
        connection.commit()
    with pytest.raises(LogUnusable, match="entry 2"):
        await started(path)


async def test_what_is_no_database_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.write_bytes(b"these are my notes, not a log\n" * 100)
    with pytest.raises(LogUnusable, match="move it away"):
        await started(path)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnusable, match="nowhere"):
        await started(tmp_path / "nowhere" / "audit.db")
