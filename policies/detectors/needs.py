"""What a text must hold for a pattern to match it: of each group, at least one word. Pure; read off the pattern.

Most texts hold none of the words a rule cannot do without, and one search for all words of all rules tells so. What is
not understood here needs nothing: the rule is then run on every text, never skipped. A word may hold `EDGE`, where a
word boundary has to be: `add` is in most texts, as a word of its own in few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Final, NamedTuple

import re2

Group = frozenset[str]
EDGE: Final = "\b"  # one character, which stands for no character of the text

_MOST_EXACT: Final = 64  # words that are written out
MOST_GROUPS: Final = 3  # of one pattern
_LONG: Final = 6  # characters; longer words are not rarer
_CLASS_CHARS: Final = 4  # a larger class is no word
_REPEAT: Final = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_OPEN: Final = "([|)*+?{}.^$\\"  # what a plain character is not


class _Part(NamedTuple):
    """A piece of a pattern: all it can match, when that is few words; else what it needs."""

    exact: Group | None
    needs: tuple[Group, ...] = ()


_NOTHING: Final = _Part(frozenset({""}))
_ANYTHING: Final = _Part(None)


class _Unread(Exception):
    pass


def needs(pattern: str) -> tuple[Group, ...]:
    """The groups, the rarest first; none when nothing is certain."""
    try:
        reader = _Reader(pattern)
        whole = reader.either()
        if reader.rest():
            return ()
    except (_Unread, IndexError):
        return ()
    groups = sorted(dict.fromkeys(_needs_of(whole)), key=_rarity, reverse=True)
    return tuple(groups[:MOST_GROUPS])


def pattern_of(word: str) -> str:
    """What to search a text for, to know whether the word is in it."""
    return r"\b".join(re2.escape(piece) for piece in word.split(EDGE))


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0

    def rest(self) -> str:
        return self._pattern[self._at :]

    def either(self) -> _Part:
        branches = [self._row()]
        while self._take("|"):
            branches.append(self._row())
        if len(branches) == 1:
            return branches[0]
        exact: set[str] = set()
        for branch in branches:
            if branch.exact is None or len(exact) > 4 * _MOST_EXACT:
                return _Part(None, _one_of(branches))
            exact |= branch.exact
        return _Part(frozenset(exact))

    def _row(self) -> _Part:
        """One after another: words grow as long as they are few, then they are a need."""
        grown, found, whole = _NOTHING.exact, list[Group](), True
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            part = self._repeated(self._piece())
            if grown is not None and part.exact is not None and len(grown) * len(part.exact) <= _MOST_EXACT:
                grown = frozenset(a + b for a, b in product(grown, part.exact))
                continue
            whole = False
            found += [*_group(grown), *part.needs]
            grown = part.exact if part.exact is not None else _NOTHING.exact
        return _Part(grown) if whole else _Part(None, (*found, *_group(grown)))

    def _piece(self) -> _Part:
        char = self._next()
        match char:
            case "(":
                if self._take("?") and not self._take(":"):
                    raise _Unread
                inside = self.either()
                if not self._take(")"):
                    raise _Unread
                return inside
            case "[":
                return self._class()
            case "\\":
                escaped = self._escaped()
                return _ANYTHING if escaped is None else _Part(frozenset({escaped}))
            case ".":
                return _ANYTHING
            case "^" | "$":
                return _NOTHING
            case _ if char in "*+?":
                raise _Unread
            case _:
                return _Part(frozenset({self._plain(char)}))

    def _escaped(self) -> str | None:
        """The character, `EDGE` for a word boundary, None for a class of characters."""
        char = self._next()
        if char == "b":
            return EDGE
        if char in "wWsSdD":
            return None
        if char in "pP":
            if self._next() == "{":
                raise _Unread
            return None
        if char == "x":
            match = _HEX.match(self._pattern, self._at - 1)
            if match is None:
                raise _Unread
            self._at = match.end()
            return self._plain(chr(int(match[1] or match[2], 16)))
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise _Unread
        return char

    def _plain(self, char: str) -> str:
        if char == EDGE:
            raise _Unread
        return char

    def _class(self) -> _Part:
        plain, first = not self._take("^"), self._at
        chars = set[str]()
        while not (self._at > first and self._take("]")):
            char = self._next()
            one = self._escaped() if char == "\\" else char
            if char == "[" and self._pattern[self._at] == ":":
                raise _Unread
            if self._pattern[self._at] == "-" and self._pattern[self._at + 1] != "]":
                self._at += 1
                if self._next() == "\\":
                    self._escaped()
                plain = False  # a range is more than a few
            elif one and one != EDGE:
                chars.add(one)
            else:
                plain = False
        return _Part(frozenset(chars)) if plain and len(chars) <= _CLASS_CHARS else _ANYTHING

    def _repeated(self, part: _Part) -> _Part:
        while self._at < len(self._pattern):
            char = self._pattern[self._at]
            repeat = _REPEAT.match(self._pattern, self._at) if char == "{" else None
            if repeat is None and char not in "*+?":
                return part
            self._at = repeat.end() if repeat else self._at + 1
            least = int(repeat[1]) if repeat else int(char == "+")
            self._take("?")  # lazy: what is matched stays the same
            if char == "?" and part.exact is not None:
                part = _Part(part.exact | {""})
            else:
                part = _Part(None, tuple(_needs_of(part)) if least else ())
        return part

    def _next(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, char: str) -> bool:
        found = self._pattern.startswith(char, self._at)
        self._at += found
        return found


def _needs_of(part: _Part) -> Iterable[Group]:
    return part.needs if part.exact is None else _group(part.exact)


def _one_of(branches: list[_Part]) -> tuple[Group, ...]:
    """One need for all branches: the best of each, together."""
    together = set[str]()
    for branch in branches:
        best = max(_needs_of(branch), key=_rarity, default=None)
        if best is None:
            return ()
        together |= best
    return _group(frozenset(together))


def _group(words: Group | None) -> tuple[Group, ...]:
    """Without the words that hold another of them; nothing when one of them is no word."""
    if not words or any(_is_common(word) for word in words):
        return ()
    kept: list[str] = []
    for word in sorted(words, key=lambda word: (len(word), word)):
        if not any(shorter in word for shorter in kept):
            kept.append(word)
    return (frozenset(kept),)


def _is_common(word: str) -> bool:
    """In nearly every text: not worth a search."""
    seen = word.replace(EDGE, "")
    return len(seen) < 2 or (len(seen) == 2 and seen.isascii() and seen.isalnum())


def _rarity(group: Group) -> tuple[int, int]:
    return min(min(len(word.replace(EDGE, "")) for word in group), _LONG), -len(group)
