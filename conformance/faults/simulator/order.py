"""Sets are walked in the order of their members' hashes, and a plain object's hash is its address: another in each run.

What is kept in sets, here and in the libraries, is hashed by the order in which it was made instead.
"""

from __future__ import annotations

import itertools
from typing import Any, TypeVar, cast

T = TypeVar("T")
_made = itertools.count()


def numbered(cls: type[T]) -> type[T]:
    """A class like `cls`, whose objects have a hash that is the same in each run of one seed."""
    base: Any = cls

    class Numbered(base):  # type: ignore[misc]
        __slots__ = ("_number",)

        def __init__(self, *given: Any, **named: Any) -> None:
            self._number = next(_made)
            super().__init__(*given, **named)

        def __hash__(self) -> int:
            return self._number

    return cast(type[T], Numbered)
