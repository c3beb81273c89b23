"""Texts with holes: `${input:x}`, `${VAR:-default}`, `$VAR`. What belongs into a hole is asked for.

Never read from anybody's environment: a paste must not be able to take what the hub happens to hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HOLE = re.compile(r"\$\{(?:(input|env|user_config|config):|user_config\.)?([^}:]*?)(?::-([^}]*))?\}")
_BARE = re.compile(r"(?:(?<=^)|(?<=\s)|(?<==))\$([A-Z_][A-Z0-9_]+)(?=$|[/\s])")


@dataclass(frozen=True, slots=True)
class Hole:
    name: str
    default: str | None = None


Part = str | Hole


def parse(text: str) -> tuple[Part, ...]:
    """Literal texts and holes, in their order; one literal when there is no hole."""
    made: list[Part] = []
    at = 0
    for found in sorted((*_HOLE.finditer(text), *_BARE.finditer(text)), key=lambda each: each.start()):
        made.append(text[at : found.start()])
        if found.re is _HOLE:
            made.append(Hole(found[2].strip() or "value", found[3]))
        else:
            made.append(Hole(found[1]))
        at = found.end()
    made.append(text[at:])
    return tuple(part for part in made if part != "") or ("",)


def holes(parts: Sequence[Part]) -> tuple[Hole, ...]:
    return tuple(part for part in parts if isinstance(part, Hole))


def fill(parts: Sequence[Part], value: Callable[[Hole], str | None]) -> str | None:
    """The text, or None when a hole stays open."""
    filled = [part if isinstance(part, str) else value(part) for part in parts]
    whole = [part for part in filled if part is not None]
    return "".join(whole) if len(whole) == len(filled) else None


def fits(parts: Sequence[Part], text: str) -> bool:
    """Whether the text may have come of these parts."""
    pattern = "".join(re.escape(part) if isinstance(part, str) else ".*" for part in parts)
    return re.fullmatch(pattern, text, re.DOTALL) is not None
