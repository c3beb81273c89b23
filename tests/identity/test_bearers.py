from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import pytest

from hub.core.call import Principal
from hub.identity import bearers
from hub.identity.bearers import Bearers
from hub.identity.issuers import Unanswered
from hub.identity.keys import token_hash
from hub.identity.verified import Verified
from tests.identity.idp import NOW, Clock

TOKEN = "t" * 40
WITHIN_S = 5.0


def verified(user: str = "u1", *, expires_at: float = NOW + 3600, roles: str = "member", **more: Any) -> Verified:
    """A new principal each time, equal to the one before."""
    who = Principal("local", f"user:{user}", "c", frozenset({"mcp"}), user=user, roles=frozenset({roles}))
    return Verified(who, expires_at, "https://hub.example", user, **more)


class Asking:
    """A verifier that says what it is told to say; while `held` is set to an event, nothing until that is."""

    def __init__(self, says: Any = None) -> None:
        self.says: Any = says or verified
        self.seen: list[str] = []
        self.held: asyncio.Event | None = None
        self.most = self.now = 0

    async def verify(self, token: str) -> Verified | None:
        self.seen.append(token)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            said: Verified | None = self.says()
            if self.held is not None:
                await self.held.wait()
            return said
        finally:
            self.now -= 1


def cache(verifier: Any, clock: Clock, **more: Any) -> Bearers:
    return Bearers([(lambda token: True, verifier)], clock, **more)


def known(cached: Bearers, token: str = TOKEN) -> Principal | None:
    return cached.principal(token_hash(token), token)


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not claim():
            await asyncio.sleep(0)


async def once(coming: Awaitable[Any]) -> Any:
    async with asyncio.timeout(WITHIN_S):
        return await coming


async def test_a_token_is_unknown_until_it_is_admitted_and_the_same_principal_from_then_on() -> None:
    asking = Asking()
    cached = cache(asking, Clock())
    assert known(cached) is None
    who = await once(cached.admit(TOKEN))
    assert who is not None
    assert who.name == "user:u1"
    assert known(cached) is who
    assert await once(cached.admit(TOKEN)) is who
    assert len(asking.seen) == 1


async def test_a_busy_caller_is_answered_while_its_token_is_verified_again() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    who = await once(cached.admit(TOKEN))
    asking.held = asyncio.Event()
    clock.now += 29.9
    assert known(cached) is who
    assert cached._behind == {}
    clock.now += 0.1
    assert [known(cached) for _ in range(50)] == [who] * 50
    await until(lambda: len(asking.seen) == 2)
    clock.now += 29
    assert known(cached) is who  # in its minute still, and one look behind it is under way already
    asking.held.set()
    await until(lambda: not cached._behind)
    clock.now += 29
    assert known(cached) is who  # the very same: nothing about the caller changed
    await until(lambda: not cached._behind)


async def test_a_token_that_nobody_verified_for_a_minute_is_unknown() -> None:
    clock = Clock()
    cached = cache(Asking(), clock)
    who = await once(cached.admit(TOKEN))
    clock.now += 60
    assert known(cached) is None
    assert await once(cached.admit(TOKEN)) is who


async def test_a_token_is_good_no_longer_than_it_says() -> None:
    clock, asking = Clock(), Asking(lambda: verified(expires_at=NOW + 20))
    cached = cache(asking, clock)
    assert await once(cached.admit(TOKEN)) is not None
    clock.now += 19.9
    assert known(cached) is not None
    await until(lambda: not cached._behind)
    clock.now = NOW + 20
    assert known(cached) is None
    assert await once(cached.admit(TOKEN)) is None


@pytest.mark.parametrize("expires_at", [NOW, NOW - 1, float("nan"), float("-inf"), "tomorrow", None])
async def test_a_token_without_a_time_to_come_is_refused(expires_at: Any) -> None:
    cached = cache(Asking(lambda: verified(expires_at=expires_at)), Clock())
    assert await once(cached.admit(TOKEN)) is None
    assert known(cached) is None


async def test_a_clock_that_is_put_back_makes_no_token_last_longer() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    await once(cached.admit(TOKEN))
    clock.now -= 3600
    assert known(cached) is None
    asking.says = lambda: None
    assert await once(cached.admit(TOKEN)) is None


async def test_who_changed_is_another_principal() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    before = await once(cached.admit(TOKEN))
    asking.says = lambda: verified(roles="admin")
    clock.now += 30
    assert known(cached) is before
    await until(lambda: not cached._behind)
    after = known(cached)
    assert after is not before
    assert after is not None
    assert after.roles == {"admin"}


