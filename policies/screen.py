"""Prompt injection: what detectors find in definitions, arguments and answers is noted or held back.

Decides what to do about findings; how texts are judged is the detector's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import anyio

from hub.core.call import (
    AnyArguments,
    Asked,
    Back,
    Call,
    Denied,
    Done,
    Item,
    Json,
    One,
    Outcome,
)
from hub.core.gate import GateStage
from hub.core.ports import Allowed, Next
from policies.detectors.rules import Surface
from policies.detectors.scan import Detector, Finding
from policies.texts import strings

log = logging.getLogger(__name__)

Mode = Literal["off", "flag", "block"]

_INLINE_CHARS: Final = 48 * 1024  # about 5 ms; of a longer text, what takes long is done outside the loop
_NOTES: Final = 8
_ALLOWED: Final = Allowed()
_NOT_ARGUMENTS: Final = frozenset({"_meta", "name", "ref", "cursor", "requestState"})


@dataclass(frozen=True, slots=True)
class ScreenModes:
    descriptions: Mode = "flag"
    arguments: Mode = "flag"
    results: Mode = "flag"


class Definitions:
    """The gate of the stage below: a definition that reads like an attack hides its item, where the mode is `block`.

    Every definition is judged once, by its hash; at most `capacity` verdicts are kept, the oldest goes first.
    """

    name = "definitions"
    steady = True

    def __init__(self, detector: Detector, mode: Mode, capacity: int = 16_384) -> None:
        self._detector, self._mode, self._capacity = detector, mode, capacity
        self._notes: dict[str, tuple[str, ...]] = {}

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        return self.hidden(item) if self._mode == "block" and self.notes(item) else _ALLOWED

    def hidden(self, item: Item) -> Denied:
        return Denied("unknown_item", "hidden by what its definition says: " + ", ".join(self.notes(item)))

    def notes(self, item: Item) -> tuple[str, ...]:
        """What was found in the item's definition; empty with screening off."""
        if self._mode == "off":
            return ()
        known = self._notes.get(item.sha256)
        if known is None:
            known = _notes(self._detector.scan("\n".join(strings(item.definition)), "description"), "description")
            if known:
                log.warning("the definition of %s reads like an attack: %s", item.name, ", ".join(known))
            if len(self._notes) >= self._capacity:
                del self._notes[next(iter(self._notes))]
            self._notes[item.sha256] = known
        return known


class Screen:
    """Looks at what goes down and at what comes back, progress and log messages included.

    `definitions` is to stand as a gate above everything that would answer differently for an item that is not there;
    this stage hides the same items again, so that a list is right even where it was left out.
    """

    name = "screen"

    def __init__(self, detector: Detector, modes: ScreenModes) -> None:
        self._detector, self._modes = detector, modes
        self.definitions = Definitions(detector, modes.descriptions)
        self._hides = GateStage(self.definitions)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        target = call.target
        if not isinstance(target, One):
            return await self._hides(call, next)
        modes, notes = self._modes, self.definitions.notes(target.item)
        if notes and modes.descriptions == "block":
            return self.definitions.hidden(target.item)
        if modes.arguments != "off":
            text = _given(call.params)
            found = self._short(text, "argument") if len(text) <= _INLINE_CHARS else await self._long(text, "argument")
            if found:
                if modes.arguments == "block":
                    told = f"The arguments were held back ({', '.join(found)})."
                    return Denied("screened", ", ".join(found), told=told)
                notes += found
        if modes.results == "off":
            return _noted(await next(call), notes)
        client = call.client
        if client.wants_progress or client.log_level is not None:
            return await self._heard(call, next, notes)
        return await self._answer(await next(call), notes, call.id)

    async def _heard(self, call: Call, next: Next, notes: tuple[str, ...]) -> Outcome:
        """A call that is told of its progress: what is found there stands among the notes."""
        client = call.client
        back = _ScreenedBack(client.back, self._detector, self._modes.results == "block", list(notes))
        outcome = await next(replace(call, client=replace(client, back=back)))
        return await self._answer(outcome, tuple(back.notes), call.id)

    async def _answer(self, outcome: Outcome, notes: tuple[str, ...], call_id: str) -> Outcome:
        if isinstance(outcome, Done):
            said: Any = outcome.result
        elif isinstance(outcome, Asked):
            said = outcome.requests
        elif isinstance(outcome, Denied) and outcome.relayed is not None:  # a server's own error is its words too
            said = outcome.relayed
        else:
            return outcome
        text = "\n".join(strings(said))
        found = self._short(text, "result") if len(text) <= _INLINE_CHARS else await self._long(text, "result")
        if not found:
            return _noted(outcome, notes) if notes else outcome
        if self._modes.results == "block":
            told = f"The answer was held back: it reads like instructions to an assistant ({', '.join(found)})."
            return Denied("screened", ", ".join(found), told=told)
        if not isinstance(outcome, Done | Asked):
            log.warning("what the downstream says in call %s reads like an attack: %s", call_id, ", ".join(found))
        return _noted(outcome, notes + found)

    def _short(self, text: str, surface: Surface) -> tuple[str, ...]:
        findings = self._detector.scan(text, surface)
        return _notes(findings, surface) if findings else ()

    async def _long(self, text: str, surface: Surface) -> tuple[str, ...]:
        found = self._detector.begin(text, surface)
        if callable(found):
            found = await anyio.to_thread.run_sync(found)
        return _notes(found, surface) if found else ()


def _given(params: Json) -> str:
    """What of a request is its caller's own words."""
    given = {}
    for key in params:
        if key not in _NOT_ARGUMENTS:
            given[key] = params[key]
    return "\n".join(strings(given))


class _ScreenedBack:
    """Progress and log messages of one call, screened like its answer."""

    def __init__(self, back: Back, detector: Detector, blocks: bool, notes: list[str]) -> None:
        self._back, self._detector, self._blocks, self.notes = back, detector, blocks, notes

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        text = "\n".join(strings(params))[:_INLINE_CHARS]
        found = _notes(self._detector.scan(text, "result"), "result")
        if found and len(self.notes) < _NOTES:
            self.notes.extend(found)
        if not (found and self._blocks):
            self._back.notify(method, params)


def _noted(outcome: Outcome, notes: tuple[str, ...]) -> Outcome:
    if not notes or not isinstance(outcome, Done | Asked):
        return outcome
    return replace(outcome, notes=(*outcome.notes, *dict.fromkeys(notes[:_NOTES])))


def _notes(findings: tuple[Finding, ...], surface: Surface) -> tuple[str, ...]:
    return tuple(f"screen:{surface}:{finding.rule}" for finding in findings[:3])
