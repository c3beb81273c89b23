"""Rounds of one call: the server's question under the hub's seal, and the answers back to that server alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core.call import Call, Denied, Effect, One
from hub.downstream.rounds import Rounds, answers_of
from hub.wire.seal import TTL_S, Opened, Seals
from tests.wire.samples import WHO, call, item

PAY, SEE = item("demo__pay"), item("demo__see", writes=False)
ANSWERS = {"who": {"action": "accept"}}


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self, remembered: int = 100) -> None:
        self.clock = Clock()
        self.rounds = Rounds(Seals(lambda: (b"k" * 32,), self.clock), self.clock, remembered)

    def again(self, made: Call, state: str | None, about: Any = PAY, **change: Any) -> Opened | Denied | None:
        more = {} if state is None else {"requestState": state}
        retry = replace(made, id="2", params={**made.params, "inputResponses": ANSWERS, **more}, **change)
        return self.rounds.retried(retry, about)


def pay(about: Any = PAY) -> Call:
    return call("tools/call", {"name": about.name, "arguments": {"sum": 1}}, target=One(about))


def refused(found: Any, words: str) -> None:
    assert isinstance(found, Denied)
    assert (found.code, found.effect) == ("state_refused", Effect.NONE)
    assert words in found.reason


@pytest.mark.parametrize("state", ["inner", "", None])
def test_the_server_gets_its_own_state_back_or_none(state: str | None) -> None:
    rig = Rig()
    sealed = rig.rounds.asked(pay(), PAY, "canary", state)
    found = rig.again(pay(), sealed)
    assert isinstance(found, Opened)
    assert (found.server, found.state) == ("canary", state)
    retry = replace(pay(), params={"inputResponses": ANSWERS, "requestState": sealed})
    expected = {"inputResponses": ANSWERS} if state is None else {"inputResponses": ANSWERS, "requestState": state}
    assert answers_of(retry, found) == expected


def test_a_retry_without_answers_has_none_below() -> None:
    rig = Rig()
    sealed = rig.rounds.asked(pay(), PAY, "demo", "later")
    retry = replace(pay(), params={**pay().params, "requestState": sealed})
    found = rig.rounds.retried(retry, PAY)
    assert isinstance(found, Opened)
    assert answers_of(retry, found) == {"requestState": "later"}
    assert answers_of(replace(pay(), params={"inputResponses": ANSWERS}), None) == {"inputResponses": ANSWERS}


def test_a_seal_of_a_write_is_used_once() -> None:
    """An answer that was lost on the way is no reason to pay twice."""
    rig = Rig()
    sealed = rig.rounds.asked(pay(), PAY, "demo", "s")
    assert isinstance(rig.again(pay(), sealed), Opened)
    refused(rig.again(pay(), sealed), "used before")


def test_a_seal_of_a_read_may_be_shown_again() -> None:
    rig = Rig()
    sealed = rig.rounds.asked(pay(SEE), SEE, "demo", "s")
    assert isinstance(rig.again(pay(SEE), sealed, SEE), Opened)
    assert isinstance(rig.again(pay(SEE), sealed, SEE), Opened)


def test_a_seal_whose_call_never_left_may_be_tried_again() -> None:
    rig = Rig()
    sealed = rig.rounds.asked(pay(), PAY, "demo", "s")
    found = rig.again(pay(), sealed)
    assert isinstance(found, Opened)
    rig.rounds.give_back(pay(), PAY, found)
    refused(rig.again(pay(), None), "left out")
    assert isinstance(rig.again(pay(), sealed), Opened)


def test_answers_without_the_state_that_a_server_gave_go_nowhere() -> None:
    rig = Rig()
    rig.rounds.asked(pay(), PAY, "demo", "s")
    refused(rig.again(pay(), None), "left out")
    assert rig.again(replace(pay(), who=replace(WHO, credential="other")), None) is None
    assert rig.again(call("tools/call", {"name": "demo__pay"}), None) is None
    rig.clock.now += TTL_S + 1
    assert rig.again(pay(), None) is None


def test_answers_that_no_state_came_with_go_to_the_server() -> None:
    rig = Rig()
    assert rig.again(pay(), None) is None
    rig.rounds.asked(pay(), PAY, "demo", None)
    assert rig.again(pay(), None) is None


def test_once_the_state_is_shown_nothing_waits_for_it() -> None:
    rig = Rig()
    assert isinstance(rig.again(pay(), rig.rounds.asked(pay(), PAY, "demo", "s")), Opened)
    assert rig.again(pay(), None) is None


def test_stale_and_foreign_states_are_refused_and_only_their_owner_learns_that_one_expired() -> None:
    rig = Rig()
    sealed = rig.rounds.asked(pay(), PAY, "demo", None)
    foreign = rig.again(pay(), sealed, who=replace(WHO, credential="other"))
    refused(foreign, "another call or caller")
    assert isinstance(foreign, Denied)
    assert foreign.told is None
    rig.clock.now += TTL_S + 1
    stale = rig.again(pay(), sealed)
    refused(stale, "expired")
    assert isinstance(stale, Denied)
    assert stale.told == "It has expired."


def test_what_is_remembered_is_bounded_and_ends_with_its_time() -> None:
    rig = Rig(remembered=3)
    for n in range(10):
        one = replace(pay(), params={"arguments": {"n": n}})
        assert isinstance(rig.again(one, rig.rounds.asked(one, PAY, "demo", "s")), Opened)
        rig.rounds.asked(one, PAY, "demo", "s")
    assert (len(rig.rounds._used), len(rig.rounds._open)) == (3, 3)
    rig.clock.now += TTL_S + 1
    assert isinstance(rig.again(pay(), rig.rounds.asked(pay(), PAY, "demo", "s")), Opened)
    assert (len(rig.rounds._used), len(rig.rounds._open)) == (1, 0)


def test_each_process_has_a_key_of_its_own_where_none_is_kept() -> None:
    sealed = Rounds.of_this_process().asked(pay(), PAY, "demo", None)
    retry = replace(pay(), params={**pay().params, "requestState": sealed})
    refused(Rounds.of_this_process().retried(retry, PAY), "unknown key")


def test_the_hubs_own_question_is_answered_to_the_hub_and_with_its_state_alone() -> None:
    rig = Rig()
    sealed = rig.rounds.offered(pay(), PAY, "demo", "login-1")
    refused(rig.again(pay(), None), "left out")
    found = rig.again(pay(), sealed)
    assert isinstance(found, Opened)
    assert (found.server, found.state, found.login) == ("demo", None, "login-1")
    refused(rig.again(pay(), sealed), "used before")
    rig.rounds.give_back(pay(), PAY, found)
    refused(rig.again(pay(), None), "left out")
    assert isinstance(rig.again(pay(), sealed), Opened)
