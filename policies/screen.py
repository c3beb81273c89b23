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
_Findings = tuple[Finding, ...]

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
        self._detector, self._modes, self._scan = detector, modes, detector.scan
        self.definitions = Definitions(detector, modes.descriptions)
        self._hides = GateStage(self.definitions)

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        target = call.target
        if type(target) is not One:
            return await self._hides(call, next)
        modes, notes = self._modes, self.definitions.notes(target.item)
        if notes and modes.descriptions == "block":
            return self.definitions.hidden(target.item)
        if modes.arguments != "off":
            text = "\n".join(strings(_given(call.params)))
            findings = (
                self._scan(text, "argument") if len(text) <= _INLINE_CHARS else await self._long(text, "argument")
            )
            if findings:
                found = _notes(findings, "argument")
                if modes.arguments == "block":
                    told = f"The arguments were held back ({', '.join(found)})."
                    return Denied("screened", ", ".join(found), told=told)
                notes += found
        if modes.results == "off":
            return _noted(await next(call), notes)
        client, back = call.client, None
        if client.wants_progress or client.log_level is not None:
            back = _ScreenedBack(client.back, self._detector, modes.results == "block", list(notes))
            call = replace(call, client=replace(client, back=back))
        outcome = await next(call)
        if back is not None:
            notes = tuple(back.notes)
        said = outcome.result if type(outcome) is Done else _said(outcome)
        if said is None:
            return outcome
        text = "\n".join(strings(said))
        findings = self._scan(text, "result") if len(text) <= _INLINE_CHARS else await self._long(text, "result")
        return self._judged(outcome, findings, notes, call.id) if findings or notes else outcome

    def _judged(self, outcome: Outcome, findings: _Findings, notes: tuple[str, ...], call_id: str) -> Outcome:
        if not findings:
            return _noted(outcome, notes)
        found = _notes(findings, "result")
        if self._modes.results == "block":
            told = f"The answer was held back: it reads like instructions to an assistant ({', '.join(found)})."
            return Denied("screened", ", ".join(found), told=told)
        if not isinstance(outcome, Done | Asked):
            log.warning("what the downstream says in call %s reads like an attack: %s", call_id, ", ".join(found))
        return _noted(outcome, notes + found)

    async def _long(self, text: str, surface: Surface) -> _Findings:
        found = self._detector.begin(text, surface)
        return await anyio.to_thread.run_sync(found) if callable(found) else found


def _given(params: Json) -> Json:
    """What of a request is its caller's own words."""
    given = {}
    for key in params:
        if key not in _NOT_ARGUMENTS:
            given[key] = params[key]
    return given


def _said(outcome: Outcome) -> Any:
    """What of an answer is the downstream's words; None where nothing is."""
    if isinstance(outcome, Done):
        return outcome.result
    if isinstance(outcome, Asked):
        return outcome.requests
    return outcome.relayed if isinstance(outcome, Denied) else None  # a server's own error is its words too


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