async def test_a_token_that_is_not_good_any_more_goes_before_its_minute_is_over() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    await once(cached.admit(TOKEN))
    asking.says = lambda: None
    clock.now += 30
    assert known(cached) is not None
    await until(lambda: not cached._behind)
    assert known(cached) is None


async def test_a_verifier_that_is_away_costs_a_known_caller_nothing_for_its_minute_and_then_all() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    who = await once(cached.admit(TOKEN))
    asking.says = failing(Unanswered("the issuer corp was not reached"))
    for _ in range(29):
        clock.now += 2
        assert known(cached) is who
        await until(lambda: not cached._behind)
    assert len(asking.seen) <= 1 + 1 + 30 / bearers.AGAIN_S
    clock.now += 2
    assert known(cached) is None
    assert await once(cached.admit(TOKEN)) is None


async def test_callers_who_come_together_cause_one_verification() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())
    callers = [asyncio.create_task(cached.admit(TOKEN)) for _ in range(50)]
    await until(lambda: len(asking.seen) == 1)
    callers[0].cancel()  # who came first goes away: the others still get their answer
    await until(callers[0].done)
    asking.held.set()
    found = await once(asyncio.gather(*callers[1:]))
    assert len({id(who) for who in found}) == 1
    assert found[0] is not None
    assert len(asking.seen) == 1


async def test_no_more_than_so_many_tokens_are_verified_at_once() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())
    callers = [asyncio.create_task(cached.admit(f"{n:040}")) for n in range(bearers.AT_ONCE)]
    await until(lambda: asking.now == bearers.AT_ONCE)
    assert await once(cached.admit(TOKEN)) is None  # at once, while all the others wait
    joined = asyncio.create_task(cached.admit(f"{0:040}"))
    asking.held.set()
    assert None not in await once(asyncio.gather(*callers, joined))
    assert asking.most == bearers.AT_ONCE
    assert await once(cached.admit(TOKEN)) is not None  # it was not its fault, and is not remembered against it


async def test_a_token_that_was_refused_is_not_verified_again_for_a_while() -> None:
    clock, asking = Clock(), Asking(lambda: None)
    cached = cache(asking, clock)
    assert await once(cached.admit(TOKEN)) is None
    clock.now += 4.9
    assert await once(cached.admit(TOKEN)) is None
    assert len(asking.seen) == 1
    asking.says = verified
    clock.now += 0.1
    assert await once(cached.admit(TOKEN)) is not None


async def test_what_is_remembered_is_bounded_however_many_tokens_come() -> None:
    clock, asking = Clock(), Asking(lambda: None)
    cached = cache(asking, clock, most=10)
    for n in range(bearers.REFUSED + 100):
        await cached.admit(f"{n:040}")
    assert len(cached._refused) == bearers.REFUSED
    asking.says = verified
    clock.now += 10
    for n in range(30):
        await cached.admit(f"{n:040}")
    assert len(cached._known) == 10
    assert known(cached, f"{19:040}") is None
    assert known(cached, f"{20:040}") is not None


@pytest.mark.parametrize("token", ["", "x" * 1_048_576, "x" * (bearers.MAX_TOKEN + 1), "é" * 40, "\ud800" * 40])
async def test_a_token_that_cannot_be_one_is_refused_before_anybody_looks_at_it(token: str) -> None:
    def looks(token: str) -> bool:
        raise AssertionError("it was looked at")

    cached = Bearers([(looks, Asking())], Clock())
    started = perf_counter()
    assert await once(cached.admit(token)) is None
    assert perf_counter() - started < 1
    assert (cached._refused, cached._waited) == ({}, {})


async def test_a_token_goes_to_the_one_verifier_that_claims_it() -> None:
    first, second, third = Asking(lambda: None), Asking(), Asking()
    cached = Bearers(
        [(lambda token: token < "m", first), (lambda token: token > "m", second), (lambda token: True, third)], Clock()
    )
    assert await once(cached.admit("a" * 40)) is None  # refused by its verifier: no other one is shown it
    assert await once(cached.admit("z" * 40)) is not None
    assert (first.seen, second.seen, third.seen) == (["a" * 40], ["z" * 40], [])
    assert await once(Bearers([(lambda token: False, first)], Clock()).admit(TOKEN)) is None


# --- whatever goes wrong, nobody is let in ---


