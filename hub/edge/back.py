"""The way back to one client while its call runs: progress and log messages.

Owns what the client asked to be told, order, bounds and its own progress token; must not know what carries them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from hub.core.call import EMPTY, Json
from hub.wire import jsonrpc
from hub.wire.decode import LEVEL_KEY, LOG_LEVELS, progress_token

PROGRESS: Final = "notifications/progress"
LOG: Final = "notifications/message"
_RANK: Final = {level: rank for rank, level in enumerate(LOG_LEVELS)}

Token = str | int


class _Wanted:
    """What one request's client takes: progress under its token, strictly increasing; logs from its level on."""

    __slots__ = ("_last", "_level", "_token")

    def __init__(self, token: Token | None, level: str | None) -> None:
        self._token = token
        self._level = None if level is None else _RANK.get(level)
        self._last: float | None = None

    def pick(self, method: str, params: Json) -> Json | None:
        """The params as the client is to read them, or None when it is not to read them."""
        if method == PROGRESS:
            return self._progress(params)
        if method == LOG and self._level is not None:
            return params if _RANK.get(str(params.get("level")), -1) >= self._level else None
        return None

    def _progress(self, params: Json) -> Json | None:
        value = params.get("progress")
        if self._token is None or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self._last is not None and value <= self._last:
            return None
        self._last = value
        return {**params, "progressToken": self._token}


class QueueBack:
    """A bounded `Back` with one reader. What the client does not take in time is dropped and counted."""

    __slots__ = ("_closed", "_limit", "_queue", "_wake", "_wanted", "dropped")

    def __init__(self, limit: int, *, token: Token | None = None, level: str | None = None) -> None:
        """`token`: the client's own progressToken; `level`: the least log level it takes. None: it takes none."""
        self._limit = limit
        self._wanted = _Wanted(token, level)
        self._queue: deque[tuple[str, Json]] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def notify(self, method: str, params: Json) -> None:
        """Queue one notification. Never waits; what the client did not ask for is left out."""
        if self._closed or (ready := self._wanted.pick(method, params)) is None:
            return
        if len(self._queue) >= self._limit:
            self.dropped += 1
            return
        self._queue.append((method, ready))
        self._wake.set()

    async def next(self) -> tuple[str, Json] | None:
        """The next notification as (method, params), oldest first; None once closed and drained.

        A cancelled wait loses nothing.
        """
        while not self._queue:
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def close(self) -> None:
        """The call is over: what is queued may still be read, nothing more is taken."""
        self._closed = True
        self._wake.set()


class PassBack:
    """A `Back` that hands every wanted notification on at once, as a message; what is not taken is counted."""

    __slots__ = ("_offer", "_wanted", "dropped")

    def __init__(
        self, offer: Callable[[dict[str, Any]], bool], *, token: Token | None = None, level: str | None = None
    ) -> None:
        """`offer` takes a message or says False, and never waits."""
        self._offer: Callable[[dict[str, Any]], bool] | None = offer
        self._wanted = _Wanted(token, level)
        self.dropped = 0

    def notify(self, method: str, params: Json) -> None:
        if self._offer is None or (ready := self._wanted.pick(method, params)) is None:
            return
        if not self._offer(jsonrpc.notification(method, ready)):
            self.dropped += 1

    def close(self) -> None:
        """The call is over: nothing more is passed on."""
        self._offer = None


def queue_back(params: Json, limit: int, level: str | None = None) -> QueueBack | None:
    """A queue for this request, or None when its client takes neither progress nor log messages.

    `level` is the session's (legacy); without one, the request's own `_meta` says (modern).
    """
    token, least = _asked(params, level)
    return None if token is None and least is None else QueueBack(limit, token=token, level=least)


def pass_back(params: Json, offer: Callable[[dict[str, Any]], bool], level: str | None = None) -> PassBack | None:
    """As `queue_back`, for a channel on which notifications and answers share one queue."""
    token, least = _asked(params, level)
    return None if token is None and least is None else PassBack(offer, token=token, level=least)


def _asked(params: Json, level: str | None) -> tuple[Token | None, str | None]:
    meta = params.get("_meta")
    asked = level if level is not None else (meta if isinstance(meta, Mapping) else EMPTY).get(LEVEL_KEY)
    return progress_token(params), asked if isinstance(asked, str) and asked in _RANK else None
