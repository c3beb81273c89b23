"""The log's word of a backup. The copy itself is made by the local user's own program, which may read the directory."""

from __future__ import annotations

from typing import Any, Final

from hub.admin.archive import Manifest
from hub.admin.operation import Answer, Asked, Operation
from hub.core.call import Json
from hub.core.ports import Journal

ACT: Final = "backups.record"
_BODY: Final[Json] = {
    "type": "object",
    "required": ["made_at", "secrets", "seq", "hash"],
    "properties": {
        "made_at": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        "secrets": {"type": "boolean"},
        "seq": {"type": "integer", "minimum": 0},
        "hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    "additionalProperties": False,
}
_ANSWER: Final[Json] = {"type": "object", "required": ["call"], "properties": {"call": {"type": "string"}}}


def record_of(manifest: Manifest) -> dict[str, Any]:
    """What the log keeps: when, whether secrets are in it, and where the copied log ends."""
    return {"made_at": manifest.made_at, "secrets": manifest.secrets, **manifest.audit["head"]}


async def record(journal: Journal, who: str, made: Json) -> str:
    """The call id of the entry."""
    return await journal.event("admin", who, "done", None, {"act": ACT, "after": dict(made)})


def operations(journal: Journal) -> tuple[Operation, ...]:
    async def note(asked: Asked) -> Answer:
        return Answer({"call": await record(journal, asked.who.name, asked.body)}, 201)

    return (
        Operation(
            "POST",
            "/backups",
            ACT,
            "note in the log that a backup was made (mcp-hub backup does)",
            note,
            body=_BODY,
            answer=_ANSWER,
            status=201,
        ),
    )
