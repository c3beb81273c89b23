"""kill -9 while programs redeem codes and renew tokens, again and again: no login that anybody was told of is lost."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import httpx2

from tests.e2e.hub_process import Hub, until
from tests.e2e.login_place import Code, LoginPlace, Person, Tokens, made_user, tokens_of
from tests.e2e.raw_http import free_port

ROUNDS: Final = 25
FAMILIES: Final = 3
CODES: Final = 4
MOST: Final = 12  # acknowledged before a kill


@dataclass
class Program:
    """Has one login, and renews it for as long as the hub answers."""

    person: Person
    tokens: Tokens
    turns: int = 0

    def renew(self) -> None:
        try:
            while True:
                self.tokens = tokens_of(self.person.refresh(self.tokens.refresh))
                self.turns += 1
        except httpx2.TransportError:  # killed
            return


@dataclass
class Redeemer:
    """Redeems codes one after the other; what was not answered may have been done."""

    person: Person
    codes: list[Code]
    done: list[Tokens] = field(default_factory=list)
    unanswered: list[Code] = field(default_factory=list)

    def redeem(self) -> None:
        for code in self.codes:
            try:
                self.done.append(tokens_of(self.person.redeem(code)))
            except httpx2.TransportError:
                self.unanswered.append(code)


def killed_during(hub: Hub, redeemer: Redeemer, programs: list[Program], chance: random.Random) -> None:
    for program in programs:
        program.turns = 0
    work = [redeemer.redeem, *(program.renew for program in programs)]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    wanted = chance.randint(1, MOST)
    until(lambda: len(redeemer.done) + sum(program.turns for program in programs) >= wanted, "they are at work")
    time.sleep(chance.random() * 0.02)  # anywhere within what comes next
    hub.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def stored(folder: Path) -> dict[str, bool]:
    """By SHA-256 of a refresh token that is in force, or was just before: whether its grant stands."""
    with closing(sqlite3.connect(folder / "hub.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT refresh_sha256, previous_sha256, revoked_at FROM grants").fetchall()
    return {hashed: ended is None for *both, ended in rows for hashed in both if hashed is not None}


def check_stored(folder: Path, acknowledged: list[Tokens]) -> None:
    found = stored(folder)
    for tokens in acknowledged:
        assert found.get(sha256(tokens.refresh.encode()).hexdigest()) is True, "an acknowledged token is not in hub.db"


def renewable(ada: Person, tokens: Tokens) -> Tokens:
    """What the program holds after the restart; the token before is good for it, if that is the last it knows."""
    after = tokens_of(ada.refresh(tokens.refresh))
    assert ada.at(after).modern("tools/list").status == 200
    return after


def check_alive(ada: Person, programs: list[Program], before: Redeemer) -> None:
    """The hub runs again: every login that was acknowledged works, and who was not answered can begin anew."""
    for program in programs:
        program.tokens = renewable(ada, program.tokens)
    for tokens in before.done:
        assert ada.at(tokens).modern("tools/list").status == 200
        renewable(ada, renewable(ada, tokens))
    for code in before.unanswered:
        again = ada.redeem(code)
        assert again.status_code == 200 or again.json()["error"] == "invalid_grant"
    assert ada.at(ada.log_in()).modern("tools/list").status == 200


def test_25_kills_during_redemption_and_renewal_lose_no_login(tmp_path: Path) -> None:
    chance = random.Random(20260728)
    port = free_port()  # tokens are for an address: it stays the same
    place = LoginPlace(tmp_path, {"listen": f"127.0.0.1:{port}"})
    programs: list[Program] = []
    redeemed = renewed = unanswered = 0
    with Person(port, "ada") as ada:
        redeemer = Redeemer(ada, [])
        for _ in range(ROUNDS):
            with Hub(place) as hub:
                if not programs:
                    made_user(hub, "ada", "member")
                    ada.register()
                    programs = [Program(ada, ada.log_in()) for _ in range(FAMILIES)]
                check_alive(ada, programs, redeemer)
                redeemer = Redeemer(ada, [ada.code() for _ in range(CODES)])
                killed_during(hub, redeemer, programs, chance)
            check_stored(place.data_dir, [*redeemer.done, *(program.tokens for program in programs)])
            redeemed, unanswered = redeemed + len(redeemer.done), unanswered + len(redeemer.unanswered)
            renewed += sum(program.turns for program in programs)
        with Hub(place):
            check_alive(ada, programs, redeemer)
    assert redeemed > ROUNDS
    assert renewed > ROUNDS
    assert unanswered > 2, "the kills came when nothing was on its way"  # how many, a busy machine decides
