"""Reading the log's file without a hub."""

from __future__ import annotations

from pathlib import Path

from hub.admin.audit_file import AuditFile
from hub.audit.writer import AuditLog


def test_before_the_first_start_there_is_no_entry(tmp_path: Path) -> None:
    log = AuditFile(tmp_path / "audit.db")
    assert (log.tail(5), log.after(0, 5), log.of_call("c1")) == ((), (), ())
    assert not (tmp_path / "audit.db").exists()


async def test_entries_are_read_from_the_end_from_a_place_and_by_call(tmp_path: Path) -> None:
    writer = AuditLog(tmp_path / "audit.db", policy_version="p", hmac_key=b"k" * 32)
    await writer.start()
    call = await writer.event("admin", "local:admin", "done", None, {"act": "x"})
    log = AuditFile(tmp_path / "audit.db")
    assert [entry["seq"] for entry in log.tail(1)] == [2]
    assert [entry["seq"] for entry in log.after(0, 10)] == [1, 2]
    assert [entry["detail"] for entry in log.of_call(call)] == [{"act": "x"}]
    await writer.aclose()
