"""The hub's own threads in lockstep with its loop: real threads, of which one runs at a time, and only when it may.

Stands in for `threading` and `SimpleQueue` in a module that keeps a thread (`Crew.threading`, `Crew.queue`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty
from types import SimpleNamespace
from typing import Any

from conformance.faults.simulator.clock import Clock


class Killed(BaseException):
    """Raised in a thread whose process has been killed."""


class Crew:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.workers: list[_Worker] = []
        self.current: _Worker | None = None
        self.threading = SimpleNamespace(Thread=self._thread, Event=lambda: _Event(self))
        self.queue = lambda: _Queue(self)

    def turn(self) -> bool:
        """Let every thread that can go on run until it waits again. Whether one did."""
        moved = False
        for worker in [worker for worker in self.workers if worker.may_go()]:
            moved = True
            self._step(worker)
        return moved

    def due_in(self) -> float | None:
        """Seconds to the first end of a thread's wait."""
        ends = [worker.until for worker in self.workers if worker.until is not None]
        return min(ends) - self.clock.now if ends else None

    def kill(self) -> None:
        """End every thread where it waits."""
        for worker in list(self.workers):
            worker.killed = True
            self._step(worker)

    def wait(self, ready: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Called in a thread: hand over until `ready`, or until the time is over."""
        worker = self.current
        if worker is None:
            raise RuntimeError("the loop's own thread must not wait")
        if not ready():
            worker.pause(ready, None if timeout_s is None else self.clock.now + timeout_s)

    def _step(self, worker: _Worker) -> None:
        self.current = worker
        worker.go.release()
        worker.rest.acquire()
        self.current = None
        if worker.ended:
            self.workers.remove(worker)

    def _thread(self, *, target: Callable[..., Any], args: tuple[Any, ...] = (), **_: Any) -> _Worker:
        return _Worker(self, lambda: target(*args))


class _Worker:
    def __init__(self, crew: Crew, work: Callable[[], Any]) -> None:
        self._crew, self._work = crew, work
        self.go, self.rest = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.rest.acquire()
        self.ready: Callable[[], bool] = lambda: True
        self.until: float | None = None
        self.ended = self.killed = False

    def start(self) -> None:
        self._crew.workers.append(self)
        threading.Thread(target=self._run, daemon=True).start()

    def may_go(self) -> bool:
        return self.ready() or (self.until is not None and self._crew.clock.now >= self.until)

    def pause(self, ready: Callable[[], bool], until: float | None) -> None:
        self.ready, self.until = ready, until
        self.rest.release()
        self.go.acquire()
        self.ready, self.until = lambda: True, None
        if self.killed:
            raise Killed

    def _run(self) -> None:
        self.go.acquire()
        try:
            if not self.killed:
                self._work()
        except Killed:
            pass
        finally:
            self.ended = True
            self.rest.release()


class _Event:
    def __init__(self, crew: Crew) -> None:
        self._crew, self._set = crew, False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        self._crew.wait(self.is_set, timeout)
        return self._set


class _Queue:
    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float | None = None) -> Any:
        self._crew.wait(lambda: bool(self._items), timeout)
        if not self._items:
            raise Empty
        return self._items.popleft()
