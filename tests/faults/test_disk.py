"""The disk is full, slow or spoilt: no answer without its entry, no memory for what waits, and a way back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from conformance.faults.bystander import resident_mb
from conformance.faults.layer import Layer, capped, fill, lacking, small_disk
from hub.audit.read import check_chain, tail
from tests.e2e.lacking import lack
from tests.e2e.raw_http import Answer
from tests.e2e.real import Hub, wait_until
from tests.faults.world import GOOD, PLENTY, World, together

pytestmark = pytest.mark.e2e

DISK_BYTES: Final = 24 * 1024 * 1024
READ: Final = ("sandbox__query_customer_data", {"customer_id": "C-1001"})
SLOW_MS: Final = 2000


@contextmanager
def started(folder: Path, data_dir: Path, env: dict[str, str] | None = None) -> Iterator[World]:
    hub = Hub(folder, GOOD, {"limits": PLENTY, "data_dir": str(data_dir)}, env or {})
    Path(folder).mkdir(exist_ok=True)
    (folder / "data").symlink_to(data_dir)
    try:
        hub.start()
        made = World(hub)
        made.listed(READ[0], "good__well")
        yield made
    finally:
        if hub.child is not None:
            hub.stop()


def refused_while_full(made: World, room: Callable[[], None]) -> None:
    """From the first refusal on nothing is answered; reads of the admin API are; with room again, all goes on."""
    wait_until(lambda: _code(made.call(*READ)) == "audit_unavailable" or None, "calls are refused")
    for name in (READ[0], "good__well"):
        answer = made.call(name, READ[1])
        assert _code(answer) == "audit_unavailable", answer.body
        assert b"C-1001" not in answer.body
    assert made.server("good")["state"] == "ready"
    assert made.admin.request("GET", "/api/v1/servers").status == 200
    assert "cannot be written" in made.hub.log.read_text()
    room()
    wait_until(lambda: made.said("good__well") == "well" or None, "calls are taken again")
    log = made.hub.data_dir / "audit.db"
    assert check_chain(log).ok
    alarms = [entry for entry in tail(log, 100_000) if entry["item"] == "alarm"]
    assert [alarm["detail"]["alarm"] for alarm in alarms] == ["disk full"]


def _code(answer: Answer) -> str | None:
    message = answer.message
    failed = "error" in message or message["result"].get("isError")
    return answer.code if failed else None


def test_case_23_while_no_file_may_grow_calls_fail_closed_and_the_admin_api_reads(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with started(tmp_path / "hub", tmp_path / "data") as made:
        log = made.hub.data_dir / "audit.db-wal"
        with ExitStack() as full:
            full.enter_context(capped(made.pid, log.stat().st_size + 8192))
            refused_while_full(made, full.close)


def test_case_23_on_a_file_system_that_is_full_calls_fail_closed_and_the_admin_api_reads(tmp_path: Path) -> None:
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(tmp_path / "disk", DISK_BYTES))
        except PermissionError as exc:
            lack(str(exc))
        made = stack.enter_context(started(tmp_path / "hub", disk))
        ballast = fill(disk)
        refused_while_full(made, ballast.unlink)
        wait_until(lambda: (disk / "audit.db.reserve").exists() or None, "the reserve is laid aside again")


def test_case_24_while_syncs_take_two_seconds_calls_wait_in_a_bounded_queue_and_no_memory_grows(
    tmp_path: Path,
) -> None:
    if (reason := lacking()) is not None:
        lack(reason)
    layer = Layer(tmp_path)
    (tmp_path / "data").mkdir()
    with started(tmp_path / "hub", tmp_path / "data", layer.env) as made:
        before = resident_mb(made.pid)
        layer.set(sync_ms=SLOW_MS)
        began = monotonic()
        answers = together([lambda: made.call(*READ, timeout_s=60.0)] * 60)
        took = monotonic() - began
        assert took > SLOW_MS / 1000 * 0.9, "the disk was not slow"
        assert took < 30.0, "calls that wait together share one sync"
        assert [_code(answer) for answer in answers] == [None] * 60
        assert resident_mb(made.pid) - before < 40
        assert made.http.request("GET", "/health").status == 200
        layer.set()
        wait_until(lambda: made.said("good__well") == "well" or None, "it is quick again")
        assert check_chain(made.hub.data_dir / "audit.db").ok
        assert made.entry(answers[-1])["outcome"] == "done"


@pytest.mark.parametrize("name", ["audit.db", "hub.db"])
def test_case_25_a_spoilt_database_is_found_at_the_start_and_told_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    with started(tmp_path / "hub", tmp_path / "data") as made:
        assert made.said("good__well") == "well"
        assert made.hub.stop() == 0
        path = made.hub.data_dir / name
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(size - 100))
        done = subprocess.run(
            made.hub.verb("serve"), capture_output=True, text=True, timeout=60, env=made.hub.environment
        )
    assert done.returncode == 1, done.stderr
    assert name in done.stderr
    assert "backup" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_case_25_a_changed_entry_at_the_end_of_the_log_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with started(tmp_path / "hub", tmp_path / "data") as made:
        assert made.said("good__well") == "well"
        assert made.hub.stop() == 0
        path = made.hub.data_dir / "audit.db"
        data = path.read_bytes()
        assert b"good__well" in data
        path.write_bytes(data.replace(b"good__well", b"good__hell"))
        done = subprocess.run(
            made.hub.verb("serve"), capture_output=True, text=True, timeout=60, env=made.hub.environment
        )
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "backup" in done.stderr
