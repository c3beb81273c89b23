"""The hub's seal: exact for its own caller and call, and worth nothing in any other hand."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.wire.seal import SKEW_S, TTL_S, Opened, Seals, binding
from tests.wire.samples import WHO, call, item

KEYS = (b"a" * 32, b"b" * 32)
PAY = item("demo__pay")
BOUND = b"bound"


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def seals(*keys: bytes, clock: Clock | None = None) -> Seals:
    return Seals(lambda: keys or KEYS, clock or Clock())


def opened(found: Any) -> Opened:
    assert isinstance(found, Opened), found
    return found


@given(st.binary(max_size=40), st.from_regex(r"[a-z][a-z0-9-]{0,23}", fullmatch=True), st.none() | st.text())
def test_a_state_comes_back_to_the_byte_and_none_stays_none(bound: bytes, server: str, state: str | None) -> None:
    found = opened(seals().open(bound, seals().seal(bound, server, state)))
    assert (found.server, found.state) == (server, state)


def test_an_empty_state_is_not_the_same_as_none() -> None:
    assert opened(seals().open(BOUND, seals().seal(BOUND, "srv", ""))).state == ""
    assert opened(seals().open(BOUND, seals().seal(BOUND, "srv", None))).state is None


def test_a_client_can_read_nothing_of_it_and_no_two_are_alike() -> None:
    one, other = (seals().seal(BOUND, "payroll", "SECRET-STATE") for _ in range(2))
    assert one != other
    raw = base64.urlsafe_b64decode(one + "=" * (-len(one) % 4))
    assert b"SECRET" not in raw
    assert b"payroll" not in raw


@given(st.data())
def test_no_altered_seal_opens(data: st.DataObject) -> None:
    sealed = seals().seal(BOUND, "srv", "state")
    at = data.draw(st.integers(0, len(sealed) - 1))
    put = data.draw(st.sampled_from("ABCXYZabcxyz0189-_"))  # unfiltered: the seal is another one in each run
    altered = sealed[:at] + put + sealed[at + 1 :]
    assert altered == sealed or isinstance(seals().open(BOUND, altered), str)


@given(st.text(max_size=200))
def test_nothing_made_up_opens(text: str) -> None:
    assert isinstance(seals().open(BOUND, text), str)


@pytest.mark.parametrize("text", ["", "-TAMPERED", "A" * 200_000, "é", "AAAA", "=" * 8, "A" * 43 + "=", " " * 60])
def test_what_is_no_seal_is_unreadable(text: str) -> None:
    assert seals().open(BOUND, text) == "unreadable"


def test_a_seal_with_something_behind_it_does_not_open() -> None:
    sealed = seals().seal(BOUND, "srv", "state")
    for more in ("-TAMPERED", "=", "A", "\n"):
        assert isinstance(seals().open(BOUND, sealed + more), str)


def test_it_expires_to_the_second() -> None:
    clock = Clock()
    sealed = seals(clock=clock).seal(BOUND, "srv", "state")
    clock.now += TTL_S - 0.01
    assert opened(seals(clock=clock).open(BOUND, sealed)).expires == pytest.approx(clock.now + 0.01, abs=0.002)
    clock.now += 0.02
    assert seals(clock=clock).open(BOUND, sealed) == "expired"


def test_a_clock_that_was_set_back_makes_no_seal_live_for_ever() -> None:
    clock = Clock()
    sealed = seals(clock=clock).seal(BOUND, "srv", "state")
    clock.now -= SKEW_S - 1
    opened(seals(clock=clock).open(BOUND, sealed))
    clock.now -= 2
    assert seals(clock=clock).open(BOUND, sealed) == "of the future"


def test_an_older_key_opens_until_it_is_gone_and_the_newest_seals() -> None:
    sealed = seals(KEYS[1]).seal(BOUND, "srv", "state")
    assert opened(seals(*KEYS).open(BOUND, sealed)).state == "state"
    assert seals(KEYS[0]).open(BOUND, sealed) == "unknown key"
    assert isinstance(seals(KEYS[0]).open(BOUND, seals(*KEYS).seal(BOUND, "srv", None)), Opened)


ONE = call("tools/call", {"name": "demo__pay", "arguments": {"to": "bob", "sum": 10}})
OTHERS = {
    "tenant": (replace(ONE, who=replace(WHO, tenant="other")), PAY),
    "caller": (replace(ONE, who=replace(WHO, credential="cred-b")), PAY),
    "endpoint": (replace(ONE, endpoint="team"), PAY),
    "method": (replace(ONE, method="prompts/get"), PAY),
    "item": (ONE, item("demo__refund")),
    "kind": (ONE, item("demo__pay", "prompt")),
    "argument": (replace(ONE, params={"name": "demo__pay", "arguments": {"to": "bob", "sum": 11}}), PAY),
    "argument more": (replace(ONE, params={"name": "demo__pay", "arguments": {"to": "bob", "sum": 10, "x": 1}}), PAY),
    "no argument": (replace(ONE, params={"name": "demo__pay"}), PAY),
    "type": (replace(ONE, params={"name": "demo__pay", "arguments": {"to": "bob", "sum": "10"}}), PAY),
    "shifted": (replace(ONE, endpoint="tools/call", method=""), PAY),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_question_of_one_call_is_answered_by_no_other(what: str) -> None:
    sealed = seals().seal(binding(ONE, PAY), "demo", "state")
    assert seals().open(binding(*OTHERS[what]), sealed) == "altered, or of another call or caller"


def test_the_same_call_is_the_same_whatever_the_order_of_its_arguments_and_its_metadata() -> None:
    arguments = {"sum": 10, "to": "bob"}
    again = replace(ONE, id="id-2", params={"_meta": {"x": 1}, "arguments": arguments, "name": "demo__pay"})
    assert binding(again, PAY) == binding(ONE, PAY)
    empty, absent = (replace(ONE, params=params) for params in ({"name": "p", "arguments": {}}, {"name": "p"}))
    assert binding(empty, PAY) == binding(absent, PAY)


def test_arguments_of_any_size_bind_exactly() -> None:
    big = [replace(ONE, params={"arguments": {"n": 2**70 + more}}) for more in (0, 1)]
    assert binding(big[0], PAY) != binding(big[1], PAY)


@given(st.text())
def test_a_question_of_the_hubs_own_is_told_apart_from_every_state_that_a_server_may_give(state: str) -> None:
    hubs = opened(seals().open(BOUND, seals().seal_login(BOUND, "srv", "login-1")))
    assert (hubs.server, hubs.state, hubs.login) == ("srv", None, "login-1")
    for given_ in (state, "\2" + state, None):
        servers = opened(seals().open(BOUND, seals().seal(BOUND, "srv", given_)))
        assert (servers.state, servers.login) == (given_, None)
