"""kill -9 under load: what was acknowledged is there, the chain is whole, open writes are closed as unknown."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from hub.audit.read import check_chain, entries_of, read_entries
from tests.audit.records import started

CHILD = """
import asyncio, sys
from itertools import count
from pathlib import Path
from hub.audit.writer import AuditLog
from tests.audit.records import KEY, a_call, a_record, done

run = sys.argv[2]
numbers = count()

async def worker(log):
    while True:
        record = a_record(a_call(f"{run}-{next(numbers)}"))
        await log.intent(record)
        print("intent", record.call.id, flush=True)
        await log.finish(record, done())
        print("done", record.call.id, flush=True)

async def main():
    log = AuditLog(Path(sys.argv[1]), policy_version="p1", hmac_key=KEY)
    await log.start()
    await log.intent(a_record(a_call(f"{run}-hung")))
    print("intent", f"{run}-hung", flush=True)
    await asyncio.gather(*(worker(log) for _ in range(16)))

asyncio.run(main())
"""


def acknowledged_before_kill(path: Path, run: str, lines: int) -> list[tuple[str, str]]:
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), run], stdout=subprocess.PIPE, text=True, cwd=root)
    assert child.stdout is not None
    with child, child.stdout:
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    whole = [line.split() for line in said if line.endswith("\n")]
    return [(kind, call) for kind, call in whole]


async def test_no_acknowledged_entry_is_lost_and_open_writes_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    acknowledged: list[tuple[str, str]] = []
    for run in range(3):
        acknowledged += acknowledged_before_kill(path, f"run{run}", 400 + 137 * run)
        assert check_chain(path).ok  # before anybody writes to it again
    log = await started(path)
    await log.aclose()
    report = check_chain(path)
    assert report.ok
    kept = {(entry["kind"], entry["call"]): entry["outcome"] for entry in read_everything(path)}
    for kind, call in acknowledged:
        assert kept["intent", call] == "unknown"
        if kind == "done":
            assert kept["call", call] == "done"
    assert {call for kind, call in kept if kind == "intent"} == {call for kind, call in kept if kind == "call"}
    unfinished = [call for (kind, call), outcome in kept.items() if kind == "call" and outcome == "unknown"]
    assert {"run0-hung", "run1-hung", "run2-hung"} <= set(unfinished)
    assert [entry["kind"] for entry in entries_of(path, "run0-hung")] == ["intent", "call"]


def read_everything(path: Path) -> list[dict[str, str]]:
    told: list[dict[str, str]] = []
    while page := read_entries(path, after_seq=len(told), limit=500):
        told += page
    return told
