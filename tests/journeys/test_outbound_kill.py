"""kill -9 of a hub while it renews a login at a server, again and again: none is lost that the issuer gives again.

Each round has two starts: the hub that is killed, and one that shows what is left. In one process a token that came in
the place of a refused one must not be refused at once: no other is asked for then.

An issuer with a grace period (ours) loses none. A strict one ends some, which are then known to need a login: what is
called in the meantime never goes out with somebody else's account.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hub_process import Hub, raw_server, until
from tests.e2e.outbound.door import Cut, Door, Heard, Stage, passing
from tests.e2e.outbound.places import Human, far, human, members, near_place
from tests.e2e.raw_http import Answer

pytestmark = pytest.mark.e2e

KILLS: Final = 25
STAGES: Final[tuple[Stage, ...]] = ("asked", "answered", "passed")
WAIT_S: Final = 30.0


def killed_at(stage: Stage, hub: Hub, door: Door, call: Callable[[], object], chance: random.Random) -> None:
    """The hub, as soon as a renewal is at this stage; `call` makes it renew."""
    reached = threading.Event()

    def kill(at: Stage, heard: Heard) -> None:
        if at != stage or not heard.is_refresh or reached.is_set():
            return
        if at == "passed":
            time.sleep(chance.random() * 0.02)  # anywhere within what comes next
        hub.kill()
        reached.set()
        raise Cut  # the request, or its answer, is lost on its way

    def work() -> None:
        try:
            call()
        except (OSError, HTTPException):  # killed under it
            return

    door.at = kill
    caller = threading.Thread(target=work)
    caller.start()
    try:
        assert reached.wait(WAIT_S), f"no renewal was {stage}"
    finally:
        caller.join(WAIT_S)
        door.at = passing
    assert not caller.is_alive()
    assert hub.process.poll() is not None


def bearer_of(who: Human, door: Door, name: str) -> str:
    """The token that this person's call went out with; links that list something meanwhile send other requests."""
    before = len(door.heard)
    answer = who.call(name)
    assert "isError" not in answer.result or not answer.result["isError"], answer.body
    calls = [heard for heard in door.heard[before:] if heard.headers.get("mcp-method") == "tools/call"]
    assert calls, [heard.path for heard in door.heard[before:]]
    assert calls[-1].bearer is not None
    return calls[-1].bearer


def subject(token: str) -> str:
    body = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


def test_25_kills_during_a_refresh_lose_no_login_at_an_issuer_with_grace(tmp_path: Path) -> None:
    chance, tool = random.Random(20260728), "far__raw__environment"
    with far(tmp_path / "far", {"raw": raw_server("legacy")}, auth={"access_s": 3600}) as there:
        there.hub.wait_for("raw__environment")
        ids = {name: there.user(f"{name}-far") for name in ("ann", "bob")}
        place = near_place(tmp_path / "near", {"far": there.entry})
        people: list[Human] = []
        seen: set[str] = set()
        for number in range(KILLS):
            with Hub(place) as hub:
                if not people:
                    hub.wait_state("far", "needs_login")
                    people = [human(hub, name, there.door, f"{name}-far") for name in ids]
                    for who in people:
                        who.logs_in("far__log_in")
                token = check_both(people, ids, there.door, tool)
            seen.add(token)
            there.door.refuse.add(token)  # for the server it has ended
            with Hub(place) as hub:
                killed_at(STAGES[number % len(STAGES)], hub, there.door, people[0].tools, chance)
        with Hub(place):
            seen.add(check_both(people, ids, there.door, tool))
        assert len(seen) > KILLS, "each round had another token"
        assert [len(who.opened) for who in people] == [1, 1], "nobody had to log in again"
        for who in people:
            who.close()


def check_both(people: list[Human], ids: dict[str, str], door: Door, tool: str) -> str:
    """Both are served with their own account; the token of the first."""
    tokens = []
    for who in people:
        who.listed(tool)
        token = bearer_of(who, door, tool)
        assert subject(token) == ids[who.name], f"{who.name} went out as somebody else"
        tokens.append(token)
    return tokens[0]


def test_25_kills_during_a_refresh_at_a_strict_issuer_end_in_a_login_and_never_in_a_strangers_account(
    tmp_path: Path,
) -> None:
    chance, lost, kept = random.Random(20260728), 0, 0
    with members("--strict") as club:
        place = near_place(tmp_path / "near", {"club": club.entry})
        people: list[Human] = []
        stage: Stage | None = None
        for number in range(KILLS + 1):
            with Hub(place) as hub:
                if not people:
                    hub.wait_state("club", "needs_login")
                    people = [human(hub, name, club.door, f"{name}-there") for name in ("ann", "bob")]
                    for who in people:
                        who.logs_in("club__log_in")
                        who.listed("club__whoami")
                is_lost = comes_back(people)
                if stage is not None:
                    assert not (is_lost and stage == "asked"), "the issuer had not seen it, and it was lost"
                    lost, kept = lost + is_lost, kept + (not is_lost)
            if number == KILLS:
                break
            stage = STAGES[number % len(STAGES)]
            club.expire("ann-there")
            with Hub(place) as hub:
                killed_at(stage, hub, club.door, people[0].tools, chance)
        assert lost + kept == KILLS
        assert lost >= KILLS // len(STAGES), "each that was killed between the rotation and the answer"
        assert len(people[1].opened) == 1, "bob was never touched"
        assert club.count("logins", "ann-there") == 1 + lost
        for who in people:
            who.close()


def comes_back(people: list[Human]) -> bool:
    """Whether the first has to log in again, which is done; the second is served in any case."""
    ann, bob = people
    bob.listed("club__whoami")
    assert bob.call("club__whoami").text == "whoami: bob-there"
    until(lambda: [name for name in ann.tools() if name.startswith("club__")] or None, "something is listed")
    name = "club__whoami" if "club__whoami" in ann.tools() else "club__log_in"
    answer: Answer = ann.call(name)
    is_lost = answer.result.get("resultType") == "input_required"
    if is_lost:
        ann.logs_in(name)
        ann.listed("club__whoami")
        answer = ann.call("club__whoami")
    elif name == "club__log_in":
        ann.listed("club__whoami")
        answer = ann.call("club__whoami")
    assert answer.text == "whoami: ann-there"
    return is_lost
