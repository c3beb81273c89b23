"""What an endpoint does not offer is hidden from its lists and calls alike; no error of its look-up widens it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.core.call import ANY, AnyArguments, Call, Client, Denied, Item, Json, Kind, Principal
from hub.core.ports import Allowed, Endpoint
from policies.endpoint import Selection
from policies.globs import any_of, idle

CALL = Call(
    "1", Principal("local", "u", "c", frozenset()), "e", "tools/call", {}, Client("modern", "2026-07-28"), float("inf")
)
ITEM = Item("tool", "srv", "srv__get_t", "get_t", {}, {}, "sha")


def decide(endpoint: Endpoint | None, item: Item = ITEM, arguments: Json | AnyArguments = ANY) -> bool:
    found = {} if endpoint is None else {endpoint.name: endpoint}
    return isinstance(Selection(found.get).decide(CALL, item, arguments), Allowed)


@pytest.mark.parametrize("arguments", [ANY, {}, {"read_only": False}])
def test_the_verdict_is_the_same_for_lists_and_calls(arguments: Json | AnyArguments) -> None:
    assert decide(Endpoint("e", tools=("srv__get_*",)), arguments=arguments)
    assert not decide(Endpoint("e", tools=("srv__set_*",)), arguments=arguments)
    assert not decide(Endpoint("e", read_only=True), arguments=arguments)


@pytest.mark.parametrize(
    ("tools", "offered"),
    [(None, True), (("*",), True), (("x", "srv__get_t"), True), (("get_t",), False), (("SRV__*",), False), ((), False)],
)
def test_patterns_speak_of_whole_public_names(tools: tuple[str, ...] | None, offered: bool) -> None:
    assert decide(Endpoint("e", tools=tools)) is offered


def test_a_read_only_endpoint_offers_what_a_trusted_server_calls_reading() -> None:
    assert decide(Endpoint("e", read_only=True), replace(ITEM, writes=False))
    assert not decide(Endpoint("e", tools=("x",), read_only=True), replace(ITEM, writes=False))


@pytest.mark.parametrize("kind", ["prompt", "resource", "template"])
def test_prompts_and_resources_come_with_their_server(kind: Kind) -> None:
    assert decide(Endpoint("e", tools=("x",), read_only=True), replace(ITEM, kind=kind))


@pytest.mark.parametrize("kind", ["tool", "prompt", "resource"])
def test_an_endpoint_that_is_gone_offers_nothing(kind: Kind) -> None:
    assert not decide(None, replace(ITEM, kind=kind))


def test_the_refusal_is_for_the_log_alone() -> None:
    verdict = Selection(lambda name: None).decide(CALL, ITEM, ANY)
    assert isinstance(verdict, Denied)
    assert verdict.told is None


def test_a_pattern_is_no_regular_expression() -> None:
    assert not any_of(("srv__.*",)).fullmatch("srv__x")
    assert any_of(("a[", "b")).fullmatch("a[")
    assert not any_of(()).fullmatch("")


def test_patterns_that_match_nothing_are_found() -> None:
    assert idle(("a__*", "b__*", "*"), ("a__x",)) == ("b__*",)
