"""A standing stream of messages that no request waits for, opened again whenever it ends.

It owns when to open it again and when to give up. Where the stream is opened, and what a message on it means, is told
by the link that wants it; with which token, by the credential.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Literal

from hub.core.errors import DownstreamError, NeedsLogin, Unreachable
from hub.downstream.h1 import Connection
from hub.downstream.http_bearer import TOKEN_S, Bearer
from hub.downstream.http_frames import Frames
from hub.downstream.http_verdict import CHALLENGE, wants_login
from hub.downstream.sse_events import TooLong

log = logging.getLogger(__name__)

OPENING_S: Final = 1.0  # a link waits so long for its stream before it is given out: no change is missed in between
FIRST_S: Final = 1.0
LAST_S: Final = 60.0
SETTLED_S: Final = 30.0  # a stream that held this long starts the back-off anew

Ending = Literal["ended", "refused", "forbidden", "gone"]


@dataclass(frozen=True, slots=True)
class Watcher:
    """What a link wants of its stream. None of these waits."""

    message: Callable[[Any], None]
    opened: Callable[[], None]  # again after every reconnect
    noise: Callable[[str], None]


class Stream:
    """The receiver of one stream. `done` yields how it ended."""

    def __init__(self, watcher: Watcher, event_cap: int, token: str | None = None) -> None:
        """`token`: to open it with."""
        self.token = token
        self.refusal: tuple[int, str | None] | None = None  # of the token: the status, and the challenge
        self._watcher, self._cap = watcher, event_cap
        self._frames: Frames | None = None
        self.connection: Connection | None = None
        self.done: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def last_id(self) -> str:
        return self._frames.last_id if self._frames is not None else ""

    @property
    def retry_ms(self) -> int | None:
        return self._frames.retry_ms if self._frames is not None else None

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        if status == 200 and headers.get("content-type", "").lower().startswith("text/event-stream"):
            self._frames = Frames(self._cap, None, self._watcher.noise)
            self._watcher.opened()
        elif status == 404:
            self._end("gone")
        elif status in (401, 403):
            if wants_login(status, headers):
                self.refusal = status, headers.get(CHALLENGE)
            self._end("forbidden")
        else:
            self._end("ended" if status >= 500 else "refused")

    def on_body(self, data: bytes) -> None:
        if self._frames is None:
            return
        try:
            frames = self._frames.feed(data, self.connection)
        except TooLong:
            self._watcher.noise("oversize")
            self._end("ended")
            return
        for frame in frames:
            self._watcher.message(frame.message)

    def on_end(self) -> None:
        self.connection = None
        self._end("ended")

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self.on_end()

    def _end(self, ending: Ending) -> None:
        if not self.done.done():
            self.done.set_result(ending)
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class StandingStream:
    """Keeps one stream open until it is refused or closed."""

    def __init__(
        self,
        watcher: Watcher,
        event_cap: int,
        connect: Callable[[Stream, str], Awaitable[Connection]],
        ended: Callable[[Ending, str], None],
        first_s: float = FIRST_S,
        bearer: Bearer | None = None,
    ) -> None:
        """`connect(stream, last_event_id)` sends the request, with the stream's token. `ended`: no further attempt
        will be made, and why.

        `first_s`: before it is opened again for the first time; doubled each time it does not hold. `bearer`: whose
        tokens the streams are opened with. One that is refused is followed by another once, and then by no stream.
        """
        self._bearer = bearer
        self._watcher, self._cap, self._connect, self._ended = watcher, event_cap, connect, ended
        self._first_s = first_s
        self._settled = asyncio.Event()  # the first attempt has opened, or has failed
        self._task: asyncio.Task[None] | None = None

    async def start(self, within_s: float) -> None:
        """Open it; returns when the first attempt has an outcome, or after that time."""
        self._task = asyncio.get_running_loop().create_task(self._keep())
        try:
            async with asyncio.timeout(within_s):
                await self._settled.wait()
        except TimeoutError:
            return

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)

    async def _keep(self) -> None:
        try:
            await self._reopen()
        except Exception:  # the outermost loop of this task: the link must learn that nobody listens any more
            log.exception("a standing stream broke")
            self._ended("ended", "the hub's reader of its stream broke")
        finally:
            self._settled.set()

    async def _reopen(self) -> None:
        delay, last_id = self._first_s, ""
        while True:
            began = monotonic()
            try:
                stream, ending = await self._one(last_id)
            except Unreachable as exc:
                self._ended("ended", exc.text)
                return
            self._settled.set()
            last_id = stream.last_id or last_id
            if ending != "ended":
                self._ended(ending, "")
                return
            if monotonic() - began > SETTLED_S:
                delay = self._first_s
            wanted = stream.retry_ms / 1000 if stream.retry_ms is not None else 0.0
            await asyncio.sleep(max(wanted, delay * (0.5 + random.random() / 2)))
            delay = min(2 * delay, LAST_S)

    async def _one(self, last_id: str) -> tuple[Stream, Ending]:
        bearer = self._bearer
        if bearer is None:
            stream = self._stream(None)
            return stream, await self._carried(stream, last_id)
        token, bar = await _asked(bearer.token(monotonic() + TOKEN_S))
        for _ in range(2):
            stream = self._stream(token)
            ending = bar or await self._carried(stream, last_id)
            if stream.refusal is None:
                break
            token, bar = await _asked(bearer.another(token, *stream.refusal, monotonic() + TOKEN_S))
        return stream, ending

    async def _carried(self, stream: Stream, last_id: str) -> Ending:
        stream.connection = await self._connect(stream, last_id)
        try:
            return await stream.done
        finally:
            if stream.connection is not None:
                stream.connection.close()

    def _stream(self, token: str | None) -> Stream:
        def opened() -> None:
            self._settled.set()
            if self._bearer is not None:
                self._bearer.served(token)
            self._watcher.opened()

        return Stream(Watcher(self._watcher.message, opened, self._watcher.noise), self._cap, token)


async def _asked(token: Awaitable[str | None]) -> tuple[str | None, Ending | None]:
    """A token, or how the stream ends for want of one."""
    try:
        return await token, None
    except NeedsLogin:
        return None, "forbidden"
    except Unreachable:
        return None, "ended"  # that is the issuer, and not the server: the stream is tried again later