def failing(exc: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise exc

    return fail


class Panic(BaseException):
    """As a library in another language raises it."""


FAULTS = [
    ValueError(TOKEN),
    KeyError("kid"),
    RuntimeError(),
    TimeoutError(),
    RecursionError(),
    MemoryError(),
    AssertionError(),
    StopAsyncIteration(),
    OSError(104, "reset"),
    Unanswered("the issuer corp answered with status 401"),
    asyncio.CancelledError(),
    Panic(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("where", ["claims", "verify", "clock"])
async def test_an_error_inside_authentication_lets_nobody_in(where: str, fault: BaseException) -> None:
    """Fault injection on every call that an admission makes."""
    ticking = iter([NOW, NOW])  # of the admission itself; its verification meets the fault

    def clock() -> float:
        if where == "clock" and (at := next(ticking, None)) is not None:
            return at
        return failing(fault)() if where == "clock" else NOW

    def claims(token: str) -> bool:
        return bool(failing(fault)()) if where == "claims" else True

    asking = Asking(failing(fault) if where == "verify" else verified)
    cached = Bearers([(claims, asking)], clock)
    try:
        found = await once(cached.admit(TOKEN))
    except BaseException as exc:  # a clock that fails everywhere fails the caller too, and lets nobody in
        assert where == "clock" and exc is fault  # noqa: PT017 PT018
        return
    assert found is None
    assert cached._known == {}


@pytest.mark.parametrize(
    "said",
    [
        True,
        1,
        {"active": True},
        verified().principal,
        Verified(None, NOW + 60, "i", "s"),  # type: ignore[arg-type]
        Verified({"name": "anonymous"}, NOW + 60, "i", "s"),  # type: ignore[arg-type]
        object(),
    ],
    ids=["true", "one", "json", "a principal", "nobody", "no principal", "anything"],
)
async def test_an_answer_that_is_no_verified_principal_lets_nobody_in(said: Any) -> None:
    cached = cache(Asking(lambda: said), Clock())
    assert await once(cached.admit(TOKEN)) is None
    assert known(cached) is None


@pytest.mark.parametrize("answer", [1, "yes", None, 0])
async def test_a_claim_that_is_not_plainly_true_is_none(answer: Any) -> None:
    asking = Asking()
    assert await once(Bearers([(lambda token: answer, asking)], Clock()).admit(TOKEN)) is None
    assert asking.seen == []


async def test_a_401_of_the_issuer_makes_no_anonymous_principal() -> None:
    """LiteLLM CVE-2026-12773: the 401 that the look-up of a token met was swallowed, and the call went on as nobody."""
    clock, asking = Clock(), Asking(failing(Unanswered("the issuer corp answered with status 401")))
    cached = cache(asking, clock)
    for _ in range(3):
        assert await once(cached.admit(TOKEN)) is None
        assert known(cached) is None
        clock.now += 6
    assert (len(asking.seen), cached._known) == (3, {})


async def test_a_verification_that_takes_too_long_lets_nobody_in() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock(), deadline_s=0.02)
    assert await once(cached.admit(TOKEN)) is None
    assert (known(cached), asking.now) == (None, 0)


async def test_faults_are_told_once_a_minute_and_never_with_the_token(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    cached = cache(Asking(failing(ValueError(f"cannot read {TOKEN}"))), clock)
    with caplog.at_level(logging.DEBUG):
        for n in range(20):
            await cached.admit(f"{TOKEN}{n}")
        assert len(caplog.records) == 1
        clock.now += 60
        await cached.admit(TOKEN)
    assert len(caplog.records) == 2
    assert TOKEN not in caplog.text
    assert "ValueError" in caplog.text


# --- what is taken back ---


@pytest.mark.parametrize("name", ["user", "family", "jti"])
async def test_what_is_forgotten_is_gone_at_once_and_nothing_else(name: str) -> None:
    said = [verified("u1", family="g1", jti="j1"), verified("u2", family="g2", jti="j2")]
    cached = cache(Asking(lambda: said.pop(0)), Clock())
    await once(cached.admit("a" * 40))
    other = await once(cached.admit("b" * 40))
    assert cached.forget(**{name: {"user": "u1", "family": "g1", "jti": "j1"}[name]}) == 1
    assert known(cached, "a" * 40) is None
    assert known(cached, "b" * 40) is other
    assert cached.forget() == 0


@pytest.mark.parametrize("behind", [False, True], ids=["waited for", "behind a caller"])
async def test_a_verification_that_a_revocation_overtakes_does_not_bring_the_token_back(behind: bool) -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    if behind:
        await once(cached.admit(TOKEN))
        clock.now += 30
    asking.held = asyncio.Event()
    caller = asyncio.create_task(cached.admit(TOKEN))
    seen = 2 if behind else 1
    await until(lambda: len(asking.seen) == seen)  # it has found the token good, and is on its way back
    asking.says = lambda: None
    cached.forget(user="u1")
    asking.held.set()
    if behind:
        await once(caller)
        await until(lambda: not cached._behind)
    else:
        assert await once(caller) is None
    assert known(cached) is None
    assert len(asking.seen) == seen + 1  # it was asked again, after the revocation


async def test_a_caller_whose_roles_change_in_mid_verification_is_let_in_with_the_new_ones() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())
    caller = asyncio.create_task(cached.admit(TOKEN))
    await until(lambda: len(asking.seen) == 1)
    asking.says = lambda: verified(roles="auditor")
    cached.forget(user="u1")
    asking.held.set()
    who = await once(caller)
    assert who.roles == {"auditor"}


async def test_others_revocations_do_not_hold_a_verification_up() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())
    caller = asyncio.create_task(cached.admit(TOKEN))
    await until(lambda: len(asking.seen) == 1)
    for n in range(bearers.REMEMBERED):
        cached.forget(user=f"other{n}")
    asking.held.set()
    assert await once(caller) is not None
    assert len(asking.seen) == 1


async def test_more_revocations_than_are_remembered_count_as_ones_own() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())
    caller = asyncio.create_task(cached.admit(TOKEN))
    await until(lambda: len(asking.seen) == 1)
    cached.forget(user="u1")
    for n in range(bearers.REMEMBERED):
        cached.forget(user=f"other{n}")
    asking.says = lambda: None
    asking.held.set()
    assert await once(caller) is None


