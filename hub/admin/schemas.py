"""Pieces of JSON Schema that several resources describe their answers with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hub.core.call import Json

TEXT: Final[Json] = {"type": "string"}
TEXTS: Final[Json] = {"type": "array", "items": TEXT}
FLAG: Final[Json] = {"type": "boolean"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
OBJECT: Final[Json] = {"type": "object"}


def answered(members: Mapping[str, Json]) -> Json:
    """An answer with at least these members; later versions may tell more."""
    return {"type": "object", "properties": members, "required": list(members)}


def rows_of(row: Json) -> Json:
    return {"type": "array", "items": row}


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}
