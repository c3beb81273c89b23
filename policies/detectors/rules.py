"""A rule, and many of them behind one search for the words they cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import re2

Surface = Literal["description", "argument", "result"]
ROUNDING: Final = 1e-9  # of sums of weights


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    weight: float  # a text whose weights reach 1 is a finding
    pattern: str  # RE2, over lower-case text


@dataclass(frozen=True, slots=True)
class Hit:
    rule: Rule
    offset: int  # of its first match, in characters of the view it was found in


class RuleSet:
    """Finds which rules match a text, in time linear in it. A search for literals first leaves few rules to be run."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        bare = set(_filter(rules).Match("", True) or ())  # rules without a literal: a filter would always let them run
        self._bare = [_compiled(rule) for index, rule in enumerate(rules) if index in bare]
        self._wordy = [_compiled(rule) for index, rule in enumerate(rules) if index not in bare]
        self._filter = _filter([rule for rule, _ in self._wordy])
        self._set: Any = re2.Set.SearchSet()
        for rule, _ in self._bare:
            self._set.Add(rule.pattern)
        self._set.Compile()

    def hits(self, text: str, needed: float) -> list[Hit]:
        """Each rule that matches, once, with its first place; nothing when they could not add up to `needed`."""
        raw = text.encode()  # once for all patterns
        possible = [self._wordy[index] for index in self._filter.Match(raw, True) or ()]
        if self._bare:
            possible += [self._bare[index] for index in self._set.Match(raw) or ()]
        if not possible:
            return []
        hits = []
        left = sum([rule.weight for rule, _ in possible])
        for rule, pattern in possible:
            if left < needed - ROUNDING:
                return []
            match = pattern.search(raw)
            if match is None:
                left -= rule.weight
            else:
                hits.append(Hit(rule, len(raw[: match.start()].decode())))
        return hits if left >= needed - ROUNDING else []


def _filter(rules: Sequence[Rule]) -> Any:
    made = re2.Filter()
    for rule in rules:
        made.Add(rule.pattern)
    made.Compile()
    return made


def _compiled(rule: Rule) -> tuple[Rule, Any]:
    return rule, re2.compile(rule.pattern)
