"""Somebody who uses healthy servers while another one is being hostile: their answers, their waits, the hub's memory.

A context manager around the fault. It asks one call after the other on a thread of its own, and samples the resident
memory of the hub's process between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAUSE_S: Final = 0.01  # between two calls: a bystander, not a load
JOIN_S: Final = 60.0
PAGE_BYTES: Final = 4096


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


class Bystander:
    def __init__(self, pid: int, asks: tuple[Callable[[], bool], ...]) -> None:
        """`asks` make one call each and say whether the answer was right; they may raise."""
        self._pid, self._asks = pid, asks
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bystander")
        self.waits_s: list[float] = []
        self.wrong: list[str] = []
        self.before_mb = self.peak_mb = resident_mb(pid)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(JOIN_S)

    @property
    def worst_s(self) -> float:
        return max(self.waits_s)

    @property
    def typical_s(self) -> float:
        return sorted(self.waits_s)[len(self.waits_s) // 2]

    @property
    def grown_mb(self) -> float:
        return self.peak_mb - self.before_mb

    def _work(self) -> None:
        while True:
            for ask in self._asks:
                began = time.monotonic()
                try:
                    if not ask():
                        self.wrong.append("a wrong answer")
                except Exception as exc:  # whatever it was, the bystander was not served
                    self.wrong.append(f"{type(exc).__name__}: {exc}")
                self.waits_s.append(time.monotonic() - began)
                self.peak_mb = max(self.peak_mb, resident_mb(self._pid))
            if self._over.wait(PAUSE_S):
                return
