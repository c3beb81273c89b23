"""The links that accounts have of their own: one to each server that an account is connected to, while it is used.

Opened at the first use, once for all who wait; closed when idle, or when many others are wanted. A link presents the
credential of the account it was opened for, and is given to no other. Nothing here sends a call or repeats one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, NeedsLogin, Unreachable
from hub.downstream.counted import Counted
from hub.downstream.credential import Credential, Credentials
from hub.downstream.link import Link, LinkEvents, ServerSpec, Transport, same_connection

log = logging.getLogger(__name__)

MOST: Final = 512
IDLE_S: Final = 900.0
DRAIN_S: Final = 30.0  # for the calls on a link that is given up
CLOSE_S: Final = 10.0
END_S: Final = 0.6 * CLOSE_S  # of one link
ATTEMPTS: Final = 3  # to give one waiter a link that is live when he gets it
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0  # after an opening that failed; doubled by each that follows
REMEMBERED: Final = 4096  # failures; the oldest are forgotten first

PersonalOpener = Callable[[ServerSpec, LinkEvents, Credential], Awaitable[Link]]
Key = tuple[str, str]  # server and account


@dataclass(frozen=True, slots=True)
class PersonalEvents:
    """What these links tell of their own accord. Callbacks never wait."""

    up: Callable[[str, str, Link], None]  # (server, account, link): it is ready, also after a reconnect
    notified: Callable[[str, str, str, Json], None]  # (server, account, method, params): what belongs to no request


@dataclass(slots=True, eq=False)
class _Own:
    """One link from the beginning of its opening to the end of its use."""

    server: str
    account: str
    spec: ServerSpec
    task: asyncio.Task[Link] | None = None  # opens it
    link: Counted | None = None
    used_at: float = 0.0
    ended: str | None = None  # it died, or is given up: nobody is given it, and it is not heard any more

    @property
    def key(self) -> Key:
        return self.server, self.account


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str
    pause_s: float
    until: float


class PersonalLinks:
    def __init__(
        self,
        openers: Mapping[Transport, PersonalOpener],
        credentials: Credentials,
        events: PersonalEvents,
        specs: Callable[[str], ServerSpec | None],
        *,
        most: int = MOST,
        idle_s: float = IDLE_S,
        is_heard: Callable[[str, str], bool] = lambda server, account: False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`is_heard(server, account)`: whether somebody waits for what that link tells; it is then not idle."""
        self._openers, self._credentials, self._events, self._specs = openers, credentials, events, specs
        self._most, self._idle_s, self._clock = most, idle_s, clock
        self._owned: dict[Key, _Own] = {}  # opening or live
        self._failed: dict[Key, _Failure] = {}
        self._leaving: dict[Counted, Key] = {}  # given up, and not closed yet
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_heard = is_heard
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def link(self, server: str, account: str) -> Link | None:
        """This account's live link, if there is one now."""
        own = self._owned.get((server, account))
        if own is None or own.link is None or not own.link.alive:
            return None
        own.used_at = self._clock()
        return own.link

    async def opened(self, server: str, account: str, timeout_s: float) -> Link:
        """As `link`, opened where there is none; whoever asks meanwhile waits for the same opening.

        A cancelled wait, or one that ends after `timeout_s`, ends no opening. Raises `NeedsLogin`, or `Unreachable`
        for every other reason: nothing was sent of what the link is wanted for.
        """
        until = monotonic() + timeout_s
        for _ in range(ATTEMPTS):
            if (link := self.link(server, account)) is not None:
                return link
            task = self._opening(server, account)
            await asyncio.wait((task,), timeout=max(0.0, until - monotonic()))
            if not task.done():
                raise Unreachable(server, "it is still connecting; try again in a few seconds")
            if not task.cancelled() and (failed := task.exception()) is not None:
                raise failed
        if (link := self.link(server, account)) is not None:
            return link
        raise Unreachable(server, "its connection was changed or lost as soon as it was there; call again")

    def drop(self, server: str, account: str, now: bool = False) -> None:
        """Give the link up: nobody is given it any more. Never waits.

        Calls in flight have their time to finish on it; `now`: they end at once, because what it speaks with is no
        longer the account's.
        """
        key = server, account
        self._failed.pop(key, None)
        own = self._owned.get(key)
        if own is not None:
            self._give_up(own, "it was given up", 0.0 if now else DRAIN_S)
        if now:  # and those that were given up before it
            for link in [link for link, whose in self._leaving.items() if whose == key]:
                self._run(link.end(END_S), "closing a link of an account")

    def apply(self, specs: Sequence[ServerSpec]) -> None:
        """Have links to these servers only, reached as they are now. Never waits."""
        by_id = {spec.id: spec for spec in specs}
        for own in list(self._owned.values()):
            spec = by_id.get(own.server)
            if spec is None or not spec.enabled or not same_connection(own.spec, spec):
                self._give_up(own, "its server was changed", DRAIN_S)
            else:
                own.spec = spec
        self._failed.clear()  # whatever was wrong may be what was changed

    async def aclose(self) -> None:
        """Close every link. Bounded; idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for own in list(self._owned.values()):
            self._give_up(own, "the hub stops", 0.0)
        for task in self._tasks:
            task.cancel()
        for link in self._leaving:
            self._run(link.end(END_S), "closing a link of an account")
        until = monotonic() + CLOSE_S
        while self._tasks and (left_s := until - monotonic()) > 0:
            await asyncio.wait(tuple(self._tasks), timeout=left_s)
        if self._tasks:
            log.error("links of accounts did not close within %g s; they are abandoned", CLOSE_S)

    def _opening(self, server: str, account: str) -> asyncio.Task[Link]:
        """The opening under way, or a new one. Raises DownstreamError when none may be started."""
        own = self._owned.get((server, account))
        if own is not None and own.link is not None:  # it died, and has not said so yet
            self._give_up(own, "it died", 0.0)
            own = None
        task = (own or self._begin(server, account)).task
        assert task is not None
        return task

    def _begin(self, server: str, account: str) -> _Own:
        key, now = (server, account), self._clock()
        spec = self._specs(server)
        if spec is None or not spec.enabled or self._closed:
            raise Unreachable(server, "it is not in use any more")
        failed = self._failed.get(key)
        if failed is not None and failed.until > now:
            raise Unreachable(server, f"{failed.text} (next attempt in {failed.until - now:.0f} s)")
        credential = self._credentials.own(server, account)
        if credential is None:
            raise NeedsLogin(server, "no account is connected there")
        opener = self._openers.get(spec.transport)
        if opener is None:
            raise Unreachable(server, f"accounts have no links over {spec.transport}")
        if len(self._owned) >= self._most:
            self._make_room(server)
        own = self._owned[key] = _Own(server, account, spec)
        own.task = self._run(self._open(own, opener, credential), f"link to {server} of an account")
        return own

    def _make_room(self, server: str) -> None:
        """End the link that was idle for the longest. Raises Unreachable."""
        idle = [own for own in self._owned.values() if own.link is not None and not own.link.busy]
        if not idle:
            text = f"all {self._most} links that accounts may have are in use; try again in a few seconds"
            raise Unreachable(server, text)
        self._give_up(min(idle, key=lambda own: own.used_at), "its place is wanted", 0.0)

    async def _open(self, own: _Own, opener: PersonalOpener, credential: Credential) -> Link:
        spec = own.spec
        limit_s = spec.timeouts.connect_s + spec.timeouts.initialize_s
        try:
            async with asyncio.timeout(limit_s):
                found = await opener(spec, self._events_of(own), credential)
        except (DownstreamError, TimeoutError) as exc:
            text = exc.text if isinstance(exc, DownstreamError) else f"it did not come up within {limit_s:g} s"
            raise self._failed_to_open(own, text, exc) from exc
        except Exception as exc:  # the outermost frame of this task: a fault of ours costs one account its link
            log.exception("opening a link to %s failed", spec.id)
            raise self._failed_to_open(own, f"the hub failed ({type(exc).__name__})", exc) from exc
        link = Counted(spec.id, found)
        if own.ended is not None or not link.alive:  # also when an opener did not hear that it was called off
            self._put_away(own.key, link, 0.0)
            raise self._failed_to_open(own, f"the connection was lost: {own.ended or 'it ended'}", None)
        self._failed.pop(own.key, None)
        own.link, own.used_at = link, self._clock()
        self._watch_idle()
        self._events.up(own.server, own.account, link)
        return link

    def _events_of(self, own: _Own) -> LinkEvents:
        def closed(reason: str) -> None:
            if own.ended is None and own.link is not None:
                self._give_up(own, reason, 0.0)
            own.ended = own.ended or reason

        def notified(method: str, params: Json) -> None:
            if own.ended is None:
                self._events.notified(own.server, own.account, method, params)

        return LinkEvents(notified, closed)

    def _failed_to_open(self, own: _Own, text: str, exc: Exception | None) -> BaseException:
        """What those who wait are told; noted, so that not every call waits for the same."""
        if self._owned.get(own.key) is not own:  # it was given up meanwhile: they wait for the next one
            return asyncio.CancelledError()
        del self._owned[own.key]
        if isinstance(exc, NeedsLogin):  # not noted: the next time the credential says so by itself
            return NeedsLogin(own.server, text)
        before, now = self._failed.pop(own.key, None), self._clock()
        if before is None or now - before.until > LAST_PAUSE_S:
            pause_s = FIRST_PAUSE_S
        else:
            pause_s = min(LAST_PAUSE_S, 2.0 * before.pause_s)
        while len(self._failed) >= REMEMBERED:
            del self._failed[next(iter(self._failed))]
        self._failed[own.key] = _Failure(text, pause_s, now + pause_s)
        return Unreachable(own.server, text)

    def _forget(self, own: _Own) -> None:
        if self._owned.get(own.key) is own:
            del self._owned[own.key]

    def _give_up(self, own: _Own, reason: str, drain_s: float) -> None:
        self._forget(own)
        own.ended = own.ended or reason
        if own.link is not None:
            self._put_away(own.key, own.link, drain_s)
        elif own.task is not None:
            own.task.cancel()

    def _put_away(self, key: Key, link: Counted, drain_s: float) -> None:
        self._leaving[link] = key
        self._run(self._away(link, drain_s), "closing a link of an account")

    async def _away(self, link: Counted, drain_s: float) -> None:
        if drain_s:
            await link.drained(drain_s)
        try:
            await link.end(END_S)
        finally:
            self._leaving.pop(link, None)

    def _watch_idle(self) -> None:
        if self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._idle_s / 4, self._end_idle)

    def _end_idle(self) -> None:
        self._timer, now = None, self._clock()
        for own in list(self._owned.values()):
            if own.link is not None and (own.link.busy or self._is_heard(own.server, own.account)):
                own.used_at = now
            elif own.link is not None and now - own.used_at >= self._idle_s:
                self._give_up(own, "it was idle", 0.0)
        if self._owned:
            self._watch_idle()

    def _run(self, doing: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(doing, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has it; nobody may have
