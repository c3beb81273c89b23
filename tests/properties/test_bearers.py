"""Whatever happens, the cache of verified tokens says nothing that a verifier did not say a moment ago, and after the
last revocation.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.core.call import Principal
from hub.identity.bearers import Bearers
from hub.identity.issuers import Unanswered
from hub.identity.keys import token_hash
from hub.identity.verified import Verified
from tests.identity.idp import NOW, Clock

TOKENS = ("a" * 40, "b" * 40, "c" * 40)
USERS = {TOKENS[0]: "ann", TOKENS[1]: "ann", TOKENS[2]: "bob"}

tokens = st.sampled_from(TOKENS)
truths = st.one_of(
    st.sampled_from(["refused", "fault"]),
    st.tuples(st.sampled_from(["member", "admin"]), st.sampled_from([3.0, 20.0, 45.0, 500.0])),
)
steps = st.one_of(
    st.tuples(
        st.just("pass"), st.sampled_from([0.0, 0.1, 4.0, 5.0, 14.0, 15.0, 29.0, 30.0, 31.0, 59.0, 60.0, -1.0, -90.0])
    ),
    st.tuples(st.just("ask"), tokens),
    st.tuples(st.just("ask"), tokens),
    st.tuples(st.just("say"), st.tuples(tokens, truths)),
    st.tuples(st.just("revoke"), st.sampled_from(["ann", "bob"])),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("settle"), st.none()),
)


@dataclass
class Said:
    place: int  # among everything that happened
    at: float
    verified: Verified | None


class World:
    """A verifier that tells the truth of the moment it is asked in, and the cache in front of it."""

    def __init__(self) -> None:
        self.clock, self.place = Clock(), 0
        self.truth: dict[str, Any] = dict.fromkeys(TOKENS, ("member", 500.0))
        self.since: dict[str, float] = dict.fromkeys(TOKENS, NOW)
        self.said: dict[str, list[Said]] = {token: [] for token in TOKENS}
        self.last: dict[str, Verified | None] = {}
        self.revoked = dict.fromkeys(("ann", "bob"), 0)
        self.open = asyncio.Event()
        self.open.set()
        self.cached = Bearers([(lambda token: True, self)], self.clock, most=2)
        self.callers: list[asyncio.Task[Principal | None]] = []

    async def verify(self, token: str) -> Verified | None:
        truth, said = self.truth[token], Said(self._next(), self.clock.now, None)
        if truth not in ("refused", "fault"):
            said.verified = self.verified(token)
        await self.open.wait()
        if truth == "fault":
            raise Unanswered("away")
        self.said[token].append(said)
        self.last[token] = said.verified
        return said.verified

    def verified(self, token: str) -> Verified:
        role, lasts_s = self.truth[token]
        user = USERS[token]
        who = Principal("local", f"user:{user}", token[:1], frozenset({"mcp"}), user=user, roles=frozenset({role}))
        return Verified(who, self.since[token] + lasts_s, "https://hub.example", user)

    async def happen(self, what: str, given: Any) -> None:
        if what == "pass":
            self.clock.now += given
        elif what == "say":
            token, self.truth[given[0]] = given
            self.since[token] = self.clock.now
        elif what == "revoke":
            self.revoked[given] = self._next()
            self.cached.forget(user=given)
        elif what == "hold":
            self.open.clear() if given else self.open.set()
        elif what == "settle":
            await self.settle()
        else:
            self.check(given)
            self.callers.append(asyncio.create_task(self.cached.admit(given)))
            await asyncio.sleep(0)
            self.check(given)

    async def settle(self) -> None:
        self.open.set()
        async with asyncio.timeout(5):
            while self.callers:
                await self.callers.pop()
            await self._idle()
            for token in TOKENS:
                self.check(token)
            await self._idle()  # to look may have begun another verification

    async def _idle(self) -> None:
        while self.cached._behind or self.cached._waited:
            await asyncio.sleep(0)

    def check(self, token: str) -> None:
        found, now = self.cached.principal(token_hash(token), token), self.clock.now
        if found is None:
            return
        grounds = [
            said
            for said in self.said[token]
            if said.verified is not None
            and said.verified.principal == found
            and said.at <= now < min(said.at + 60, said.verified.expires_at)
            and said.place > self.revoked[USERS[token]]
        ]
        assert grounds, f"{found} stands for a token that nobody verified since"
        assert self.last[token] is not None, "it was refused since"

    def _next(self) -> int:
        self.place += 1
        return self.place


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
@example(
    [
        ("ask", TOKENS[0]),
        ("settle", None),
        ("say", (TOKENS[0], "fault")),
        ("pass", 59.0),
        ("ask", TOKENS[0]),
        ("pass", 1.0),
        ("ask", TOKENS[0]),
    ]
)
@example([("hold", True), ("ask", TOKENS[0]), ("revoke", "ann"), ("say", (TOKENS[0], "refused")), ("settle", None)])
def test_nobody_is_known_by_a_token_that_was_not_verified_within_a_minute_and_since_the_last_revocation(
    happening: list[Any],
) -> None:
    async def live() -> None:
        world = World()
        for step in happening:
            await world.happen(*step)
        await world.settle()
        # and whoever is in the right is let in again
        world.clock.now = NOW + 10_000  # later than anything above lasts
        for token in TOKENS:
            await world.happen("say", (token, ("member", 500.0)))
            found = await world.cached.admit(token)
            assert found == world.verified(token).principal
        await world.cached.aclose()

    asyncio.run(live())
