"""Two definitions of one item as the list of what differs, for people who decide about it. Pure.

Both texts are a server's words, and may be made to mislead: every text that comes out stands on one line, what cannot
be seen is spelled out, and what was left out is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from hub.core.call import EMPTY, Json
from hub.core.looks import fold, spelled, visible

Mark = Literal["=", "-", "+"]
How = Literal["added", "removed", "changed"]

MAX_CHANGES: Final = 300  # of one definition
MAX_COMPARED: Final = 300  # words of each side that are matched one by one; longer ones are shown as replaced
VALUE_CHARS: Final = 2_000
CONTEXT_CHARS: Final = 400
RUN_CHARS: Final = 8_000  # of text that is new or gone: what is approved should be read
CONTEXT_WORDS: Final = 8
_WORDS: Final = re.compile(r"\s*\S+|\s+")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_PROSE: Final = frozenset(("description", "title", "$comment"))
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Run:
    """Words that stayed, went or came."""

    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    path: str  # `description`, `inputSchema.properties.text.type`
    how: How
    old: str | None = None  # JSON, shortened
    new: str | None = None
    words: tuple[Run, ...] = ()  # of a text that changed; then old and new are None


@dataclass(frozen=True, slots=True)
class Diff:
    differences: tuple[Difference, ...]
    left_out: int = 0  # differences beyond MAX_CHANGES


def compare(old: Json | None, new: Json | None) -> Diff:
    """What differs, in the order of the paths' names. None: there was, or is, no such definition."""
    found: list[Difference] = []
    left_out = 0
    for difference in _walk("", EMPTY if old is None else old, EMPTY if new is None else new):
        if len(found) < MAX_CHANGES:
            found.append(difference)
        else:
            left_out += 1
    return Diff(tuple(found), left_out)


def as_json(diff: Diff) -> dict[str, Any]:
    made: list[dict[str, Any]] = []
    for each in diff.differences:
        row: dict[str, Any] = {"path": each.path, "how": each.how}
        if each.words:
            row["words"] = [{"mark": run.mark, "text": run.text} for run in each.words]
        else:
            row.update({name: text for name, text in (("old", each.old), ("new", each.new)) if text is not None})
        made.append(row)
    return {"differences": made, "left_out": diff.left_out}


def told(diff: Json) -> list[str]:
    """The lines people read, from `as_json`. Each text has a line of its own behind `=`, `-` or `+`."""
    lines: list[str] = []
    for each in diff["differences"]:
        lines.append(f"{each['path']}: {each['how']}")
        lines.extend(f"  {run['mark']} {run['text'].strip()}" for run in each.get("words", ()))
        lines.extend(f"  {mark} {each[side]}" for mark, side in (("-", "old"), ("+", "new")) if side in each)
    if diff["left_out"]:
        lines.append(f"and {diff['left_out']} more differences; --json has both definitions whole")
    return lines


