"""The log's writer: queues entries on the event loop, commits them in groups on a thread of its own.

It owns the order of entries and the promise that an answered wait is on the disk. It decides nothing about calls: what
cannot be logged raises here, and the pipeline refuses.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import gmtime, monotonic, strftime, time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from hub.audit.chain import canonical
from hub.audit.digest import Digest
from hub.audit.logfile import Connect, LogFile, LogUnusable, connect, is_full
from hub.audit.record import Entry, call_entry, closing_entry, event_entry, intent_entry
from hub.core.call import Done, Json, Listed, Outcome
from hub.core.errors import HubError
from hub.core.ids import new_call_id
from hub.core.ports import EventKind

if TYPE_CHECKING:
    from hub.core.pipeline import Record

log = logging.getLogger(__name__)

QUEUE: Final = 10_000  # entries that are not yet on the disk
QUEUE_BYTES: Final = 256 * 1024 * 1024  # of results that wait to be hashed
GROUP: Final = 512  # entries per transaction
LAZY_S: Final = 0.5  # how long an entry that nobody waits for may wait for company
COMPANY_S: Final = 0.001  # the longest that a group waits for those that its like make probable
CROWD: Final = 4  # entries waited for at once: from here on there is company to wait for
RETRY_S: Final = 0.25  # between attempts while the file takes nothing
START_S: Final = 60.0
STOP_S: Final = 10.0


class LogUnavailable(HubError):
    """The entry could not be made durable."""


class _Queued(msgspec.Struct, gc=False):
    entry: Entry
    arguments: Any  # hashed by the thread, then let go
    result: Any
    size_bytes: int
    waiter: asyncio.Future[None] | None


class AuditLog:
    """`hub.core.ports.Auditor` and `Journal` on one file. One event loop uses it, between `start` and `aclose`.

    While the file takes nothing, every wait fails, lists too; what was queued is kept, in order, and written as soon as
    it can be, after one alarm that tells of the gap in time.
    """

    def __init__(
        self,
        path: Path,
        *,
        policy_version: str,
        hmac_key: bytes,
        clock: Callable[[], float] = time,
        connect: Connect = connect,
        limit: int = QUEUE,
    ) -> None:
        """`clock` gives seconds since 1970. `policy_version` may be set anew: later entries carry the new one."""
        self.policy_version = policy_version
        self._clock, self._limit = clock, limit
        self._digest = Digest(hmac_key)
        self._path, self._connect = path, connect
        self._queue: deque[_Queued] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._asleep = False  # the thread waits for the bell
        self._will_ring = False
        self._wanted = 1  # entries that the next group waits for, within bounds; the thread sets it
        self._company: asyncio.TimerHandle | None = None  # rings when those do not come
        self._lazy: asyncio.TimerHandle | None = None  # rings for entries that nobody waits for
        self._unwritten = 0
        self._unwritten_bytes = 0
        self._room: set[asyncio.Future[None]] = set()
        self._usable = False
        self._failing = False  # the last attempt to write failed
        self._stopping = threading.Event()
        self._batch: list[_Queued] = []  # this and what follows: the thread's own
        self._kept: list[_Queued] = []  # could not be written yet
        self._alarm: Entry | None = None
        self._stamp = (-1, "")  # one second and how it is written; replaced whole, both threads use it

    async def start(self, timeout_s: float = START_S) -> None:
        """Open the file, close what an earlier run left open, note the start. Raises LogUnusable, in words."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        opened: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, args=(opened,), name="audit-log", daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                await opened
        except TimeoutError as exc:
            self._stopping.set()
            raise LogUnusable(f"{self._path} did not open within {timeout_s:g} s: check its disk") from exc
        self._usable = True

    async def aclose(self, timeout_s: float = STOP_S) -> None:
        """Note the stop, write what waits, close the file. Idempotent; gives up on a disk that does not answer."""
        if not self._usable:
            return
        self._put_unwaited(self._system("stop", "done", {}))
        self._usable = False
        self._stopping.set()
        self._ring()
        _, late = await asyncio.wait({self._ended}, timeout=timeout_s)
        if late or self._unwritten:
            log.error("audit log: %d entries were not written before the stop", self._unwritten)

    async def intent(self, record: Record) -> None:
        entry = intent_entry(record, self._at(), self.policy_version)
        if not self._takes():
            await self._room_for_one()
        await self._put(entry, record.call.params.get("arguments"))

    async def finish(self, record: Record, outcome: Outcome) -> None:
        entry = call_entry(record, outcome, self._at(), monotonic(), self.policy_version)
        if not self._takes():
            await self._room_for_one()
        kind = type(outcome)
        if kind is Done:
            outcome = cast(Done, outcome)
            await self._put(entry, record.call.params.get("arguments"), outcome.result, outcome.size_bytes)
        elif kind is Listed and not self._failing:
            self._put_unwaited(entry)
            if self._lazy is None:
                self._lazy = self._loop.call_later(LAZY_S, self._ring)
        else:
            await self._put(entry, record.call.params.get("arguments"))

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        frozen = json.loads(canonical(detail))
        entry = event_entry(kind, new_call_id(), who, outcome, item, frozen, self._at(), self.policy_version)
        if not self._takes():
            await self._room_for_one()
        await self._put(entry)
        return entry.call

    def _put(
        self, entry: Entry, arguments: Any = None, result: Any = None, size_bytes: int = 0
    ) -> asyncio.Future[None]:
        """Done when the entry is on the disk. No coroutine: the callers' own frames are enough."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._unwritten += 1
        self._unwritten_bytes += size_bytes
        self._queue.append(_Queued(entry, arguments, result, size_bytes, waiter))
        if self._asleep and not self._will_ring:
            self._call()
        return waiter

    def _put_unwaited(self, entry: Entry) -> None:
        self._unwritten += 1
        self._queue.append(_Queued(entry, None, None, 0, None))

    def _call(self) -> None:
        """Calls that come together share a commit: it costs as much as 20 entries, 140 us of CPU."""
        if len(self._queue) >= self._wanted:
            self._will_ring = True
            self._loop.call_soon(self._ring)
        elif self._company is None:
            self._company = self._loop.call_later(COMPANY_S, self._ring)

    def _ring(self) -> None:
        self._will_ring = False
        if self._company is not None:
            self._company.cancel()
            self._company = None
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        self._asleep = False
        self._bell.put(None)

    def _takes(self) -> bool:
        return self._usable and self._unwritten < self._limit and self._unwritten_bytes < QUEUE_BYTES

    async def _room_for_one(self) -> None:
        """The caller's own deadline bounds the wait."""
        while self._usable and not self._takes():
            room = self._loop.create_future()
            self._room.add(room)
            try:
                await room
            finally:
                self._room.discard(room)
        if not self._usable:
            raise LogUnavailable("the audit log is not open")

    def _settle(self, group: list[_Queued], written: int, hashed_bytes: int, error: str | None) -> None:
        """On the loop: wake whoever waits for this group."""
        self._unwritten -= written
        self._unwritten_bytes -= hashed_bytes
        for queued in group:
            waiter = queued.waiter
            if waiter is None or waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(LogUnavailable(error))
        for room in self._room:
            if not room.done():
                room.set_result(None)

    def _end(self, lost: list[_Queued]) -> None:
        """On the loop: the thread is gone, and nothing is written any more."""
        self._usable = False
        self._settle([*lost, *self._queue], 0, 0, "the audit log is not open")
        self._ended.set_result(None)

    def _at(self) -> str:
        now = self._clock()
        second, prefix = self._stamp
        if not 0 <= now - second < 1:
            second = int(now)
            prefix = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
            self._stamp = (second, prefix)
        return f"{prefix}{int((now - second) * 1000):03d}Z"

    def _system(self, item: str, outcome: str, detail: Json) -> Entry:
        return event_entry("system", new_call_id(), "hub", outcome, item, detail, self._at(), self.policy_version)

    # From here on, the thread.

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            self._open()
        except (HubError, sqlite3.Error, OSError) as exc:
            told = exc if isinstance(exc, HubError) else LogUnusable(f"{self._path} cannot be written: {exc}")
            self._post(_raise, opened, told)
            return
        self._post(_pass, opened)
        try:
            while self._turn():
                pass
        except Exception:
            log.exception("the audit log stopped")
        self._file.close()
        self._post(self._end, [*self._batch, *self._kept])

    def _open(self) -> None:
        self._file = LogFile(self._path, self._connect)
        with ExitStack() as undo:
            undo.callback(self._file.close)
            at = self._at()
            lost = [closing_entry(intent, at, self.policy_version) for intent in self._file.open_intents()]
            self._file.append([*lost, self._system("start", "done", {"unfinished_writes": len(lost)})])
            undo.pop_all()

    def _turn(self) -> bool:
        """One group of entries, which may have to be waited for. False when the log is to end."""
        stopping = self._stopping.is_set()
        if not stopping and not self._kept and len(self._queue) < self._wanted:
            self._sleep()
        self._batch = [self._queue.popleft() for _ in range(len(self._queue))]
        if not self._batch and not self._kept:
            return not stopping
        self._write()
        self._expect()
        self._batch = []
        if self._failing:
            self._stopping.wait(RETRY_S)
            return not stopping
        return True

    def _sleep(self) -> None:
        """Until an entry has come, and its company or the time for that."""
        self._asleep = True
        if len(self._queue) < self._wanted and not self._stopping.is_set():
            with suppress(Empty):
                self._bell.get(timeout=COMPANY_S if self._queue else None)
        self._asleep = False

    def _expect(self) -> None:
        """Whoever waited for this group comes again soon, if many did: three of four of them fill the next.

        All would be too many: while a group is on its way to the disk, the others are to be worked on. One caller alone
        waits for nobody.
        """
        crowd = len(self._queue) + sum(queued.waiter is not None for queued in self._batch)
        self._wanted = crowd * 3 // 4 if crowd >= CROWD else 1

    def _write(self) -> None:
        hashed_bytes = sum(queued.size_bytes for queued in self._batch)
        for queued in self._batch:
            self._hash(queued)
        pending = [*self._kept, *self._batch]
        self._kept = []
        for first in range(0, len(pending), GROUP):
            group = pending[first : first + GROUP]
            try:
                self._append([queued.entry for queued in group])
            except (sqlite3.Error, OSError) as exc:
                rest = pending[first:]
                self._kept = [_Queued(queued.entry, None, None, 0, None) for queued in rest]
                self._outage(exc)
                self._post(self._settle, rest, 0, hashed_bytes, "the audit log cannot be written")
                return
            self._post(self._settle, group, len(group), hashed_bytes, None)
            hashed_bytes = 0

    def _hash(self, queued: _Queued) -> None:
        entry = queued.entry
        if queued.arguments is not None:
            entry.args_hmac = self._digest.of(queued.arguments)
        if queued.result is not None:
            entry.result_hmac = self._digest.of(queued.result, queued.size_bytes)

    def _append(self, entries: list[Entry]) -> None:
        if self._failing:
            self._file.reread_head()
            self._file.restore_reserve()  # room for less than that is no room
            if self._alarm is not None:
                self._file.append([self._alarm])
                self._alarm = None
        self._file.append(entries)
        if self._failing:
            self._failing = False
            log.warning("the audit log %s is written again", self._path)

    def _outage(self, exc: Exception) -> None:
        if self._failing:
            return
        self._failing = True
        full = is_full(exc)
        log.error("the audit log %s cannot be written, calls are refused: %s", self._path, exc)
        self._alarm = self._system("alarm", "error", {"alarm": "disk full" if full else "not writable"})
        if full:
            try:
                self._file.free_reserve()
                self._file.reread_head()
                self._file.append([self._alarm])
                self._alarm = None
            except (sqlite3.Error, OSError) as again:
                log.error("nor does it take the alarm: %s", again)

    def _post(self, what: Callable[..., None], *given: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *given)
        except RuntimeError:
            log.warning("the audit log outlived its event loop")


def _pass(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _raise(waiter: asyncio.Future[None], exc: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(exc)
