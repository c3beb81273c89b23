"""Fifty callers whose token at a server ends at the same moment: one of them asks the issuer, and all are served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.e2e.hub_process import Hub, until
from tests.e2e.outbound.places import Human, Members, at_once, human, members, near_place
from tests.e2e.raw_http import Answer

pytestmark = pytest.mark.e2e

CALLERS: Final = 50
LIFE_S: Final = 12  # of a token of the second server: shorter than ten seconds a hub takes for ten
OFFERS: Final = ("club__log_in", "brief__log_in")


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub
    club: Members
    brief: Members
    ann: Human

    def calls(self, number: int) -> Answer:
        return self.ann.http.call("club__whoami")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        members() as club,
        members("--life", str(LIFE_S)) as brief,
        Hub(near_place(tmp_path_factory.mktemp("near"), {"club": club.entry, "brief": brief.entry})) as hub,
    ):
        for id in ("club", "brief"):
            hub.wait_state(id, "needs_login")
        ann = human(hub, "ann", club.door, "ann-there")
        ann.browser.known[brief.door.url] = ("ann-there", "")
        ann.logs_in("club__log_in")
        ann.listed("club__whoami")
        yield World(hub, club, brief, ann)
        ann.close()


def test_50_callers_at_one_expiry_are_one_refresh(world: World) -> None:
    before = world.club.told()
    world.club.expire("ann-there")
    answers = at_once(CALLERS, world.calls)
    assert [answer.text for answer in answers] == ["whoami: ann-there"] * CALLERS
    after = world.club.told()
    assert after["calls"]["ann-there"] - before["calls"].get("ann-there", 0) == CALLERS, "each call ran once"
    assert after["refreshes"]["ann-there"] - before["refreshes"].get("ann-there", 0) == 1
    assert after["again"] == {}
    assert world.club.door.refreshes() == sum(after["refreshes"].values())
    assert after["logins"]["ann-there"] == 1


def test_50_callers_of_a_dead_login_are_one_try_at_the_issuer_at_most_and_are_all_told(world: World) -> None:
    """None, where the token that is refused now came in the place of one that was refused just before."""
    world.club.revoke("ann-there")
    tries = world.club.door.refreshes()
    answers = at_once(CALLERS, world.calls)
    assert {answer.code for answer in answers} == {"needs_login"}
    assert world.club.door.refreshes() - tries <= 1
    assert world.ann.logs_in("club__whoami").text == "whoami: ann-there"


def test_a_token_that_ends_by_itself_is_renewed_before_anybody_needs_it(world: World) -> None:
    ann, brief = world.ann, world.brief
    ann.logs_in("brief__log_in")
    ann.listed("brief__whoami")
    until(lambda: brief.count("refreshes", "ann-there") == 1, "renewed by the clock alone", 2.0 * LIFE_S)
    assert ann.http.call("brief__whoami").text == "whoami: ann-there"
    assert brief.told()["refused"].get("ann-there", 0) == 0, "the server never saw a token that had ended"
    assert brief.told()["again"] == {}
