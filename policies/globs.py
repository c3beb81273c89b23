"""Globs over public tool names, as keys and endpoints write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache


@lru_cache(maxsize=1024)
def any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern, to be matched in full, for all the globs; of none, one that nothing matches."""
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)")


def idle(globs: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The globs that match none of the names."""
    known = tuple(names)
    return tuple(glob for glob in globs if not any(any_of((glob,)).fullmatch(name) for name in known))
