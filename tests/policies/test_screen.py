"""What is done about findings. The detector here finds one word."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.call import UNRESOLVED, Asked, Client, Denied, Done, Item, Json, Listed, Listing, One, Several
from hub.core.gate import GateStage
from hub.core.pipeline import Pipeline
from hub.core.ports import Stage
from policies.detectors.rules import Surface
from policies.detectors.scan import Finding
from policies.screen import Definitions, Mode, Screen, ScreenModes
from tests.core.chain import Find, Log, Reach
from tests.policies.below import Below, a_call, a_tool, cancelled


class Word:
    """Finds EVIL."""

    def __init__(self) -> None:
        self.scans: list[tuple[Surface, int]] = []
        self.threads: set[int] = set()

    def scan(self, text: str, surface: Surface) -> tuple[Finding, ...]:
        self.scans.append((surface, len(text)))
        self.threads.add(threading.get_ident())
        place = text.find("EVIL")
        return () if place < 0 else (Finding("evil", surface, place, 1.0),)

    def begin(self, text: str, surface: Surface) -> tuple[Finding, ...] | Callable[[], tuple[Finding, ...]]:
        return partial(self.scan, text, surface) if "SLOW" in text else self.scan(text, surface)


BAD = a_tool({"name": "bad", "inputSchema": {"properties": {"a": {"description": "EVIL"}}}}, sha256="bad")
GOOD = a_tool(sha256="good", name="hr__good")
EVIL = Done({"content": [{"type": "text", "text": "EVIL"}]}, 10)


def screen(mode: Mode, detector: Word | None = None, **other: Mode) -> Screen:
    modes = {"descriptions": "off", "arguments": "off", "results": "off", **other}
    return Screen(
        detector or Word(), ScreenModes(**{name: mode if value == "off" else value for name, value in modes.items()})
    )


async def test_what_is_clean_passes_untouched() -> None:
    answer, below, call = Done({"content": []}, 5), Below(), a_call(GOOD, {"a": "b"})
    below.answer = answer
    assert await screen("block")(call, below) is answer
    assert below.seen == [call]


async def test_off_looks_at_nothing() -> None:
    detector = Word()
    assert await screen("off", detector)(a_call(BAD, {"a": "EVIL"}), Below(EVIL)) is EVIL
    assert await screen("off", detector)(a_call(target=Listing("tool")), Below(Listed((BAD,)))) == Listed((BAD,))
    assert not detector.scans


async def test_flag_notes_what_was_found_and_passes_it() -> None:
    outcome = await screen("flag")(a_call(BAD, {"a": "EVIL"}), Below(EVIL))
    assert isinstance(outcome, Done)
    assert outcome.result is EVIL.result
    assert outcome.notes == ("screen:description:evil", "screen:argument:evil", "screen:result:evil")


@pytest.mark.parametrize(
    "params",
    [
        {"name": "x", "arguments": {"a": ["b", {"c": "EVIL"}]}},
        {"name": "x", "arguments": {"EVIL": 1}},
        {"uri": "file:///EVIL"},
        {"ref": {"type": "ref/prompt"}, "argument": {"name": "a", "value": "EVIL"}},
        {"name": "x", "inputResponses": {"q": {"content": {"a": "EVIL"}}}},
    ],
)
async def test_arguments_are_blocked_wherever_they_stand(params: Json) -> None:
    below = Below()
    denied = await screen("block")(a_call(GOOD, params=params), below)
    assert isinstance(denied, Denied)
    assert (denied.code, denied.effect) == ("screened", None)
    assert denied.told is not None
    assert "EVIL" not in denied.told
    assert not below.seen


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "text", "text": "EVIL"}]},
        {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": "EVIL"}}]},
        {"structuredContent": {"rows": [[{"EVIL": 1}]]}},
        {"messages": [{"role": "user", "content": {"type": "text", "text": "EVIL"}}]},
        {"contents": [{"uri": "a:b", "text": "EVIL"}]},
        {"completion": {"values": ["EVIL"]}},
        {"content": [], "isError": True, "_meta": {"x": "EVIL"}},
        {"content": [{"type": "odd", "data": "EVIL"}]},
    ],
)
async def test_an_answer_is_held_back_wherever_it_stands(result: Json) -> None:
    denied = await screen("block")(a_call(GOOD), Below(Done(result, 100)))
    assert isinstance(denied, Denied)
    assert denied.code == "screened"
    assert denied.told is not None
    assert "EVIL" not in denied.told


async def test_bytes_are_no_text() -> None:
    image = {"content": [{"type": "image", "mimeType": "image/png", "data": "EVIL"}, {"uri": "a:b", "blob": "EVIL"}]}
    answer = Done(image, 100)
    assert await screen("block")(a_call(GOOD), Below(answer)) is answer


async def test_a_question_is_screened_and_what_was_found_is_for_the_log() -> None:
    asked = Asked({"q": {"params": {"message": "EVIL"}}}, "s")
    assert isinstance(await screen("block")(a_call(GOOD), Below(asked)), Denied)
    flagged = await screen("flag")(a_call(GOOD), Below(asked))
    assert flagged == Asked(asked.requests, "s", ("screen:result:evil",))


async def test_a_denial_passes() -> None:
    denied = Denied("downstream_down", "EVIL")
    assert await screen("block")(a_call(GOOD), Below(denied)) is denied


async def test_a_flagged_definition_is_listed_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    detector = Word()
    stage = screen("flag", detector)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await stage(a_call(target=Listing("tool")), Below(Listed((BAD, GOOD)))) == Listed((BAD, GOOD))
            await stage(a_call(BAD), Below())
    assert sum(surface == "description" for surface, _ in detector.scans) <= 2
    assert caplog.text.count("hr__pay") == 1


async def test_a_blocked_definition_is_hidden_from_lists_subscriptions_and_calls() -> None:
    stage, below = screen("block"), Below()
    assert await stage(a_call(target=Listing("tool")), Below(Listed((BAD, GOOD)))) == Listed((GOOD,))
    await stage(a_call(target=Several((BAD, GOOD))), below)
    assert below.seen[0].target == Several((GOOD,))
    denied = await stage(a_call(BAD), below)
    assert isinstance(denied, Denied)
    assert (denied.code, denied.told) == ("unknown_item", None)
    assert len(below.seen) == 1


@given(evil=st.lists(st.booleans(), min_size=1, max_size=8), mode=st.sampled_from(["off", "flag", "block"]))
@settings(max_examples=50, deadline=None)
def test_what_is_listed_is_what_is_callable(evil: list[bool], mode: Mode) -> None:
    items = tuple(
        Item("tool", "hr", f"hr__t{i}", f"t{i}", {"description": "EVIL" if bad else "fine"}, {}, f"sha{i}{bad}")
        for i, bad in enumerate(evil)
    )
    stage = screen("off", descriptions=mode)

    async def check() -> None:
        for stages in ([stage], [GateStage(stage.definitions), stage]):
            below = Below(Listed(items))
            reach = Reach()
            listed = await _down(stages, a_call(target=Listing("tool")), below)
            assert isinstance(listed, Listed)
            for item in items:
                chain: list[Stage] = [Find(One(item)), *stages]
                outcome = await Pipeline(chain, reach, Log()).handle(a_call(target=UNRESOLVED))
                hidden = isinstance(outcome, Denied) and outcome.code == "unknown_item"
                assert hidden == (item not in listed.items)

    asyncio.run(check())


async def _down(stages: Any, call: Any, below: Below) -> Any:
    if not stages:
        return await below(call)

    async def next(inner: Any) -> Any:
        return await _down(stages[1:], inner, below)

    return await stages[0](call, next)


def test_verdicts_on_definitions_are_bounded() -> None:
    detector = Word()
    definitions = Definitions(detector, "block", capacity=2)
    for sha in ("a", "b", "b", "c", "a"):
        assert definitions.notes(a_tool(sha256=sha)) == ()
    assert len(detector.scans) == 4


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Json]] = []

    def notify(self, method: str, params: Json) -> None:
        self.heard.append((method, params))


@pytest.mark.parametrize("mode", ["off", "flag", "block"])
async def test_progress_and_logs_are_screened_like_the_answer(mode: Mode) -> None:
    ear = Ear()
    client = Client("modern", "2026-07-28", wants_progress=True, log_level="info", back=ear)

    async def below(call: Any) -> Done:
        call.client.back.notify("notifications/progress", {"progress": 1, "message": "fine"})
        for _ in range(20):
            call.client.back.notify("notifications/message", {"level": "info", "data": {"deep": ["EVIL"]}})
        return Done({}, 2)

    outcome = await screen(mode)(a_call(GOOD, client=client), below)
    assert isinstance(outcome, Done)
    assert len(ear.heard) == (1 if mode == "block" else 21)
    assert outcome.notes == (() if mode == "off" else ("screen:result:evil",))


async def test_a_client_that_wants_neither_costs_no_wrapper() -> None:
    below, call = Below(), a_call(GOOD)
    await screen("block")(call, below)
    assert below.seen[0] is call


async def test_of_a_long_text_what_takes_long_is_done_outside_the_loop() -> None:
    for said, threads in (("SLOW", 2), ("quick", 1)):
        detector = Word()
        long = Done({"content": [{"type": "text", "text": "x" * 100_000 + "EVIL" + said}]}, 100_000)
        assert isinstance(await screen("block", detector)(a_call(GOOD), Below(long)), Denied)
        assert len(detector.threads) == threads
        clean = Done({"content": [{"type": "text", "text": "x" * 100_000 + said}]}, 100_000)
        assert await screen("block", detector)(a_call(GOOD), Below(clean)) is clean


async def test_a_detector_that_fails_lets_nothing_pass() -> None:
    class Broken(Word):
        def scan(self, text: str, surface: Surface) -> tuple[Finding, ...]:
            raise ValueError("no automaton")

    with pytest.raises(ValueError, match="automaton"):
        await screen("flag", Broken())(a_call(GOOD), Below(EVIL))


async def test_a_failure_below_is_no_answer() -> None:
    with pytest.raises(OSError, match="down"):
        await screen("flag")(a_call(GOOD), Below(OSError("down")))


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(screen("flag"), a_call(GOOD))
