"""A bounded queue and the thread that sends what is in it. A collector that is slow or away costs what it misses.

The event loop puts and never waits; what finds no room, or does not arrive, is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE_S: Final = 2.0  # for what is still in the queue when the hub stops


class Shipper(Generic[T]):
    """Made and used by one event loop."""

    def __init__(
        self,
        what: str,
        send: Callable[[Sequence[T]], bool],
        release: Callable[[], None],
        *,
        limit: int,
        batch: int,
        every_s: float,
    ) -> None:
        """`send` may wait and says whether it arrived; `release` frees what it uses, and cuts a wait of it short.

        Both are called by the thread; `release` by the closer where the thread does not come to its end.
        """
        self.what = what
        self._send, self._release, self._limit, self._batch, self._every_s = send, release, limit, batch, every_s
        self._queue: deque[T] = deque()
        self._wake, self._stopping, self._abandoned = Event(), False, False
        self._no_room, self._lost, self._failing = 0, 0, False  # each has one thread that writes it
        self._thread = Thread(target=self._run, name=f"telemetry {what}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many never arrived, for want of room or of a collector."""
        return self._no_room + self._lost

    def put(self, item: T) -> None:
        """Never waits, never raises; with the queue full it is dropped and counted."""
        if self._stopping or len(self._queue) >= self._limit:
            self._no_room += 1
            return
        self._queue.append(item)
        if len(self._queue) >= self._batch:
            self._wake.set()

    async def aclose(self, within_s: float = CLOSE_S) -> None:
        """Send what is left, as far as the time allows; what is left then is dropped and counted. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, within_s)
        if self._thread.is_alive():
            self._abandoned = True
            self._release()
        if self.dropped or self._queue:
            log.warning("%d %s did not reach the collector", self.dropped + len(self._queue), self.what)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._drain()
        self._drain()
        if not self._abandoned:
            self._release()

    def _drain(self) -> None:
        while self._queue and not self._abandoned:
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            try:
                arrived = self._send(batch)
            except Exception:  # the thread's outermost loop: a fault in one batch ends that batch
                log.exception("%s could not be sent", self.what)
                arrived = False
            if not arrived:
                self._lost += len(batch)
            self._note(arrived)

    def _note(self, arrived: bool) -> None:
        """Said once when it begins and once when it is over, however long it lasts."""
        if arrived is self._failing:
            self._failing = not arrived
            if arrived:
                log.info("the collector takes %s again; %d did not reach it", self.what, self.dropped)
            else:
                log.warning("the collector does not take %s; they are dropped and counted until it does", self.what)
