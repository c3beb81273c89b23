"""The operations on servers that admins register at run time."""

from __future__ import annotations

from typing import Any, Final

from hub.admin.operation import LARGE_BODY, Answer, Asked, Operation, object_of
from hub.admin.paste.drafts import Rules
from hub.admin.registering import Paste, RegisterDesk
from hub.admin.schemas import COUNT, FLAG, OBJECT, TEXT, TEXTS, answered, or_null, rows_of
from hub.admin.trying import TryDesk
from hub.core.call import Json

_ONE: Final = "/servers/{id}"
_ID: Final[Json] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,23}$"}
_WORDS: Final[Json] = {"type": "object", "additionalProperties": TEXT, "maxProperties": 2000}
_VALUES: Final[Json] = {**_WORDS, "description": "what the entry leaves open, by name; secrets go to the vault"}
_ALLOW: Final[Json] = {"type": "boolean", "description": "start programs beyond the launchers of the allow-list"}
_ENTRY: Final[Json] = {"type": "object", "description": "as in mcpServers of the configuration file"}
_PASTE: Final[Json] = object_of(
    {"text": {"type": "string", "minLength": 1, "description": "what another program's documentation says to paste"}},
    {
        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "of a server that has none"},
        "rename": {**_WORDS, "description": "new names by the pasted ones"},
        "values": _VALUES,
        "allow_command": _ALLOW,
        "replace": {"type": "boolean", "description": "what is registered under the same id and differs"},
        "check": {"type": "boolean", "description": "say what would be done, and do nothing"},
    },
)
_TRY: Final[Json] = {
    **_PASTE,
    "properties": {k: v for k, v in _PASTE["properties"].items() if k not in ("replace", "check")},
}
_NEEDED: Final = answered({"name": TEXT, "where": TEXT, "secret": FLAG, "prompt": TEXT, "choices": TEXTS})
_TAKEN: Final[dict[str, Json]] = {
    "name": TEXT,
    "id": or_null(TEXT),
    "outcome": TEXT,
    "problem": or_null(TEXT),
    "needs": rows_of(_NEEDED),
    "warnings": TEXTS,
}
IMPORTED: Final = answered({"servers": rows_of(answered(_TAKEN)), "taken": COUNT, "refused": COUNT})
TRIED: Final = answered(
    {"servers": rows_of(answered({**_TAKEN, "tools": rows_of(OBJECT), "items": OBJECT, "schema_bytes": COUNT}))}
)
_SHOWN: Final[dict[str, Json]] = {
    "id": TEXT,
    "provenance": TEXT,
    "enabled": FLAG,
    "overlaid": FLAG,
    "in_force": FLAG,
    "transport": or_null(TEXT),
    "entry": or_null(OBJECT),
    "env": TEXTS,
    "headers": TEXTS,
    "secrets": rows_of(answered({"name": TEXT, "stored": FLAG})),
    "version": or_null(COUNT),
    "updated_at": or_null(TEXT),
    "updated_by": or_null(TEXT),
    "likenesses": rows_of(OBJECT),
}
SHOWN: Final = answered(_SHOWN)
WRITTEN: Final = answered({**_SHOWN, "warnings": TEXTS})


def operations(desk: RegisterDesk, trying: TryDesk) -> tuple[Operation, ...]:
    return (*_entries(desk), *_writes(desk), *_pastes(desk, trying), *_switches(desk))


def _entries(desk: RegisterDesk) -> tuple[Operation, ...]:
    async def show(asked: Asked) -> Answer:
        return _answer(desk.show(asked.path["id"]))

    async def remove(asked: Asked) -> Answer:
        id = asked.path["id"]
        desk.own(id)
        return Answer({"removed": id, "secrets": await desk.remove(asked.who.name, id, asked.version())})

    return (
        Operation(*("GET", _ONE, "servers.show", "how one server is configured, without secrets", show), answer=SHOWN),
        Operation(
            *("DELETE", _ONE, "servers.remove", "remove a registered server, with its own secrets", remove),
            answer=answered({"removed": TEXT, "secrets": TEXTS}),
            refusals=(409,),
            versioned=True,
        ),
    )


def _writes(desk: RegisterDesk) -> tuple[Operation, ...]:
    async def add(asked: Asked) -> Answer:
        return _answer(await desk.add(asked.who.name, asked.body["id"], asked.body["entry"], _rules(asked)))

    async def replace(asked: Asked) -> Answer:
        id = asked.path["id"]
        desk.own(id)
        return _answer(await desk.replace(asked.who.name, id, asked.body["entry"], _rules(asked), asked.version()))

    more = {"values": _VALUES, "allow_command": _ALLOW}
    return (
        Operation(
            *("POST", "/servers", "servers.add", "register a server, effective at once", add),
            body=object_of({"id": _ID, "entry": _ENTRY}, more),
            answer=WRITTEN,
            status=201,
            refusals=(409,),
            body_bytes=LARGE_BODY,
        ),
        Operation(
            *("PUT", _ONE, "servers.replace", "give a registered server another entry", replace),
            body=object_of({"entry": _ENTRY}, more),
            answer=WRITTEN,
            refusals=(409,),
            versioned=True,
            body_bytes=LARGE_BODY,
        ),
    )


def _pastes(desk: RegisterDesk, trying: TryDesk) -> tuple[Operation, ...]:
    async def take(asked: Asked) -> Answer:
        return Answer(imported(await desk.take(asked.who.name, _paste(asked.body))))

    async def try_out(asked: Asked) -> Answer:
        return Answer({"servers": await trying.try_out(asked.who.name, _paste(asked.body))})

    return (
        Operation(
            *("POST", "/servers/import", "servers.import", "register every server of a paste", take),
            body=_PASTE,
            answer=IMPORTED,
            body_bytes=LARGE_BODY,
        ),
        Operation(
            *("POST", "/servers/try", "servers.try", "start the servers of a paste for a look, and change nothing"),
            try_out,
            body=_TRY,
            answer=TRIED,
            body_bytes=LARGE_BODY,
        ),
    )


def _switches(desk: RegisterDesk) -> tuple[Operation, ...]:
    async def enable(asked: Asked) -> Answer:
        return Answer(await desk.set_enabled(asked.who.name, asked.path["id"], True))

    async def disable(asked: Asked) -> Answer:
        return Answer(await desk.set_enabled(asked.who.name, asked.path["id"], False))

    return (
        Operation(
            *("POST", f"{_ONE}/enable", "servers.enable", "switch a server on, effective at once", enable),
            answer=SHOWN,
            refusals=(409,),
        ),
        Operation(
            *("POST", f"{_ONE}/disable", "servers.disable", "switch a server off, effective at once", disable),
            answer=SHOWN,
            refusals=(409,),
        ),
    )


def imported(taken: list[Any]) -> dict[str, Any]:
    rows = [each.shown() for each in taken]
    refused = sum(row["outcome"] in ("refused", "incomplete") for row in rows)
    return {"servers": rows, "taken": len(rows) - refused, "refused": refused}


def _paste(body: Json) -> Paste:
    return Paste(
        body["text"],
        name=body.get("name"),
        rename=body.get("rename", {}),
        values=body.get("values", {}),
        replace=body.get("replace", False),
        allow_command=body.get("allow_command", False),
        check=body.get("check", False),
    )


def _rules(asked: Asked) -> Rules:
    return Rules(asked.body.get("values", {}), asked.body.get("allow_command", False), own=True)


def _answer(shown: Any) -> Answer:
    version = shown["version"]
    return Answer(shown, etag=None if version is None else str(version))
