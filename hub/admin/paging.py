"""Long lists in pages: `limit`, `cursor`, and `next` in the answer (null on the last page). Pure.

A cursor is the place of the last row that was told: any text is one, it is no secret and opens nothing. The next page
begins behind it, so a page is right however the list changed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from hub.core.call import Json

MOST: Final = 1000  # rows of one page, and of one that says no limit
LIMIT: Final[Json] = {"type": "integer", "minimum": 1, "maximum": MOST, "description": "rows of one page"}
CURSOR: Final[Json] = {"type": "string", "maxLength": 512, "description": "`next` of the page before"}
QUERY: Final[Mapping[str, Json]] = {"limit": LIMIT, "cursor": CURSOR}
NEXT: Final[Json] = {"type": ["string", "null"], "description": "the cursor of the next page; null on the last"}

T = TypeVar("T")


def page(rows: Sequence[T], query: Mapping[str, Any], place: Callable[[T], str]) -> tuple[list[T], str | None]:
    """One page and the cursor of the next. `place` is unique to a row; pages are in its order."""
    cursor, limit = query.get("cursor"), query.get("limit", MOST)
    ordered = sorted((row for row in rows if cursor is None or place(row) > cursor), key=place)
    told = ordered[:limit]
    return told, place(told[-1]) if len(ordered) > limit else None