def words_of(old: str, new: str) -> tuple[Run, ...]:
    """The change of one text, word by word. Bounded work: long stretches without common ends count as replaced."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    runs = [_context(before[:head], first=True)]
    for mark, gone, came in _middle(before[head : len(before) - tail], after[head : len(after) - tail]):
        runs.extend([_context(gone)] if mark == "=" else _replaced("".join(gone), "".join(came)))
    runs.append(_context(before[len(before) - tail :], last=True) if tail else None)
    return tuple(run for run in runs if run is not None)


def _walk(path: str, old: Any, new: Any) -> Iterator[Difference]:
    """Members in order; lists of plain values as sets of them, because `required` and `enum` are; others by place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _walk(_under(path, key), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        yield from _of_lists(path, old, new)
    elif _is_prose(path, old, new):
        how: How = "added" if old is _ABSENT else "removed" if new is _ABSENT else "changed"
        words = words_of(old if isinstance(old, str) else "", new if isinstance(new, str) else "")
        yield Difference(path, how, words=words)
    elif old is _ABSENT:
        yield Difference(path, "added", new=_value(new))
    elif new is _ABSENT:
        yield Difference(path, "removed", old=_value(old))
    elif type(old) is not type(new) or old != new:  # True is no 1
        a, b = _pair(_value(old), _value(new))
        yield Difference(path, "changed", a, b)


def _of_lists(path: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Difference]:
    if any(isinstance(value, Mapping | list | tuple) for value in (*old, *new)):
        for place in range(max(len(old), len(new))):
            a, b = (side[place] if place < len(side) else _ABSENT for side in (old, new))
            yield from _walk(f"{path}[{place}]", a, b)
        return
    before, after = ({json.dumps(value): value for value in side} for side in (old, new))
    gone = [value for key, value in before.items() if key not in after]
    came = [value for key, value in after.items() if key not in before]
    if gone or came:
        how: How = "changed" if gone and came else "removed" if gone else "added"
        a, b = _pair(_value(gone) if gone else None, _value(came) if came else None)
        yield Difference(path, how, a, b)
    elif list(old) != list(new):
        yield Difference(path, "changed", _value(old), _value(new))


def _under(path: str, key: str) -> str:
    plain = key if _PLAIN_KEY.fullmatch(key) and len(key) <= 80 else f"[{_short(json.dumps(key), 80)}]"
    if not path:
        return plain
    return f"{path}{plain}" if plain.startswith("[") else f"{path}.{plain}"


def _is_prose(path: str, old: Any, new: Any) -> bool:
    """Whether this is a change of text, to be told word by word."""
    texts = [side for side in (old, new) if side is not _ABSENT]
    if old == new or not all(isinstance(text, str) and text for text in texts):
        return False
    return path.rpartition(".")[2] in _PROSE or (len(texts) == 2 and all(text.count(" ") >= 5 for text in texts))


def _value(value: Any) -> str:
    return _short(visible(json.dumps(value, ensure_ascii=False)), VALUE_CHARS)


def _pair(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Both sides of a replacement, spelled out where they would look the same."""
    if old is None or new is None or not _alike(old, new):
        return old, new
    return spelled(old), spelled(new)


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    count = 0
    for a, b in zip(before, after, strict=False):
        if a != b:
            break
        count += 1
    return count


def _middle(before: list[str], after: list[str]) -> Iterator[tuple[Mark, list[str], list[str]]]:
    if max(len(before), len(after)) > MAX_COMPARED:
        yield "-", before, after
        return
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        yield "=" if tag == "equal" else "-", before[a:b], after[c:d]


def _replaced(gone: str, came: str) -> list[Run]:
    show = spelled if _alike(gone, came) else _unmixed
    sides: list[tuple[Mark, str]] = [("-", gone), ("+", came)]
    return [Run(mark, _short(show(text), RUN_CHARS)) for mark, text in sides if text]


def _alike(old: str, new: str) -> bool:
    folded = fold(old)
    return bool(folded) and folded == fold(new)


def _unmixed(text: str) -> str:
    """Words that mix alphabets are spelled out: hardly anybody writes so, but who wants to deceive."""
    return "".join(spelled(word) if _mixes(word) else visible(word) for word in _WORDS.findall(text))


def _mixes(word: str) -> bool:
    return (
        not word.isascii()
        and any(c.isascii() and c.isalpha() for c in word)
        and any("\u0370" <= c <= "\u058f" or "\uff00" <= c <= "\uffef" or c >= "\U0001d400" for c in word)
    )


def _context(words: Sequence[str], *, first: bool = False, last: bool = False) -> Run | None:
    """What stayed, for the eye: a few words beside each change."""
    if not words:
        return None
    keep = CONTEXT_WORDS
    if first and len(words) > keep:
        text = "…" + "".join(words[-keep:])
    elif last and len(words) > keep:
        text = "".join(words[:keep]) + "…"
    elif len(words) > 2 * keep:
        text = "".join(words[:keep]) + " … " + "".join(words[-keep:])
    else:
        text = "".join(words)
    return Run("=", _short(visible(text), CONTEXT_CHARS))


def _short(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head, tail = most - most // 4, most // 4
    return f"{text[:head]} … {len(text) - head - tail} characters left out … {text[len(text) - tail :]}"
