"""What a link tells its owner, written down; and a way to wait for it without sleeping blindly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic

from hub.core.call import Json
from hub.downstream.link import Exchange, LinkEvents


class Heard:
    def __init__(self) -> None:
        self.notified: list[tuple[str, Json]] = []
        self.closed: list[str] = []
        self.noise: Counter[str] = Counter()
        self.notices: list[tuple[str, Json]] = []

    @property
    def events(self) -> LinkEvents:
        return LinkEvents(
            lambda method, params: self.notified.append((method, params)), self.closed.append, self._count
        )

    def _count(self, what: str) -> None:
        self.noise[what] += 1

    def notice(self, method: str, params: Json) -> None:
        self.notices.append((method, params))


def exchange(
    timeout_s: float = 5.0,
    *,
    heard: Heard | None = None,
    log_level: str | None = None,
    max_bytes: int = 1 << 20,
    hard_s: float = 30.0,
) -> Exchange:
    return Exchange(
        timeout_s=timeout_s,
        hard_deadline=monotonic() + hard_s,
        max_bytes=max_bytes,
        notice=heard.notice if heard is not None else None,
        log_level=log_level,
    )


async def until(is_so: Callable[[], bool], within_s: float = 5.0) -> None:
    """Poll until it is so; fail after the bound."""
    deadline = monotonic() + within_s
    while not is_so():
        assert monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)
