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
    Listed,
    One,
    Outcome,
    Several,
)
from hub.core.ports import Allowed, Next
from policies.detectors.rules import Surface
from policies.detectors.scan import Detector, Finding
from policies.texts import strings

log = logging.getLogger(__name__)

Mode = Literal["off", "flag", "block"]

_INLINE_CHARS: Final = 48 * 1024  # about 5 ms; a longer text is looked at outside the loop
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

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        target = call.target
        if isinstance(target, One):
            return await self._one(call, target.item, next)
        if isinstance(target, Several):
            return await next(replace(call, target=Several(self._shown(call, target.items))))
        outcome = await next(call)
        return Listed(self._shown(call, outcome.items)) if isinstance(outcome, Listed) else outcome

    def _shown(self, call: Call, items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(item for item in items if isinstance(self.definitions.decide(call, item, {}), Allowed))

    async def _one(self, call: Call, item: Item, next: Next) -> Outcome:
        modes, notes = self._modes, list(self.definitions.notes(item))
        if notes and modes.descriptions == "block":
            return self.definitions.hidden(item)
        if modes.arguments != "off":
            given = {key: value for key, value in call.params.items() if key not in _NOT_ARGUMENTS}
            found = await self._found(given, "argument")
            if found and modes.arguments == "block":
                return Denied("screened", ", ".join(found), told=f"The arguments were held back ({', '.join(found)}).")
            notes += found
        if modes.results == "off":
            return _noted(await next(call), notes)
        client = call.client
        if client.wants_progress or client.log_level is not None:
            back = _ScreenedBack(client.back, self._detector, modes.results == "block", notes)
            call = replace(call, client=replace(client, back=back))
        return await self._answer(await next(call), notes, call.id)

    async def _answer(self, outcome: Outcome, notes: list[str], call_id: str) -> Outcome:
        if isinstance(outcome, Done):
            found = await self._found(outcome.result, "result")
        elif isinstance(outcome, Asked):
            found = await self._found(outcome.requests, "result")
        elif isinstance(outcome, Denied) and outcome.relayed is not None:  # a server's own error is its words too
            found = await self._found(outcome.relayed, "result")
        else:
            return outcome
        if found and self._modes.results == "block":
            told = f"The answer was held back: it reads like instructions to an assistant ({', '.join(found)})."
            return Denied("screened", ", ".join(found), told=told)
        if found and not isinstance(outcome, Done):
            log.warning("what the downstream says in call %s reads like an attack: %s", call_id, ", ".join(found))
        return _noted(outcome, [*notes, *found]) if notes or found else outcome

    async def _found(self, value: Any, surface: Surface) -> tuple[str, ...]:
        text = "\n".join(strings(value))
        if len(text) <= _INLINE_CHARS:
            return _notes(self._detector.scan(text, surface), surface)
        return _notes(await anyio.to_thread.run_sync(self._detector.scan, text, surface), surface)


class _ScreenedBack:
    """Progress and log messages of one call, screened like its answer."""

    def __init__(self, back: Back, detector: Detector, blocks: bool, notes: list[str]) -> None:
        self._back, self._detector, self._blocks, self._notes = back, detector, blocks, notes

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        text = "\n".join(strings(params))[:_INLINE_CHARS]
        found = _notes(self._detector.scan(text, "result"), "result")
        if found and len(self._notes) < _NOTES:
            self._notes.extend(found)
        if not (found and self._blocks):
            self._back.notify(method, params)


def _noted(outcome: Outcome, notes: list[str]) -> Outcome:
    if not notes or not isinstance(outcome, Done):
        return outcome
    return replace(outcome, notes=(*outcome.notes, *dict.fromkeys(notes[:_NOTES])))


def _notes(findings: tuple[Finding, ...], surface: Surface) -> tuple[str, ...]:
    return () if not findings else tuple(f"screen:{surface}:{finding.rule}" for finding in findings[:3])
