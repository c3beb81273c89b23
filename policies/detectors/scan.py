"""The detector made of rules: text in, findings out. Pure; what to do about a finding is decided elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from policies.detectors import phrases
from policies.detectors.descriptions import DESCRIPTIONS
from policies.detectors.languages import LANGUAGES
from policies.detectors.normalise import SIGNS, Views, views_of
from policies.detectors.payloads import PAYLOADS
from policies.detectors.rules import ROUNDING, Hit, RuleSet, Surface

INLINE_CHARS: Final = 256 * 1024  # a longer text is looked at in windows
_WINDOW: Final = 8 * 1024
_MIDDLE: Final = 8  # windows between head and tail
_SHORTEST: Final = 6  # characters; nothing shorter says anything

_DISGUISE: Final[Mapping[str, float]] = {
    "tags": 1.0,  # ASCII hidden in tag characters has no other use
    "zero_width": 0.6,
    "homoglyph": 0.6,
    "bidi": 0.6,
    "rot13": 0.4,
    "leet": 0.5,
    "conceal": 0.6,
}


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str  # the heaviest rule, and how the text had to be read: "override.previous", "override.previous/base64"
    surface: Surface
    offset: int  # characters into that reading
    score: float


class Detector(Protocol):
    def scan(self, text: str, surface: Surface) -> tuple[Finding, ...]:
        """What speaks against this text; nothing when nothing does. Never waits."""

    def begin(self, text: str, surface: Surface) -> tuple[Finding, ...] | Callable[[], tuple[Finding, ...]]:
        """As `scan`, for a long text: what it finds, or, where finding takes long, the scan for another thread."""


class RuleDetector:
    """Adds up the weights of the rules that match; a text that reaches `threshold` is a finding."""

    def __init__(self, threshold: float = 1.0) -> None:
        self._threshold = threshold
        both = (
            *phrases.OVERRIDES,
            *phrases.MARKERS,
            *phrases.SECRECY,
            *phrases.EXFILTRATION,
            *phrases.ENCODED,
            *LANGUAGES,
        )
        self._sets: dict[Surface, RuleSet] = {
            "result": RuleSet((*both, *phrases.HIJACKS, *phrases.URGENCY), SIGNS),
            "description": RuleSet((*both, *DESCRIPTIONS), SIGNS),
            "argument": RuleSet((*both, *PAYLOADS), SIGNS),
        }

    def scan(self, text: str, surface: Surface) -> tuple[Finding, ...]:
        if len(text) < _SHORTEST and surface != "argument":
            return ()
        if len(text) > INLINE_CHARS:
            text = _windows(text)
        if text.isascii():
            hits = self._sets[surface].hits_unsigned(text.encode(), self._threshold)
            if hits is not None:  # the text has one reading, as most have
                return _ranked(hits, surface) if hits else ()
        return self._judge(views_of(text), surface)

    def begin(self, text: str, surface: Surface) -> tuple[Finding, ...] | Callable[[], tuple[Finding, ...]]:
        if len(text) <= INLINE_CHARS and text.isascii():
            hits = self._sets[surface].hits_soon(text.encode(), self._threshold)
            if hits is not None:
                return _ranked(hits, surface) if hits else ()
        return partial(self.scan, text, surface)

    def _judge(self, views: Views, surface: Surface) -> tuple[Finding, ...]:
        rules, several = self._sets[surface], len(views.views) > 1
        score = sum([_DISGUISE[name] for name in views.disguises])
        needed = 0.0 if several else self._threshold - score
        found: dict[str, Finding] = {}
        for view in views.views:
            for hit in rules.hits(view.text, needed):
                if hit.rule.id not in found:
                    name = hit.rule.id if view.how == "plain" else f"{hit.rule.id}/{view.how}"
                    found[hit.rule.id] = Finding(name, surface, hit.offset, hit.rule.weight)
                    score += hit.rule.weight
        if score < self._threshold - ROUNDING:
            return ()
        ranked = sorted(found.values(), key=_by_score)
        return (*ranked, *(Finding(f"disguise.{name}", surface, 0, _DISGUISE[name]) for name in views.disguises))


def _ranked(hits: list[Hit], surface: Surface) -> tuple[Finding, ...]:
    found = [Finding(hit.rule.id, surface, hit.offset, hit.rule.weight) for hit in hits]
    return tuple(sorted(found, key=_by_score))


def _by_score(finding: Finding) -> float:
    return -finding.score


def _windows(text: str) -> str:
    """Head, tail and evenly spread pieces: a bounded look at a text of any length."""
    half = INLINE_CHARS // 4
    middle, step = text[half:-half], (len(text) - 2 * half) // _MIDDLE
    pieces = [middle[i * step : i * step + _WINDOW] for i in range(_MIDDLE)]
    return "\n".join((text[:half], *pieces, text[-half:]))
