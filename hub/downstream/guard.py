"""The guard: a small process that is the parent of every child of one hub, so that no child outlives the hub.

Run as `python -I -S guard.py FD` with FD one end of a stream socket pair; standard library only, nothing of the hub.
It forks, reaps and kills. It never touches the children's pipes, whose ends are handed through it.

Orders come as 4 bytes of length and JSON: `{"op": "spawn", "id", "path", "argv", "env", "cwd"}` with three file
descriptors, and `{"op": "stop", "id", "grace_s"}` (TERM, then KILL; without a grace KILL alone). Reports go back as
lines of JSON: `{"id", "pid"}`, `{"id", "failed"}` and `{"id", "exit"}`. When the hub's end closes, for whatever reason,
every descendant is ended and the guard leaves. On Linux it is a subreaper: whoever detaches itself becomes its child.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

LEFT_GRACE_S = 1.0  # between TERM and KILL for what a child leaves behind when it exits
LAST_GRACE_S = 1.5  # ... when the hub is gone
LAST_KILL_S = 2.5
NOFILE = 4096
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MARK = "MCP_HUB_CHILD"  # in the environment of a child: finds what left its session and lost its parent


class Process:
    """One line of the process table."""

    __slots__ = ("group", "parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, stat: str) -> None:
        fields = stat.rpartition(")")[2].split()  # the command before it may hold anything
        self.pid, self.state = pid, fields[0]
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.start = fields[19]


def processes() -> dict[int, Process]:
    """The process table; empty where there is no /proc."""
    found: dict[int, Process] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return found
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    found[int(name)] = Process(int(name), file.read())
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile
    return found


def descendants(table: dict[int, Process], root: int) -> dict[int, Process]:
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    waiting = [root]
    while waiting:
        for process in children.get(waiting.pop(), ()):
            if process.pid not in found:
                found[process.pid] = process
                waiting.append(process.pid)
    return found


def is_marked(pid: int, id: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK}={id}".encode() in file.read().split(b"\0")
    except OSError:
        return False


class Kid:
    """A child of the hub: leader of its own session and process group."""

    __slots__ = ("exited", "id", "kill_at", "pid", "prey")

    def __init__(self, id: int, pid: int) -> None:
        self.id, self.pid = id, pid
        self.exited = False  # reported; its zombie is kept while others of its group live, so that nobody gets its pid
        self.kill_at: float | None = None
        self.prey: dict[int, str] = {}  # pid -> start time of everything that must be gone in the end

    def members(self, table: dict[int, Process]) -> dict[int, Process]:
        """Who belongs to it now: descendants, its session and group, and whom it had when it was told to stop."""
        found = descendants(table, self.pid)
        for process in table.values():
            mine = self.pid in (process.session, process.group) or self.prey.get(process.pid) == process.start
            if mine or (process.parent == os.getpid() and is_marked(process.pid, self.id)):
                found[process.pid] = process
                found.update(descendants(table, process.pid))
        return {pid: process for pid, process in found.items() if process.state != "Z" and pid != self.pid}


class Guard:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.kids: dict[int, Kid] = {}
        self.buffer = bytearray()
        self.fds: list[int] = []

    def run(self, wakeup: int) -> None:
        """Serve until the hub's end of the socket closes."""
        poller = select.poll()
        poller.register(self.control.fileno(), select.POLLIN)
        poller.register(wakeup, select.POLLIN)
        while True:
            for fd, _ in poller.poll(self.patience_ms()):
                if fd == wakeup:
                    os.read(wakeup, 4096)
                elif not self.receive():
                    return
            self.reap()
            now = time.monotonic()
            for kid in [kid for kid in self.kids.values() if kid.kill_at is not None and kid.kill_at <= now]:
                self.kill(kid)

    def patience_ms(self) -> float | None:
        due = [kid.kill_at for kid in self.kids.values() if kid.kill_at is not None]
        return max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    def receive(self) -> bool:
        """Take what the hub sent; False when it is gone."""
        try:
            data, ancillary, _, _ = self.control.recvmsg(65536, socket.CMSG_SPACE(3 * 4))
        except OSError:
            return False
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.fds.extend(struct.unpack(f"{len(payload) // 4}i", payload))
        self.buffer += data
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < 4 + size:
                break
            order = json.loads(self.buffer[4 : 4 + size])
            del self.buffer[: 4 + size]
            self.obey(order)
        return bool(data)

    def obey(self, order: dict[str, object]) -> None:
        id = order["id"]
        assert isinstance(id, int)
        if order["op"] == "spawn":
            fds, self.fds = self.fds[:3], self.fds[3:]
            try:
                pid = fork(order, fds)
            except OSError as exc:
                self.report({"id": id, "failed": os.strerror(exc.errno or 0)})
            else:
                self.kids[id] = Kid(id, pid)
                self.report({"id": id, "pid": pid})
            finally:
                for fd in fds:
                    os.close(fd)
        elif id in self.kids:
            grace_s = order["grace_s"]
            assert isinstance(grace_s, int | float)
            self.stop(self.kids[id], grace_s)

    def stop(self, kid: Kid, grace_s: float) -> None:
        members = kid.members(processes())
        kid.prey.update({pid: process.start for pid, process in members.items()})
        due = time.monotonic() + grace_s
        kid.kill_at = due if kid.kill_at is None else min(due, kid.kill_at)
        if grace_s:
            end(kid, members, signal.SIGTERM)

    def kill(self, kid: Kid) -> None:
        end(kid, kid.members(processes()), signal.SIGKILL)
        kid.kill_at = None
        if kid.exited:
            self.bury(kid)

    def bury(self, kid: Kid) -> None:
        os.waitpid(kid.pid, 0)
        del self.kids[kid.id]

    def reap(self) -> None:
        """Report children that ended, and bury what they orphaned."""
        table: dict[int, Process] | None = None
        for kid in list(self.kids.values()):
            ended = None if kid.exited else os.waitid(os.P_PID, kid.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            kid.exited = True
            self.report({"id": kid.id, "exit": exit_code(ended)})
            table = table or processes()
            if table and not kid.members(table):
                self.bury(kid)
            else:
                self.stop(kid, LEFT_GRACE_S)
        mine = {kid.pid for kid in self.kids.values()}
        for process in (table or processes()).values():
            if process.parent == os.getpid() and process.state == "Z" and process.pid not in mine:
                try:
                    os.waitpid(process.pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def report(self, message: dict[str, object]) -> None:
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # the hub is gone; the next receive says so

    def finish(self) -> None:
        """End everything that descends from the guard."""
        began = time.monotonic()
        told = False
        while reap_all():
            late = time.monotonic() - began > LAST_GRACE_S
            if not told or late:
                for kid in self.kids.values():
                    end(kid, {}, signal.SIGKILL if late else signal.SIGTERM)
                for pid in descendants(processes(), os.getpid()):
                    send(pid, signal.SIGKILL if late else signal.SIGTERM)
                told = True
            if time.monotonic() - began > LAST_GRACE_S + LAST_KILL_S:
                return
            time.sleep(0.02)


def reap_all() -> bool:
    """Bury every child that ended; False when there is none left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def end(kid: Kid, members: dict[int, Process], sig: signal.Signals) -> None:
    try:
        os.killpg(kid.pid, sig)
    except OSError:
        pass
    for pid, process in members.items():
        if process.group != kid.pid:
            send(pid, sig)


def send(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except OSError:
        pass


def exit_code(ended: os.waitid_result) -> int:
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def fork(order: dict[str, object], fds: list[int]) -> int:
    """Start a child; returns once it has become its program. Raises OSError when it cannot."""
    if len(fds) != 3:
        raise OSError(9, "Bad file descriptor")
    guard = os.getpid()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(order, fds, tell, guard)
        except OSError as exc:
            os.write(tell, str(exc.errno).encode())
        finally:
            os._exit(127)
    os.close(tell)
    failed = os.read(told, 16)  # ends when the program is loaded: the other end closes on exec
    os.close(told)
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), "cannot start")
    return pid


def become(order: dict[str, object], fds: list[int], tell: int, guard: int) -> None:
    path, argv, env, cwd = order["path"], order["argv"], order["env"], order["cwd"]
    assert isinstance(path, str)
    assert isinstance(argv, list)
    assert isinstance(env, dict)
    os.setsid()
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    os.closerange(3, tell)
    os.closerange(tell + 1, 1 << 20)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a guard that is killed takes its children along
    if os.getppid() != guard:
        return
    signal.set_wakeup_fd(-1)
    for sig in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (NOFILE if hard == resource.RLIM_INFINITY else min(NOFILE, hard), hard))
    if isinstance(cwd, str):
        os.chdir(cwd)
    os.execve(path, argv, {**env, MARK: str(order["id"])})  # noqa: S606 - running what an operator configured is the purpose


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere there is no such call, and groups alone must do."""
    try:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        return


def main(fd: int) -> None:
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # only the hub's end ends the guard
        signal.signal(sig, signal.SIG_IGN)
    wakeup, notify = os.pipe()
    os.set_blocking(notify, False)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = Guard(control)
    try:
        guard.run(wakeup)
    finally:
        guard.finish()


if __name__ == "__main__":
    main(int(sys.argv[1]))
