"""How much the hub's own log tells, changed while it runs; the next start reads it from the configuration again."""

from __future__ import annotations

import logging
from typing import Final

from hub.admin.operation import Answer, Asked, Operation
from hub.core.call import Json
from hub.core.ports import Journal

LEVELS: Final = ("debug", "info", "warning", "error")
_BODY: Final[Json] = {
    "type": "object",
    "required": ["level"],
    "properties": {"level": {"enum": list(LEVELS)}},
    "additionalProperties": False,
}


def current() -> str:
    """The level in force, in the configuration's words."""
    number = logging.getLogger().getEffectiveLevel()
    return next((name for name in LEVELS if number <= logging.getLevelNamesMapping()[name.upper()]), LEVELS[-1])


def operations(journal: Journal) -> tuple[Operation, ...]:
    async def show(asked: Asked) -> Answer:
        return Answer({"level": current()})

    async def change(asked: Asked) -> Answer:
        before, after = current(), asked.body["level"]
        detail = {"act": "log_level.set", "before": {"level": before}, "after": {"level": after}}
        await journal.event("admin", asked.who.name, "done", None, detail)
        logging.getLogger().setLevel(after.upper())
        return Answer({"level": after, "before": before})

    changed: Json = {
        "type": "object",
        "required": ["level", "before"],
        "properties": {"level": {"enum": list(LEVELS)}, "before": {"enum": list(LEVELS)}},
    }
    return (
        Operation("GET", "/log-level", "log_level.show", "how much the hub's own log tells", show, answer=_BODY),
        Operation(
            "PUT",
            "/log-level",
            "log_level.set",
            "make the hub's own log tell more or less, until the next start",
            change,
            body=_BODY,
            answer=changed,
        ),
    )
