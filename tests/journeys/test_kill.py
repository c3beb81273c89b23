"""kill -9 of a hub under load, again and again: what it acknowledged is in its log, and nothing it started lives on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

from hub.audit.read import MAX_LIMIT, check_chain, read_entries
from tests.e2e.real import TOKEN, Hub, end_group

ROUNDS: Final = 10
CONNECTIONS: Final = 8
ACKNOWLEDGED: Final = 200  # calls before each kill
GONE_S: Final = 5.0

# A legacy stdio server whose grandchildren do not want to go: one plain, one deaf to TERM, one in a session of its own
# whose parent has left.
SERVER: Final = """
import json, os, signal, subprocess, sys, time
pids = open(sys.argv[1], "a")
def note(pid):
    pids.write(f"{pid}\\n")
    pids.flush()
SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
note(os.getpid())
for program in (SLEEP, DEAF):
    note(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid)
DAEMON = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True, " \\
    "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid)"
note(int(subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, check=True).stdout))
TOOL = {"name": "work", "inputSchema": {"type": "object"}}
for line in sys.stdin:
    said = json.loads(line)
    if said.get("id") is None:
        continue
    answer = {"jsonrpc": "2.0", "id": said["id"]}
    if said["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                            "serverInfo": {"name": "family", "version": "1"}}
    elif said["method"] == "tools/list":
        answer["result"] = {"tools": [TOOL]}
    elif said["method"] == "tools/call":
        answer["result"] = {"content": [{"type": "text", "text": "worked"}]}
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), flush=True)
"""

CALLS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("family__work", {}),  # a write: its intent is logged first
    ("sandbox__query_customer_data", {"customer_id": "C-1001"}),
)


def request(id: int, tool: str, arguments: dict[str, Any]) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    head = (
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answered(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    """One whole answer: its call id and its message. Raises when the connection breaks before its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    message: dict[str, Any] = json.loads(await reader.readexactly(int(headers["content-length"])))
    assert " 200 " in head[0], (head[0], message)
    return headers["hub-call-id"], message


class Load:
    """Calls over raw connections until the hub dies under them."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._ids = hub, count(1)
        self.acknowledged: dict[str, str] = {}  # the tool by call id
        self.cut = 0  # calls that were sent and never answered

    async def until_killed(self) -> None:
        workers = [asyncio.create_task(self._work(number)) for number in range(CONNECTIONS)]
        try:
            async with asyncio.timeout(30):
                while len(self.acknowledged) < ACKNOWLEDGED:
                    await asyncio.sleep(0.002)
                    for worker in workers:
                        assert not worker.done(), worker.exception()
            assert self._hub.child is not None
            self._hub.child.kill()  # the load goes on
            async with asyncio.timeout(10):
                await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, number: int) -> None:
        port = int(self._hub.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        tool, arguments = CALLS[number % len(CALLS)]
        try:
            while True:
                writer.write(request(next(self._ids), tool, arguments))
                call, message = await answered(reader)
                assert message.get("result", {"isError": True}).get("isError") is not True, message
                self.acknowledged[call] = tool
        except (asyncio.IncompleteReadError, ConnectionError):
            self.cut += 1
        finally:
            writer.close()


def entries(log: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := read_entries(log, after_seq=found[-1]["seq"] if found else 0, limit=MAX_LIMIT):
        found += page
    return found


def lives(pid: int) -> bool:
    """Whether it runs; one that is dead and not yet buried does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def survivors(pids: list[int], within_s: float) -> list[int]:
    end = time.monotonic() + within_s
    while (left := [pid for pid in pids if lives(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def check_log(log: Path, acknowledged: dict[str, str]) -> None:
    report = check_chain(log)
    assert report.ok, report
    told = entries(log)
    assert [entry["seq"] for entry in told] == list(range(1, len(told) + 1))
    ended = {entry["call"]: entry for entry in told if entry["kind"] == "call"}
    assert set(acknowledged) <= set(ended), "an acknowledged call has no entry"
    for call, tool in acknowledged.items():
        assert (ended[call]["item"], ended[call]["outcome"]) == (tool, "done")
    begun = {entry["call"] for entry in told if entry["kind"] == "intent"}
    assert begun <= set(ended), "a write that was under way has no end"
    assert {ended[call]["outcome"] for call in begun} <= {"done", "unknown"}


async def test_ten_kills_under_load_lose_no_acknowledged_call_and_leave_no_process(tmp_path: Path) -> None:
    server, pids = tmp_path / "family.py", tmp_path / "pids"
    server.write_text(SERVER)
    hub = Hub(
        tmp_path / "hub",
        {
            "sandbox": {"connector": "sandbox", "trusted": True},
            "family": {"command": sys.executable, "args": [str(server), str(pids)], "era": "legacy"},
        },
        {"limits": {"per_caller": {"per_minute": 1_000_000, "burst": 100_000}}},
    )
    acknowledged: dict[str, str] = {}
    started: list[int] = []
    cut = 0
    try:
        for _ in range(ROUNDS):
            await asyncio.to_thread(hub.start)
            await asyncio.to_thread(hub.told, "tools", "list", "--json")  # waits for the first lists
            if acknowledged:
                check_log(hub.data_dir / "audit.db", acknowledged)
            load = Load(hub)
            await load.until_killed()
            family = [int(line) for line in pids.read_text().split()]
            assert len(family) - len(started) == 4, "the server, and three that it started"
            assert survivors(family, GONE_S) == []
            started, cut = family, cut + load.cut
            acknowledged |= load.acknowledged
            hub.kill()
        assert set(acknowledged.values()) == {tool for tool, _ in CALLS}
        assert cut >= ROUNDS, "no call was under way when the hub was killed"
        await asyncio.to_thread(hub.start)
        check_log(hub.data_dir / "audit.db", acknowledged)
        shown = await asyncio.to_thread(hub.told, "audit", "show", next(iter(acknowledged)), "--json")
        assert json.loads(shown.stdout.splitlines()[-1])["outcome"] == "done"
        assert await asyncio.to_thread(hub.stop) == 0
    finally:
        if hub.child is not None:
            end_group(hub.child)
        for pid in [int(line) for line in pids.read_text().split()] if pids.exists() else []:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