async def test_revocations_that_keep_overtaking_end_in_a_refusal() -> None:
    def overtaken() -> Verified:
        cached.forget(user="u1")
        return verified()

    class Late(Asking):
        async def verify(self, token: str) -> Verified | None:
            found = await super().verify(token)
            cached.forget(user="u1")
            return found

    asking = Late(overtaken)
    cached = cache(asking, Clock())
    assert await once(cached.admit(TOKEN)) is None
    assert len(asking.seen) == bearers.TRIES
    assert known(cached) is None


async def test_a_verification_that_has_just_ended_is_joined_by_nobody() -> None:
    asking = Asking()
    asking.held = asyncio.Event()
    cached = cache(asking, Clock())

    async def after_the_revocation() -> Principal | None:
        assert cached.forget(user="u1") == 1
        return await cached.admit(TOKEN)

    first = asyncio.create_task(cached.admit(TOKEN))
    await until(lambda: len(asking.seen) == 1)
    asking.held.set()
    second = asyncio.create_task(after_the_revocation())  # runs right after the verification, before who waits for it
    assert await once(second) is not None
    assert len(asking.seen) == 2
    await once(first)


async def test_no_more_than_so_many_tokens_are_verified_behind_their_callers() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    all_of_them = [f"{n:040}" for n in range(bearers.BEHIND + 5)]
    for token in all_of_them:
        await once(cached.admit(token))
    asking.held, asking.most = asyncio.Event(), 0
    clock.now += 30
    assert None not in [known(cached, token) for token in all_of_them]
    await until(lambda: asking.now == bearers.BEHIND)
    assert len(cached._behind) == bearers.BEHIND
    asking.held.set()
    await until(lambda: not cached._behind)
    assert None not in [known(cached, token) for token in all_of_them]  # those left out have their turn now
    await until(lambda: not cached._behind)
    assert (asking.most, len(asking.seen)) == (bearers.BEHIND, 2 * len(all_of_them))


async def test_closing_ends_what_is_under_way() -> None:
    clock, asking = Clock(), Asking()
    cached = cache(asking, clock)
    await once(cached.admit(TOKEN))
    clock.now += 30
    asking.held = asyncio.Event()
    known(cached)
    caller = asyncio.create_task(cached.admit("a" * 40))
    await until(lambda: asking.now == 2)
    await once(cached.aclose())
    assert await once(caller) is None
    assert (asking.now, cached._waited, cached._behind) == (0, {}, {})


async def test_a_hit_is_told_in_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    cached = cache(Asking(), Clock())
    await cached.admit(TOKEN)
    digest, count = token_hash(TOKEN), 20_000
    started = perf_counter()
    for _ in range(count):
        cached.principal(digest, TOKEN)
    each_us = (perf_counter() - started) / count * 1e6
    with capsys.disabled():
        print(f"\n  a hit in the cache of verified tokens: {each_us:.2f} us")


async def test_when_all_is_forgotten_what_is_being_verified_is_verified_anew() -> None:
    verifier, clock = Asking(), Clock()
    cached = cache(verifier, clock)
    assert await cached.admit(TOKEN) is not None
    cached.forget_all()
    assert known(cached) is None
    verifier.held, verifier.says = asyncio.Event(), lambda: verified(roles="before")
    admitting = asyncio.create_task(cached.admit(TOKEN))
    await until(lambda: len(verifier.seen) == 2)
    verifier.says = lambda: verified(roles="after")
    cached.forget_all()
    verifier.held.set()
    found = await admitting
    assert found is not None
    assert found.roles == {"after"}
    await cached.aclose()
