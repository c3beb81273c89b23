from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hub.audit.read import check_chain, entries_of, read_entries, tail
from tests.audit.records import a_call, a_record, done, started


async def filled(path: Path, count: int) -> None:
    log = await started(path)
    for n in range(count):
        await log.finish(a_record(a_call(f"c-{n}")), done())
    await log.aclose()


async def test_entries_come_oldest_first_from_a_place_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    await filled(path, 5)
    assert [e["seq"] for e in read_entries(path)] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["seq"] for e in read_entries(path, after_seq=2, limit=2)] == [3, 4]
    assert read_entries(path, after_seq=7) == []
    assert [e["seq"] for e in tail(path, 2)] == [6, 7]
    assert tail(path, -1) == []


async def test_a_call_is_found_by_its_id_and_tenant(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    await filled(path, 3)
    assert [e["call"] for e in entries_of(path, "c-1")] == ["c-1"]
    assert entries_of(path, "c-1", tenant="other") == []
    assert entries_of(path, "' OR 1=1 --") == []


async def test_a_running_log_is_read_without_disturbing_it(tmp_path: Path) -> None:
    path = tmp_path / "odd name%20?#.db"
    log = await started(path)
    for n in range(20):
        await log.finish(a_record(a_call(f"c-{n}")), done())
        assert tail(path, 1)[0]["call"] == f"c-{n}"
        assert check_chain(path).ok
    await log.aclose()


def test_a_log_that_is_not_there_is_no_empty_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="first start"):
        check_chain(tmp_path / "audit.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["'{'", "'[]'", "x'ff'", "7"])
async def test_a_damaged_line_is_marked_and_stops_no_reader(tmp_path: Path, line: str) -> None:
    path = tmp_path / "audit.db"
    await filled(path, 3)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE entries SET line = {line} WHERE seq = 3")
        connection.commit()
    told = read_entries(path)
    assert [e["seq"] for e in told] == [1, 2, 3, 4, 5]
    assert told[2]["damaged"] is True
    assert check_chain(path).first_bad_seq == 3


async def test_a_damaged_file_is_reported_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    await filled(path, 300)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(raw)
    report = check_chain(path)
    assert not report.ok
    assert report.first_bad_seq is not None
    assert 1 < report.first_bad_seq < 302
