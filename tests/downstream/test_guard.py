"""The guard's own rules, with real processes and without its process: orders in, reports out, nobody forgotten."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hub.downstream.guard import Guard, Kid, Process, descendants, exit_code, is_marked, processes

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


class Driver:
    """The hub's end of the socket, with the guard in a thread that is woken every 10 ms instead of by SIGCHLD."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.guard = Guard(theirs)
        self.wakeup, self.alarm = os.pipe()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=run) for run in (self._serve, self._wake)]
        self.unread = b""
        for thread in self.threads:
            thread.start()

    def _serve(self) -> None:
        self.guard.run(self.wakeup)
        self.over.set()

    def _wake(self) -> None:
        while not self.over.wait(0.01):
            os.write(self.alarm, b"x")

    def order(self, fds: int = 3, cut: int = 0, **order: Any) -> None:
        body = json.dumps(order).encode()
        frame = len(body).to_bytes(4, "big") + body
        nowhere = os.open(os.devnull, os.O_RDWR)
        if order["op"] == "spawn":
            socket.send_fds(self.socket, [frame[:cut] if cut else frame], [nowhere] * fds)
        else:
            self.socket.sendall(frame[:cut] if cut else frame)
        if cut:
            time.sleep(0.02)
            self.socket.sendall(frame[cut:])
        os.close(nowhere)

    def spawn(self, id: int, script: str, **more: Any) -> None:
        order = {"path": "/bin/sh", "argv": ["sh", "-c", script], "env": {"PATH": os.environ["PATH"]}, "cwd": "/"}
        self.order(op="spawn", id=id, **{**order, **more})

    def report(self) -> dict[str, Any]:
        while b"\n" not in self.unread:
            assert select.select([self.socket], [], [], 5)[0], "the guard reported nothing in time"
            self.unread += self.socket.recv(4096)
        line, _, self.unread = self.unread.partition(b"\n")
        report: dict[str, Any] = json.loads(line)
        return report

    def close(self) -> None:
        self.socket.close()
        for thread in self.threads:
            thread.join(5)
        for kid in list(self.guard.kids.values()):
            os.killpg(kid.pid, signal.SIGKILL)
            os.waitpid(kid.pid, 0)
        self.guard.control.close()
        os.close(self.wakeup)
        os.close(self.alarm)


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    yield made
    made.close()
    assert made.over.is_set()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_child_is_started_reported_and_buried(driver: Driver) -> None:
    driver.spawn(1, "exit 3")
    pid = driver.report()["pid"]
    assert driver.report() == {"id": 1, "exit": 3}
    assert gone(pid)
    assert driver.guard.kids == {}


def test_order_that_comes_in_pieces_is_obeyed(driver: Driver) -> None:
    driver.order(op="spawn", id=1, cut=9, path="/bin/sh", argv=["sh", "-c", "kill -TERM $$"], env={}, cwd=None)
    assert "pid" in driver.report()
    assert driver.report() == {"id": 1, "exit": -signal.SIGTERM}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"path": "/no/such/program"}, "No such file or directory"),
        ({"path": os.devnull}, "Permission denied"),
        ({"cwd": "/no/such/folder"}, "No such file or directory"),
        ({"fds": 1}, "Bad file descriptor"),
    ],
)
def test_start_that_fails_is_reported_in_words(driver: Driver, more: dict[str, Any], why: str) -> None:
    driver.spawn(1, "exit 0", **more)
    assert driver.report() == {"id": 1, "failed": why}
    driver.spawn(2, "exit 0")
    assert "pid" in driver.report()
    assert driver.report() == {"id": 2, "exit": 0}


def test_stop_is_term_first_and_kill_after_the_grace(driver: Driver) -> None:
    driver.spawn(1, "trap '' TERM; while :; do sleep 0.01; done")
    driver.report()
    time.sleep(0.1)
    driver.order(op="stop", id=1, grace_s=0.2)
    driver.order(op="stop", id=1, grace_s=60)  # never later than it was told first
    driver.order(op="stop", id=99, grace_s=0)
    began = time.monotonic()
    assert driver.report() == {"id": 1, "exit": -signal.SIGKILL}
    assert 0.1 < time.monotonic() - began < 3


def test_what_a_child_leaves_in_its_group_is_ended_before_it_is_buried(driver: Driver) -> None:
    driver.spawn(1, "trap '' TERM; (while :; do sleep 0.01; done) & exit 0")
    pid = driver.report()["pid"]
    assert driver.report() == {"id": 1, "exit": 0}
    assert os.path.exists(f"/proc/{pid}")  # kept as a zombie, so that nobody gets its number
    assert gone(pid)
    assert not [p for p in processes().values() if p.session == pid and p.state != "Z"]


def test_members_are_descendants_session_and_whom_the_mark_names() -> None:
    me = os.getpid()
    script = "import time, os; print(os.getpid(), flush=True); time.sleep(30)"
    with subprocess.Popen(
        [sys.executable, "-c", script], env={"MCP_HUB_CHILD": "7"}, stdout=subprocess.PIPE, start_new_session=True
    ) as detached:
        assert detached.stdout is not None
        detached.stdout.readline()
        assert is_marked(detached.pid, 7)
        assert not is_marked(detached.pid, 70)
        assert not is_marked(1 << 30, 7)
        table = processes()
        assert detached.pid in descendants(table, me)
        assert detached.pid in Kid(7, 1 << 30).members(table)
        assert detached.pid not in Kid(8, 1 << 30).members(table)
        prey = Kid(8, 1 << 30)
        prey.prey[detached.pid] = "another start time"
        assert detached.pid not in prey.members(table)
        prey.prey[detached.pid] = table[detached.pid].start
        assert detached.pid in prey.members(table)
        detached.kill()


def test_process_table_line_survives_any_command_name() -> None:
    stat = "12 (a) R 9 9 ) (b) S 7 12 12 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 98765 1 1"
    process = Process(12, stat)
    assert (process.parent, process.group, process.session, process.state) == (7, 12, 12, "S")
    assert process.start == "98765"


def test_cycles_in_a_table_read_while_it_changes_end() -> None:
    stat = "{} (x) S {} 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 5 0 0"
    table = {pid: Process(pid, stat.format(pid, parent)) for pid, parent in ((2, 3), (3, 2), (4, 1))}
    assert set(descendants(table, 2)) == {2, 3}


def test_exit_code_of_a_signal_is_negative() -> None:
    ended = os.waitid_result((1, 0, signal.SIGCHLD, 9, os.CLD_KILLED))
    assert exit_code(ended) == -9
