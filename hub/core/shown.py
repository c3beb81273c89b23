"""What one judge shows of a list, remembered while the same is asked of the same items.

Holds no verdict of its own: whoever keeps one here promises that caller, endpoint, method and items decide it alone.
"""

from __future__ import annotations

from typing import Final

from hub.core.call import Call, Item, Principal

KEPT: Final = 262_144  # items in all lists together, 2 MiB of places; beyond, all is judged anew


class Shown:
    """Belongs to one judge and goes with it. Keeps the last list of each caller, endpoint and method."""

    __slots__ = ("_kept", "held")

    def __init__(self) -> None:
        # The callers are held, so that no id comes twice.
        self._kept: dict[tuple[int, str, str], tuple[Principal, tuple[Item, ...], tuple[Item, ...]]] = {}
        self.held = 0  # items, in all lists together

    def of(self, call: Call, items: tuple[Item, ...]) -> tuple[Item, ...] | None:
        """What was shown of exactly these items; None: not known."""
        kept = self._kept.get((id(call.who), call.endpoint, call.method))
        if kept is None or (kept[1] is not items and kept[1] != items):  # items are equal when they are the same
            return None
        return kept[2]

    def keep(self, call: Call, items: tuple[Item, ...], shown: tuple[Item, ...]) -> None:
        key = (id(call.who), call.endpoint, call.method)
        if key in self._kept or self.held + len(items) > KEPT:
            self._kept.clear()  # one list is new, so the others are of before: they would hold what is gone
            self.held = 0
        if len(items) <= KEPT:
            self._kept[key] = call.who, items, shown
            self.held += len(items)
