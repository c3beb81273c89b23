"""No interleaving of calls, changed accounts and removals lets a call go out under another account's token."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from hub.core.errors import Lost, NeedsLogin, Unreachable
from tests.downstream.accounts import Rig, accounts
from tests.downstream.raw_http import until

ACCOUNTS = ("ada", "bob", "eve")


class Play:
    """Random acts on one rig. `generation` counts the connections each account has had."""

    def __init__(self, rig: Rig, dice: random.Random) -> None:
        self.rig, self.dice = rig, dice
        self.generation = dict.fromkeys(ACCOUNTS, 1)
        self.ends: Counter[str] = Counter()

    async def call(self, account: str) -> None:
        least = self.generation[account]
        try:
            token = await self.rig.call(account)
        except (Lost, Unreachable, NeedsLogin) as exc:
            self.ends[type(exc).__name__] += 1
            return
        whose, _, generation = token.partition(":")
        assert whose == account, f"a call of {account} went out as {token}"
        assert int(generation) >= least, f"a call of {account} went out on a connection that it had no more: {token}"
        self.ends["done"] += 1

    def choose(self, account: str) -> None:
        self.generation[account] += 1
        self.rig.book.tokens[account] = f"{account}:{self.generation[account]}"
        self.rig.links.drop("peer", account, now=self.dice.random() < 0.5)

    def remove(self, account: str) -> None:
        self.rig.book.tokens.pop(account, None)
        self.rig.links.drop("peer", account, now=True)

    async def act(self) -> None:
        account = self.dice.choice(ACCOUNTS)
        match self.dice.random():
            case roll if roll < 0.1:
                self.choose(account)
            case roll if roll < 0.14:
                self.remove(account)
            case roll if roll < 0.16:
                self.rig.links.apply((self.rig.spec,) if self.dice.random() < 0.5 else ())
            case _:
                await self.call(account)


@pytest.mark.parametrize("seed", range(12))
async def test_no_call_ever_goes_out_under_another_account_or_an_older_connection(seed: int) -> None:
    dice = random.Random(seed)
    async with accounts(most=dice.choice((1, 2, 3))) as rig:
        play, slots = Play(rig, dice), asyncio.Semaphore(8)

        async def one() -> None:
            async with slots:
                await play.act()

        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(150))), 30)
        for account in ACCOUNTS:
            play.choose(account)
            await until(lambda: not any(own.link is None or own.link.busy for own in rig.links._owned.values()))
            await play.call(account)
        assert play.ends["done"] > 20
        seen = {
            got.headers["authorization"].removeprefix("Bearer ").partition(":")[0]
            for got in rig.peer.raw.got
            if got.method == "tools/call"
        }
        assert seen <= set(ACCOUNTS)
        await rig.links.aclose()
        await until(lambda: rig.peer.raw.open == 0)
