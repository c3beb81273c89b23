"""A rule, and many of them behind one search for the words they cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from time import monotonic
from typing import Any, Final, Literal

import re2

from policies.detectors.needs import MOST_GROUPS, Group, needs, pattern_of

_Match = Callable[[int, bytes, int, int], list[tuple[int, int]]]
Surface = Literal["description", "argument", "result"]
ROUNDING: Final = 1e-9  # of sums of weights
SOON_S: Final = 0.002
SOON_RUN: Final = 1_500_000  # bytes times rules, at about 1.2 ns
PIECE: Final = 32 * 1024
OVERLAP: Final = 64  # more than any word or sign is long: each stands whole in a piece, with what is beside it
_ANYWHERE: Final = re2._Anchor.UNANCHORED


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    weight: float  # a text whose weights reach 1 is a finding
    pattern: str  # RE2, over lower-case text
    part: str = ""  # RE2: in every match, and in fewer texts than the words that can be read off the pattern


@dataclass(frozen=True, slots=True)
class Hit:
    rule: Rule
    offset: int  # of its first match, in characters of the view it was found in


class RuleSet:
    """Finds which rules match a text, in time linear in it. One search for their words leaves few rules to be run.

    A rule is run where each group of words it needs is there (`policies.detectors.needs`), and its part if it has one:
    in a call, a rule run for nothing costs 2 us. Rules without such words are in the search themselves, and so are
    `signs`: patterns that say how else a text has to be read.
    """

    def __init__(self, rules: Sequence[Rule], signs: Sequence[str] = ()) -> None:
        # A rank is a place in this order, the order of running: what weighs most tells soonest that all is not enough.
        rules = sorted(rules, key=lambda rule: (not _required(rule), -rule.weight))
        self._rules: list[tuple[Rule, _Match]] = [(rule, re2.compile(rule.pattern)._regexp.Match) for rule in rules]
        self._in_any_case: dict[int, tuple[Rule, _Match]] = {}
        required = [_required(rule) for rule in rules]
        words = sorted({word for some in required for group in some for word in group})
        bare = [rank for rank, some in enumerate(required) if not some]
        self._count, self._is_endless = len(rules), bool(bare)  # nobody knows how long a match of a bare rule is
        # One number stands for all rules: a bit a rule in each of as many lanes as a rule has groups. What is in a text
        # sets its bits, and a rule whose bit is set in every lane is possible: 0.4 us where looping over rules was 3.
        free = ((lane, rank) for rank, some in enumerate(required) for lane in range(len(some), MOST_GROUPS))
        self._always = _sum(self._bit(lane, rank) for lane, rank in free if lane or rank not in bare)
        self._bits = [_sum(self._bit(*place) for place in _places(required, word)) for word in words]
        self._bits += [self._bit(0, rank) for rank in bare]
        self._lane, self._signed = self._bit(1, 0) - 1, self._bit(MOST_GROUPS, 0)  # the first lane; above all lanes
        self._bits += [self._signed for _ in signs]
        self._set: Any = re2.Set.SearchSet(_options())
        for pattern in (*words, *(rules[rank].pattern for rank in bare), *signs):
            self._set.Add(pattern)
        self._set.Compile()
        self._look: Callable[[bytes], list[int]] = self._set._set.Match  # the wrapper around it costs as much again

    def hits(self, text: str, needed: float) -> list[Hit]:
        """Each rule that matches, once, with its first place; nothing when they could not add up to `needed`."""
        raw = text.encode()  # once for all patterns
        possible = self._possible(self._look(raw)) & ~self._signed
        return self._run(raw, possible, needed) if possible else []

    def hits_unsigned(self, raw: bytes, needed: float) -> list[Hit] | None:
        """As `hits`, for a text in bytes, ASCII and in any case; None when one of the signs is in it."""
        seen = self._look(raw)
        if not seen:
            return []
        possible = self._possible(seen)
        if possible >= self._signed:
            return None
        return self._run(raw.lower(), possible, needed) if possible else []

    def hits_soon(self, raw: bytes, needed: float) -> list[Hit] | None:
        """As `hits_unsigned`, for a long text. None also when that takes longer than `SOON_S`, or may.

        Piece by piece, because what one byte costs is for the text to say: 1.2 ns, or 200 where all of it is new.
        """
        if self._is_endless:
            return None
        end, seen = monotonic() + SOON_S, set[int]()
        for first, last in _cuts(raw):
            seen.update(self._look(raw[first:last]))
            if monotonic() > end:
                return None
        possible = self._possible(seen)
        if possible >= self._signed:
            return None
        if possible.bit_count() * len(raw) > SOON_RUN:
            return None
        return self._run(raw, possible, needed, in_any_case=True) if possible else []

    def _possible(self, seen: Iterable[int]) -> int:
        """A bit for every rule that has its bit in each lane, and `_signed` when one of the signs was seen."""
        there, bits, count = self._always, self._bits, self._count
        for number in seen:
            there |= bits[number]
        return there & (there >> count) & (there >> 2 * count) & self._lane | there & self._signed

    def _run(self, raw: bytes, ranks: int, needed: float, in_any_case: bool = False) -> list[Hit]:
        """Of the rules whose bits are set. `in_any_case`: the text is ASCII and was not made lower."""
        possible, left, least = [], 0.0, needed - ROUNDING
        while ranks:
            lowest = ranks & -ranks
            ranks ^= lowest
            rank = lowest.bit_length() - 1
            one = self._folded(rank) if in_any_case else self._rules[rank]
            left += one[0].weight
            possible.append(one)
        hits = []
        for rule, match in possible:
            if left < least:
                return []
            start = match(_ANYWHERE, raw, 0, len(raw))[0][0]
            if start < 0:
                left -= rule.weight
            else:
                hits.append(Hit(rule, len(raw[:start].decode())))
        return hits if left >= least else []

    def _folded(self, rank: int) -> tuple[Rule, _Match]:
        """The rule for a text in any case; of ASCII, it matches what it matches of the same text in lower case."""
        known = self._in_any_case.get(rank)
        if known is None:
            rule = self._rules[rank][0]
            known = self._in_any_case[rank] = rule, re2.compile("(?i)" + rule.pattern)._regexp.Match
        return known

    def _bit(self, lane: int, rank: int) -> int:
        return 1 << (lane * self._count + rank)


def _cuts(raw: bytes) -> Iterator[tuple[int, int]]:
    """Pieces that overlap, from blank to blank where there are any: within a word, a cut would look like its edge."""
    last = 0
    while last < len(raw):
        first = max(last - OVERLAP, 0)
        before = raw.rfind(b" ", max(first - OVERLAP, 0), first)
        last += PIECE
        last = raw.find(b" ", last, last + OVERLAP) + 1 or last
        yield (first if before < 0 else before), last


def _required(rule: Rule) -> tuple[Group, ...]:
    """Groups of patterns: of each, one is in every text that the rule matches."""
    read = [frozenset(map(pattern_of, group)) for group in needs(rule.pattern)]
    return (frozenset({rule.part}), *read)[:MOST_GROUPS] if rule.part else tuple(read)


def _places(required: Sequence[tuple[Group, ...]], word: str) -> Iterator[tuple[int, int]]:
    """(lane, rank) of every group that the word is in."""
    return ((lane, rank) for rank, some in enumerate(required) for lane, group in enumerate(some) if word in group)


def _sum(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)


def _options() -> Any:
    """Room for the states of a search for many words: in the default of 8 MiB, varied texts cost twice as much."""
    options = re2.Options()
    options.max_mem = 16 << 20
    options.case_sensitive = False  # a text need not be made lower for it, 45 us of 100 KB; too much is run, not less
    return options
