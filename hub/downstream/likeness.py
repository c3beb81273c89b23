"""Tools of different servers that a model, or a person, could take for one another. Pure.

Names that are equal, look equal or differ by one character; texts that speak of another server's tool by its name.
Cost grows with the number of tools, never with its square: every question is a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hub.core.call import Item
from hub.core.looks import fold

Why = Literal["same_name", "looks_same", "near_name", "mentions"]

MAX_TOOLS: Final = 1_000  # of one server, in their order
MAX_PER_TOOL: Final = 3  # warnings of one kind
MAX_PER_SERVER: Final = 200
NEAR_CHARS: Final = 6  # folded; shorter names are near to each other by chance
FOLDED_CHARS: Final = 64
TEXT_CHARS: Final = 16 * 1024  # of one tool's texts that are searched for names
_GAP: Final = "\0"  # stands in no folded name
_TEXTS: Final = frozenset(("title", "description"))
_NAME: Final = re.compile(r"\w[\w.-]*")
_QUOTED: Final = re.compile(r"[`'\"“‘]([\w.-]{2,64})[`'\"”’]")
_DISTINCT: Final = re.compile(r"\w[_.-]\w|[a-z][A-Z]")
_WORDS: Final[Mapping[Why, str]] = {
    "same_name": "{item} has the name of {other}",
    "looks_same": "{item} looks like {other}",
    "near_name": "{item} is one character away from {other}",
    "mentions": "{item} speaks of {other} in its description or schema",
}


@dataclass(frozen=True, slots=True)
class Likeness:
    """One warning about a tool. Its names are public ones: safe to log and to show."""

    server: str
    item: str
    why: Why
    other: str  # the public name of the other server's tool

    @property
    def text(self) -> str:
        return _WORDS[self.why].format(item=self.item, other=self.other)

    def as_json(self) -> dict[str, str]:
        return {"item": self.item, "why": self.why, "other": self.other, "text": self.text}


def likenesses(tools: Mapping[str, Sequence[Item]]) -> Mapping[str, tuple[Likeness, ...]]:
    """Warnings by server id; servers without any are left out. May be long: call it off the loop."""
    entries = [_Entry(item) for server in sorted(tools) for item in tools[server][:MAX_TOOLS]]
    index = _Index(entries)
    found: dict[str, list[Likeness]] = {}
    for entry in entries:
        mine = found.setdefault(entry.item.server, [])
        for why, other in index.warnings(entry):
            if len(mine) < MAX_PER_SERVER:
                mine.append(Likeness(entry.item.server, entry.item.name, why, other.item.name))
    return {server: tuple(warnings) for server, warnings in found.items() if warnings}


class _Entry:
    __slots__ = ("folded", "item", "native")

    def __init__(self, item: Item) -> None:
        self.item, self.native = item, item.native
        self.folded = fold(item.native[: 2 * FOLDED_CHARS])[:FOLDED_CHARS]


class _Named:
    """The first tool of each server under a key: one server that floods a key takes nobody else's place."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, _Entry]] = {}

    def add(self, key: str, entry: _Entry) -> None:
        self._entries.setdefault(key, {}).setdefault(entry.item.server, entry)

    def others(self, key: str, server: str) -> Iterator[_Entry]:
        return (entry for id, entry in self._entries.get(key, {}).items() if id != server)

    def has(self, key: str, server: str) -> bool:
        return server in self._entries.get(key, {})


class _Index:
    def __init__(self, entries: Iterable[_Entry]) -> None:
        self._native, self._folded, self._variants, self._public = _Named(), _Named(), _Named(), _Named()
        for entry in entries:
            self._native.add(entry.native, entry)
            self._public.add(entry.item.name, entry)
            if entry.folded:
                self._folded.add(entry.folded, entry)
            for variant in _variants(entry.folded):
                self._variants.add(variant, entry)

    def warnings(self, entry: _Entry) -> Iterator[tuple[Why, _Entry]]:
        """The strongest reason for each other tool that is like it by name, then those its texts speak of."""
        server, seen = entry.item.server, set[str]()
        alike = self._folded.others(entry.folded, server)
        reasons: tuple[tuple[Why, Iterator[_Entry]], ...] = (
            ("same_name", self._native.others(entry.native, server)),
            ("looks_same", (other for other in alike if other.native != entry.native)),
            ("near_name", (other for other in self._near(entry) if other.folded != entry.folded)),
        )
        for why, others in reasons:
            yield from ((why, other) for other in _first(others, seen))
        yield from (("mentions", other) for other in _first(self._mentioned(entry), set()))

    def _near(self, entry: _Entry) -> Iterator[_Entry]:
        """One character replaced, left out or added, or two neighbours swapped."""
        name, server = entry.folded, entry.item.server
        if len(name) < NEAR_CHARS:
            return
        for variant in _variants(name):
            yield from self._variants.others(variant, server)  # replaced: both have the same gap
            if len(name) > NEAR_CHARS:
                yield from self._folded.others(variant.replace(_GAP, ""), server)  # left out in the other
        for place in range(len(name) + 1):  # added in the other, which has a gap there
            yield from self._variants.others(f"{name[:place]}{_GAP}{name[place:]}", server)
        for place in range(len(name) - 1):
            swapped = f"{name[:place]}{name[place + 1]}{name[place]}{name[place + 2 :]}"
            yield from self._folded.others(swapped, server)

    def _mentioned(self, entry: _Entry) -> Iterator[_Entry]:
        """Tools whose public name stands in the texts, or whose own, if it is no plain word and no tool beside this."""
        text = _texts(entry.item.definition)
        seen: set[str] = set()
        for name, quoted in _names(text):
            if name in seen:
                continue
            seen.add(name)
            yield from self._public.others(name, entry.item.server)
            if (quoted or _DISTINCT.search(name)) and not self._native.has(name, entry.item.server):
                yield from self._native.others(name, entry.item.server)


def _first(others: Iterable[_Entry], seen: set[str]) -> Iterator[_Entry]:
    """The first few that are not among `seen`, which they then are."""
    left = MAX_PER_TOOL
    for other in others:
        if other.item.name not in seen:
            seen.add(other.item.name)
            yield other
            left -= 1
            if not left:
                return


def _variants(folded: str) -> Iterator[str]:
    """The name with a gap for each of its characters."""
    if len(folded) >= NEAR_CHARS:
        for place in range(len(folded)):
            yield f"{folded[:place]}{_GAP}{folded[place + 1 :]}"


def _names(text: str) -> Iterator[tuple[str, bool]]:
    yield from ((match[1], True) for match in _QUOTED.finditer(text))
    yield from ((match[0].rstrip(".-"), False) for match in _NAME.finditer(text))


def _texts(definition: Any) -> str:
    """Everything a model reads as prose: titles and descriptions, those inside schemas too."""
    found: list[str] = []
    left = TEXT_CHARS
    level: list[Any] = [definition]
    while level and left > 0:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                for key, below in value.items():
                    if isinstance(below, str):
                        if key in _TEXTS and left > 0:
                            found.append(below[:left])
                            left -= len(below)
                    else:
                        inner.append(below)
            elif isinstance(value, list | tuple):
                inner.extend(value)
        level = inner
    return "\n".join(found)
