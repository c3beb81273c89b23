"""The small parts under the legacy edges: what is in flight, what waits to be written, who is still good."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from hub.core.call import Principal
from hub.edge.accept import EVENTS, JSON, accepts
from hub.edge.announcements import Announcements
from hub.edge.inflight import InFlight
from hub.edge.legacy_session import LegacySession
from hub.edge.outbox import Outbox
from hub.edge.sessions import Held, Sessions
from hub.edge.standing import standing
from hub.wire.pages import Pages
from tests.edge.asgi import make_request
from tests.edge.fakes import CLIENT, CLIENT_TOKEN, OTHER, OTHER_TOKEN, FakeAuthenticator, fake_ports

# ---- in flight


async def test_an_id_in_flight_cannot_be_used_again_until_it_is_answered() -> None:
    flight = InFlight()
    flight.begin(1)
    assert "another id" in (flight.fault(1) or "")
    assert flight.fault("1") is None
    flight.end(1)
    assert flight.fault(1) is None


async def test_beyond_the_limit_the_client_is_told_to_wait() -> None:
    flight = InFlight(2)
    flight.begin(1)
    flight.begin(2)
    assert "wait" in (flight.fault(3) or "")


@pytest.mark.parametrize("foreign", [None, True, 1.5, [1], {}, "1", 2])
async def test_a_cancellation_reaches_only_its_own_request(foreign: object) -> None:
    flight = InFlight()
    scope = flight.begin(1)
    flight.cancel(foreign)
    assert not scope.cancel_called
    flight.cancel(1)
    assert scope.cancel_called


async def test_waiting_for_the_last_answer_ends_with_it() -> None:
    flight = InFlight()
    flight.begin(1)
    waiting = asyncio.create_task(flight.settled(5))
    await asyncio.sleep(0)
    flight.end(1)
    assert await asyncio.wait_for(waiting, 5) is True


async def test_waiting_for_the_last_answer_is_bounded() -> None:
    flight = InFlight()
    flight.begin(1)
    assert await flight.settled(0.01) is False


async def test_a_cancelled_request_ends_quietly_puts_things_in_order_and_its_task_goes_on() -> None:
    flight = InFlight().begin(1)
    waiting, seen = asyncio.Event(), list[str]()

    async def work() -> None:
        with flight:
            try:
                waiting.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                seen.append("in order")
        await asyncio.sleep(0)
        seen.append("went on")

    task = asyncio.create_task(work())
    await waiting.wait()
    flight.cancel()
    flight.cancel()
    await asyncio.wait_for(task, 5)
    assert seen == ["in order", "went on"]
    assert task.cancelling() == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_request_cancelled_before_it_begins_is_ended_at_its_first_wait(waits: bool) -> None:
    flight = InFlight().begin(1)
    flight.cancel()
    seen = list[str]()

    async def work() -> None:
        with flight:
            seen.append("begun")
            if waits:
                await asyncio.Event().wait()
                seen.append("not reached")
        await asyncio.sleep(0)
        seen.append("went on")

    task = asyncio.create_task(work())
    await asyncio.wait_for(task, 5)
    assert seen == ["begun", "went on"]
    assert task.cancelling() == 0


async def test_who_ends_the_task_of_a_cancelled_request_ends_it() -> None:
    flight, waiting = InFlight().begin(1), asyncio.Event()

    async def work() -> None:
        with flight:
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await waiting.wait()
    flight.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_an_error_of_a_cancelled_request_is_not_swallowed() -> None:
    flight, waiting = InFlight().begin(1), asyncio.Event()

    async def work() -> None:
        with flight:
            waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as exc:
                raise OSError("broken on the way out") from exc

    task = asyncio.create_task(work())
    await waiting.wait()
    flight.cancel()
    with pytest.raises(OSError, match="on the way out"):
        await asyncio.wait_for(task, 5)
    assert task.cancelling() == 0


# ---- outbox


async def test_messages_come_out_in_order() -> None:
    outbox = Outbox(4)
    await outbox.put(b"1")
    assert outbox.offer(b"2")
    outbox.finish()
    assert [await outbox.take(), await outbox.take(), await outbox.take()] == [b"1", b"2", None]


async def test_a_notification_that_does_not_fit_is_dropped() -> None:
    outbox = Outbox(1)
    assert outbox.offer(b"1")
    assert not outbox.offer(b"2")


async def test_bytes_are_bounded_too() -> None:
    outbox = Outbox(100, size_bytes=10)
    assert outbox.offer(b"x" * 11)
    assert not outbox.offer(b"x")


async def test_an_answer_waits_for_room() -> None:
    outbox = Outbox(1)
    await outbox.put(b"1")
    waiting = asyncio.create_task(outbox.put(b"2"))
    await asyncio.sleep(0)
    assert await outbox.take() == b"1"
    await asyncio.wait_for(waiting, 5)
    assert await outbox.take() == b"2"


async def test_a_client_that_never_reads_is_cut() -> None:
    outbox = Outbox(1, stall_s=0.01)
    await outbox.put(b"1")
    await outbox.put(b"2")
    assert await outbox.take() is None
    assert not outbox.offer(b"3")


async def test_after_the_end_nothing_is_taken_in() -> None:
    outbox = Outbox(1)
    outbox.finish()
    await outbox.put(b"1")
    assert await outbox.take() is None


# ---- announcements


async def test_the_same_news_waits_only_once() -> None:
    news = Announcements()
    for _ in range(1000):
        news.add("notifications/tools/list_changed", {})
        news.add("notifications/resources/updated", {"uri": "a"})
        news.add("notifications/resources/updated", {"uri": "b"})
    found = [await news.next() for _ in range(3)]
    assert [message["params"].get("uri") for message in found if message] == [None, "a", "b"]
    news.close()
    assert await news.next() is None


async def test_news_wakes_its_reader() -> None:
    news = Announcements()
    waiting = asyncio.create_task(news.next())
    await asyncio.sleep(0)
    news.add("notifications/tools/list_changed", {})
    assert await asyncio.wait_for(waiting, 5) is not None
    waiting = asyncio.create_task(news.next())
    await asyncio.sleep(0)
    news.close()
    assert await asyncio.wait_for(waiting, 5) is None


# ---- accept


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        (None, {JSON, EVENTS}),
        ("*/*", {JSON, EVENTS}),
        ("application/json, text/event-stream", {JSON, EVENTS}),
        ("Application/JSON;q=0.5 , text/*", {JSON, EVENTS}),
        ("application/*", {JSON}),
        ("text/event-stream", {EVENTS}),
        ("text/html", set()),
        ("", set()),
    ],
)
def test_accept_is_read_with_its_wildcards(accept: str | None, taken: set[str]) -> None:
    assert accepts({} if accept is None else {"accept": accept}) == taken


# ---- standing


def test_a_stream_stands_until_its_token_is_revoked_or_stands_for_another() -> None:
    authenticator = FakeAuthenticator()
    stands = standing(authenticator, make_request())
    assert stands()
    authenticator.principals[CLIENT_TOKEN] = OTHER
    assert not stands()
    del authenticator.principals[CLIENT_TOKEN]
    assert not stands()


@pytest.mark.parametrize("header", ["", "Basic x", f"Basic {CLIENT_TOKEN}", "Bearer", f"Bearer {OTHER_TOKEN}"])
def test_without_its_own_bearer_token_no_stream_stands(header: str) -> None:
    assert not standing(FakeAuthenticator(), make_request(headers={"authorization": header}))()


# ---- sessions


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _sessions(cap: int = 3, idle_s: float = 10.0) -> tuple[Sessions, _Clock, list[int]]:
    clock, seen = _Clock(), list[int]()
    return Sessions(cap, idle_s, seen.append, clock), clock, seen


def _open(sessions: Sessions, who: Principal = CLIENT) -> Held | None:
    request = make_request(who=who)
    ports = fake_ports()
    session = LegacySession(ports, request.who, request.endpoint, "http", {"protocolVersion": "x"}, Pages(b"k" * 32))
    return sessions.open(request, session)


async def test_session_ids_are_long_and_never_the_same() -> None:
    sessions, _, _ = _sessions(cap=100)
    ids = {held.id for held in [_open(sessions) for _ in range(50)] if held is not None}
    assert len(ids) == 50
    assert min(map(len, ids)) >= 43  # 256 bits


async def test_an_idle_session_expires_and_one_in_use_does_not() -> None:
    sessions, clock, seen = _sessions()
    idle, busy, listening = _open(sessions), _open(sessions), _open(sessions)
    assert idle is not None
    assert busy is not None
    assert listening is not None
    busy.in_flight.begin(1)
    listening.listening = True
    clock.now = 11.0
    assert sessions.find(make_request(), idle.id) is None
    assert sessions.find(make_request(), busy.id) is busy
    assert sessions.find(make_request(), listening.id) is listening
    assert sum(seen) == 2


async def test_expired_sessions_are_swept_when_another_opens() -> None:
    sessions, clock, _ = _sessions()
    first = _open(sessions)
    second = _open(sessions)
    assert first is not None
    assert second is not None
    first.listening = True
    clock.now = 11.0
    _open(sessions)
    assert len(sessions) == 2  # the one that listens and the new one


async def test_the_last_sessions_expire_though_nobody_ever_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.edge.sessions.SWEEP_S", 0.01)
    sessions, clock, seen = _sessions(idle_s=0.02)
    idle, listening = _open(sessions), _open(sessions)
    assert idle is not None
    assert listening is not None
    listening.listening = True
    clock.now = 1.0
    with anyio.fail_after(5):
        while len(sessions) > 1:
            await anyio.sleep(0.005)
        assert sessions.find(make_request(), listening.id) is listening
        listening.listening = False
        clock.now = 2.0
        while len(sessions):
            await anyio.sleep(0.005)
    assert sum(seen) == 0
    sessions.end_all()


async def test_at_the_cap_the_oldest_idle_session_of_who_holds_most_goes() -> None:
    sessions, _, _ = _sessions(cap=3)
    other = _open(sessions, OTHER)
    mine = [_open(sessions), _open(sessions)]
    newest = _open(sessions)
    assert other is not None
    assert newest is not None
    assert mine[0] is not None
    assert sessions.find(make_request(), mine[0].id) is None
    assert sessions.find(make_request(who=OTHER), other.id) is other
    assert len(sessions) == 3


async def test_at_the_cap_the_session_that_was_used_last_stays() -> None:
    sessions, _, _ = _sessions(cap=2)
    older, newer = _open(sessions), _open(sessions)
    assert older is not None
    assert newer is not None
    assert sessions.find(make_request(), older.id) is older
    _open(sessions)
    assert sessions.find(make_request(), newer.id) is None
    assert sessions.find(make_request(), older.id) is older


async def test_at_the_cap_with_all_in_use_there_is_no_new_session() -> None:
    sessions, _, _ = _sessions(cap=1)
    held = _open(sessions)
    assert held is not None
    with anyio.CancelScope():
        held.in_flight.begin(1)
    assert _open(sessions) is None


async def test_another_caller_does_not_find_a_session() -> None:
    sessions, _, _ = _sessions()
    held = _open(sessions)
    assert held is not None
    assert sessions.find(make_request(who=OTHER), held.id) is None
    assert sessions.find(make_request(), held.id) is held


async def test_the_end_of_a_session_cancels_what_is_in_flight_and_counts_once() -> None:
    sessions, _, seen = _sessions()
    held = _open(sessions)
    assert held is not None
    scope = held.in_flight.begin(1)
    sessions.end(held)
    sessions.end(held)
    sessions.touch(held)
    assert scope.cancel_called
    assert sum(seen) == 0
    assert len(sessions) == 0
